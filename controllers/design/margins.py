"""Distance of a loop from instability: gain, phase and delay margins, and the peaks of its sensitivities."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import inf, nan, pi
from typing import Any

import numpy as np

from controllers.base import Filter
from controllers.design.frequency import grid
from controllers.design.response import spectral_radius
from controllers.design.transfer import Array, Loop, close_law, evaluate, multiply
from controllers.laws.pid import PID
from controllers.plants.plant import Plant

MOST_EXTRA_ITERATIONS = 50
"""Further delay that is looked at, pole by pole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """Margins of one closed loop.  An unstable loop has none: 0, with peaks of inf."""

    stable: bool
    """All closed-loop poles are inside of the unit circle."""

    poles: tuple[complex, ...]
    """Poles of the closed loop, slowest first."""

    gain_margin: float
    """Smallest factor above 1 on the gain that makes it unstable; inf when none does."""

    phase_margin_degrees: float
    """Smallest further lag that makes it unstable [degrees]; inf when |L| is never 1."""

    delay_margin: float
    """Smallest further delay that makes it unstable, phase margin over crossover frequency, least over
    all crossovers [iterations]; a real number, of which a loop feels whole iterations."""

    extra_iterations: int
    """Whole iterations of further delay that it survives, from its poles; looked at up to 50.  This is
    the staleness of off-policy data that the gains allow."""

    ms: float
    """Peak of the sensitivity |1 / (1 + L)|: 1 / Ms is the distance from −1.  1.4 calm, 2 the limit."""

    mt: float
    """Peak of the complementary sensitivity |L / (1 + L)|."""

    bandwidth: float
    """Frequency at which |L / (1 + L)| first falls below 0.7 of its start [radians an iteration]; nan when
    it does not fall.  A disturbance slower than this is suppressed."""


def margins(plant: Plant, law: PID, filter: Filter | None = None, at_nats: float | None = None) -> Margins:
    """Margins of a law on a plant, every iteration a control instant (period 1).

    A law whose coordinates are not the plant's has its gains converted at ``at_nats``, the level of the
    plant unless given.  Raises DesignError for a filter that is not linear.
    """
    return loop_margins(close_law(plant, law, filter, at_nats))


def loop_margins(loop: Loop) -> Margins:
    """Margins of one loop."""
    import control  # a second or more, and it brings matplotlib

    transfer = _as_control(control, loop)
    roots = np.asarray(control.feedback(transfer, 1).poles(), dtype=complex)
    poles = tuple(complex(pole) for pole in roots[np.argsort(-np.abs(roots), kind="stable")])
    if poles and abs(poles[0]) >= 1:
        return Margins(
            stable=False,
            poles=poles,
            gain_margin=0.0,
            phase_margin_degrees=0.0,
            delay_margin=0.0,
            extra_iterations=0,
            ms=inf,
            mt=inf,
            bandwidth=nan,
        )
    gains, phases, distances, _, crossovers, _ = _crossings(control, transfer)
    delay_margin = min(
        (float(np.radians(phase) % (2 * pi) / at) for phase, at in zip(phases, crossovers) if at > 0),
        default=inf,
    )
    complementary = _complementary(loop, grid(3000))
    return Margins(
        stable=True,
        poles=poles,
        gain_margin=_gain_margin(loop, gains),
        phase_margin_degrees=float(min(np.abs(phases), default=inf)),
        delay_margin=delay_margin,
        extra_iterations=_extra_iterations(loop),
        ms=_peak(loop, distances),
        mt=float(complementary.max()),
        bandwidth=_bandwidth(complementary),
    )


def _as_control(control: Any, loop: Loop) -> Any:
    """L as python-control's transfer function, in powers of the forward shift, one iteration a step."""
    numerator = multiply(loop.push, loop.law_numerator)
    denominator = multiply(loop.memory, loop.law_denominator)
    size = max(numerator.size, denominator.size)
    # what is below rounding would only be a root so near 0 that the search for others overflows
    trimmed = [np.where(np.abs(p) > 1e-14 * np.abs(p).max(), p, 0.0) for p in (numerator, denominator)]
    padded = [np.pad(p, (0, size - p.size)) for p in trimmed]
    while padded[0][-1] == padded[1][-1] == 0:  # a common factor z, which would be a pole at 0 too many
        padded = [p[:-1] for p in padded]
    return control.tf(*padded, 1.0)


def _crossings(control: Any, transfer: Any) -> Any:
    """Every gain margin, phase margin and distance from −1, with its frequency.

    If the roots of high orders are in doubt, python-control says so and brackets them on a grid.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it divides by 0 at the poles of integrators
        warnings.filterwarnings("ignore", message="stability_margins: Falling back to 'frd'")
        return control.stability_margins(transfer, returnall=True)


def _gain_margin(loop: Loop, found: Array) -> float:
    """Smallest factor above 1.

    python-control reports a crossing at ω = 0 with factor 0 for two integrators, and misses the one at
    ω = π, where every discrete loop is real; both are mended here.
    """
    end = evaluate(multiply(loop.push, loop.law_numerator), np.array([pi]))
    end = end / evaluate(multiply(loop.memory, loop.law_denominator), np.array([pi]))
    at_pi = [-1 / float(end[0].real)] if end[0].real < 0 else []
    return min((float(gain) for gain in (*found, *at_pi) if gain > 1), default=inf)


def _peak(loop: Loop, distances: Array) -> float:
    """Ms by python-control's roots, or by a fine grid where the roots of a high order miss the peak."""
    omega = grid(3000)
    poles = evaluate(loop.characteristic, omega)
    on_grid = np.abs(evaluate(multiply(loop.memory, loop.law_denominator), omega) / poles).max()
    return float(max([on_grid, *(1 / distance for distance in distances if distance > 0)]))


def _complementary(loop: Loop, omega: Array) -> Array:
    numerator = evaluate(multiply(loop.push, loop.law_numerator), omega)
    magnitude: Array = np.abs(numerator / evaluate(loop.characteristic, omega))
    return magnitude


def _bandwidth(complementary: Array) -> float:
    below = np.flatnonzero(complementary < complementary[0] / np.sqrt(2))
    return float(grid(3000)[below[0]]) if below.size else nan


def _extra_iterations(loop: Loop) -> int:
    """Whole iterations of further delay up to which every loop is stable."""
    open_loop = multiply(loop.memory, loop.law_denominator)
    forward = multiply(loop.push, loop.law_numerator)
    for extra in range(1, MOST_EXTRA_ITERATIONS + 1):
        delayed = np.pad(forward, (extra, 0))
        size = max(open_loop.size, delayed.size)
        poles = np.pad(open_loop, (0, size - open_loop.size)) + np.pad(delayed, (0, size - delayed.size))
        if spectral_radius(poles) >= 1:
            return extra - 1
    return MOST_EXTRA_ITERATIONS
