"""Curves of a designed loop as arrays, for the files of `design` and for the report."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isfinite

import numpy as np
from numpy.typing import NDArray

from controllers.base import Filter
from controllers.design import StabilityMap, margins, stability_map
from controllers.design.frequency import grid
from controllers.design.margins import Margins
from controllers.design.response import step
from controllers.design.transfer import Loop, close_law, gain_in_z
from controllers.laws.pid import PID
from controllers.plants.plant import Plant

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

PUSH = 0.01
"""Disturbance whose answer is shown: a pull that takes this share of entropy at every iteration."""

CELLS = 45
"""Gains of each axis of the map."""

CALM = 2.0
"""Ms that is the usual upper limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """One linear loop: a plant, a PID law, a filter, and the level that gains are taken at."""

    plant: Plant
    law: PID
    filter: Filter | None = None
    at_nats: float | None = None

    @property
    def loop(self) -> Loop:
        """As polynomials."""
        return close_law(self.plant, self.law, self.filter, self.at_nats)

    @property
    def margins(self) -> Margins:
        """Margins of the loop."""
        return margins(self.plant, self.law, self.filter, self.at_nats)

    @property
    def gains_in_z(self) -> tuple[float, float, float]:
        """kp, ki and kd per unit of the plant's z."""
        per_z = gain_in_z(self.plant, self.law.error, self.at_nats)
        return self.law.kp * per_z, self.law.ki * per_z, self.law.kd * per_z


@dataclass(frozen=True, slots=True, kw_only=True)
class Frequencies:
    """The open loop over frequency."""

    omega: Array
    """[radians an iteration]"""

    transfer: ComplexArray
    """L = C·F·P."""

    @property
    def magnitude(self) -> Array:
        """|L|."""
        return np.abs(self.transfer)

    @property
    def phase_degrees(self) -> Array:
        """Phase of L, without jumps from the first frequency on."""
        phase: Array = np.degrees(np.unwrap(np.angle(self.transfer)))
        phase -= 360 * ceil(phase[0] / 360)  # a lag, as a lag is read
        return phase


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResponses:
    """Answers over iterations."""

    reference: Array
    """Answer of the measurement to a step of the reference, as a share of the step."""

    disturbance_percent: Array
    """Answer of the measurement to a pull of 1 % of its level at every iteration, in % of the level."""


def frequencies(analysis: Analysis) -> Frequencies:
    """L over the grid of `controllers.design`."""
    omega = grid(600)
    omega = omega[omega >= 1e-3]
    return Frequencies(omega=omega, transfer=analysis.loop.transfer(omega))


def answers(analysis: Analysis, num_iterations: int = 60) -> StepResponses:
    """What linear theory says, from rest: no limits and no noise."""
    loop = analysis.loop
    poles = loop.characteristic
    scale = analysis.plant.level_nats if analysis.plant.coordinates == "absolute" else 1.0
    pulled = step(loop.from_disturbance, poles, num_iterations) * -PUSH * scale
    return StepResponses(
        reference=step(loop.from_reference, poles, num_iterations), disturbance_percent=100 * pulled / scale
    )


def stable_gains(analysis: Analysis) -> StabilityMap:
    """Poles and Ms over a grid of gains that holds the stable region and the law's own gains."""
    kp, ki, kd = analysis.gains_in_z
    around = np.geomspace(1e-2, 1e2, 25)
    kp_scale = kp or 5 * ki or 1.0
    coarse = stability_map(
        analysis.plant, kp_scale * around, (ki or kp_scale / 10) * around, kd=kd, filter=analysis.filter
    )
    rows, columns = (coarse.stable.any(axis=axis) for axis in (1, 0))
    calm = (coarse.ms <= CALM).any(axis=0)
    # Stable gains reach far beyond those that anybody would use; the map shows the latter at half its height.
    kp_end = 1.15 * max([2 * kp, *coarse.kp[rows]])
    ki_end = min(1.15 * max([2 * ki, *coarse.ki[columns]]), 2 * max([2 * ki, *coarse.ki[calm]]))
    axes = (np.linspace(0, end, CELLS + 1)[1:] for end in (kp_end, ki_end))
    return stability_map(analysis.plant, *axes, kd=kd, filter=analysis.filter)


def region(map_: StabilityMap, ms: float | None = None) -> tuple[Array, Array]:
    """Corners (kp, ki), in order and closed, of the gains whose loops are stable (or within ``ms``).

    For each kp it reaches from the first such ki on as far as there is no gap; empty where there is none.
    """
    inside = map_.stable if ms is None else map_.ms <= ms
    some = np.flatnonzero(inside.any(axis=1))
    if not some.size:
        return np.array([]), np.array([])
    first = inside[some].argmax(axis=1)
    last = [
        start + int(np.cumprod(row[start:]).sum()) - 1 for start, row in zip(first, inside[some], strict=True)
    ]
    # A region that begins in the map's first row does so at zero: there is no gain in between to look at.
    low = np.where(first == 0, 0.0, map_.ki[first])
    kp = np.concatenate([map_.kp[some], map_.kp[some][::-1], map_.kp[some][:1]])
    ki = np.concatenate([map_.ki[last], low[::-1], map_.ki[last][:1]])
    return kp, ki


def ms_circle(ms: float, num: int = 121) -> tuple[Array, Array]:
    """Points at distance 1 / Ms from −1: a Nyquist curve that stays outside has at most this Ms."""
    angle = np.linspace(0, 2 * np.pi, num)
    return -1 + np.cos(angle) / ms, np.sin(angle) / ms


def horizon(analysis: Analysis) -> int:
    """Iterations in which the slowest pole of the loop has faded to a hundredth: what a step plot shows."""
    poles = analysis.margins.poles
    slowest = abs(poles[0]) if poles else 0.0
    if not 0 < slowest < 1:
        return 60
    length = np.log(1e-2) / np.log(slowest)
    return int(min(max(30, 1.3 * length), 400)) if isfinite(length) else 60
