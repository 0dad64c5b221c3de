"""Specifications of a loop, and the gains that meet them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar

import numpy as np

from controllers.design.errors import DesignError
from controllers.design.frequency import sensitivity_peak
from controllers.design.gain_search import Gains, GainSearch
from controllers.design.reduction import reduce
from controllers.design.response import LONGEST, noise_variances, steps
from controllers.design.transfer import Array, Loop
from controllers.parts.filters import EMA

LARGEST_MS = 2.5
"""A rule whose loop peaks higher does not fit the plant."""


class Specification(ABC):
    """A wish; its ``gains`` are the answer of one search."""

    kind: ClassVar[str]

    @abstractmethod
    def gains(self, search: GainSearch) -> Gains:
        """Gains per unit of the plant's z.  Raises DesignError, with the cure, when it cannot be met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SIMC(Specification):
    """Skogestad's rule (J. Process Control 13, 2003) on the plant reduced to first order.

    kp = 1 / (slope·(tc + θ)),   ki = kp / min(τ, 4·(tc + θ)),   θ dead time, τ time constant of the plant
    """

    kind: ClassVar[str] = "simc"

    time_constant: float | None = None
    """Wanted of the closed loop, tc [iterations]; the dead time of the plant when left out, which gives
    the fastest that the rule calls robust (Ms about 1.6 to 1.8)."""

    def __post_init__(self) -> None:
        if self.time_constant is not None and not 0 < self.time_constant < inf:
            raise ValueError(f"time_constant must be > 0 and finite, got {self.time_constant}")

    def gains(self, search: GainSearch) -> Gains:
        if search.structure == "pid":
            raise DesignError(
                "the SIMC rule for first-order plants has no derivative action: use structure pi, or a "
                "sensitivity peak"
            )
        plant = reduce(search.plant)
        dead_time = plant.dead_time
        if isinstance(search.filter, EMA):  # the mean residence time of an average
            dead_time += search.filter.decay / (1 - search.filter.decay)
        reach = (dead_time if self.time_constant is None else self.time_constant) + dead_time
        integral_time = min(plant.time_constant, 4 * reach)
        if integral_time > 0:
            kp = 1 / (plant.slope * reach)
            gains = Gains(kp=kp, ki=kp / integral_time if search.structure == "pi" else 0.0)
        elif search.structure == "pi":
            gains = Gains(kp=0.0, ki=1 / (plant.gain * reach))  # the limit τ → 0
        else:
            raise DesignError("a plant without memory leaves SIMC nothing proportional: use structure pi")
        ms = float(sensitivity_peak(search.close(gains)))
        if ms > LARGEST_MS:
            raise DesignError(
                f"the SIMC rule gives Ms = {ms:.3g} here, because the plant is unlike its first-order picture "
                "or time_constant is too short: give a larger one, or use a sensitivity peak"
            )
        return gains


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityPeak(Specification):
    """The largest ki (a P law: kp) whose sensitivity peak stays within a bound.

    A step of the drift leaves ∫e = 1 / ki behind, so this rejects drift as well as robustness allows
    (Åström, Panagopoulos and Hägglund, Automatica 34, 1998).
    """

    kind: ClassVar[str] = "sensitivity_peak"

    ms: float = 1.4
    """Bound on Ms.  1.2 sluggish, 1.4 calm, 2 lively."""

    def __post_init__(self) -> None:
        _check_ms(self.ms)

    def gains(self, search: GainSearch) -> Gains:
        gain = _kp if search.structure == "p" else _ki
        return search.best(self.ms, lambda loop, ms: (np.zeros_like(ms), -gain(loop)))[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling(Specification):
    """The calmest loop (smallest Ms) that has settled in time.

    Settled are 95 % of a step of the reference and 95 % of the peak that a step of the drift makes.  A P law
    is judged by the reference alone, towards the offset it leaves, and is the one with the smallest offset.
    """

    kind: ClassVar[str] = "settling"

    iterations: int = 20
    """Iterations in which the loop has to settle."""

    ms: float = 1.6
    """Bound on Ms."""

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations must be >= 1, got {self.iterations}")
        _check_ms(self.ms)

    def gains(self, search: GainSearch) -> Gains:
        num = min(3 * self.iterations + 50, LONGEST)

        def calmest(loop: Loop, ms: Array) -> tuple[Array, Array]:
            return np.maximum(_duration(loop, num, search) - self.iterations, 0.0), -_kp(
                loop
            ) if search.structure == "p" else ms

        gains, short = search.best(self.ms, calmest)
        if short == 0:
            return gains
        raise DesignError(
            f"no {search.structure} law settles in {self.iterations} iterations at Ms <= {self.ms:g}: "
            f"{_fastest(self.iterations + short, num)}; allow more iterations, or a larger ms"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumVariance(Specification):
    """The smallest variance that noise leaves in the measurement, within bounds.

    On its own the least variance wants no integral action, which fixed noise never asks for, so a step of
    the drift has to be forgotten in time; and it may command without regard, so the command can be bounded.
    The Harris index of the design says how far it is from what any law could do.
    """

    kind: ClassVar[str] = "minimum_variance"

    ms: float = 1.6
    """Bound on Ms."""

    recovery: int = 40
    """Iterations in which a step of the drift has to be 95 % forgotten; not asked of a P law."""

    command_std: float = inf
    """Bound on the standard deviation of the command that noise causes [actuator's unit]."""

    def __post_init__(self) -> None:
        _check_ms(self.ms)
        if self.recovery < 1:
            raise ValueError(f"recovery must be >= 1, got {self.recovery}")
        if not self.command_std > 0:
            raise ValueError(f"command_std must be > 0, got {self.command_std}")

    def gains(self, search: GainSearch) -> Gains:
        noise = search.plant.noise_std
        if noise == 0:
            raise DesignError("minimum variance needs a plant with noise, got noise_std = 0: use settling")
        num = min(3 * self.recovery + 50, LONGEST)

        def restless(loop: Loop, ms: Array) -> tuple[Array, Array]:
            output, command = noise_variances(loop)
            short = np.maximum(noise * np.sqrt(command) / self.command_std - 1, 0.0)
            if search.structure != "p":
                short = short + np.maximum(steps(loop, num).recovery / self.recovery - 1, 0.0)
            return short, output

        gains, short = search.best(self.ms, restless)
        if short == 0:
            return gains
        nearest = search.close(gains)
        deviation = noise * float(np.sqrt(noise_variances(nearest)[1]))
        recovery = float(steps(nearest, num).recovery)
        raise DesignError(
            f"no {search.structure} law has Ms <= {self.ms:g}, forgets a step of the drift in {self.recovery} "
            f"iterations and commands with a standard deviation of at most {self.command_std:g}: the nearest "
            f"takes {recovery:g} iterations with a deviation of {deviation:.3g}; relax one of them"
        )


SPECIFICATIONS: dict[str, type[Specification]] = {spec.kind: spec for spec in Specification.__subclasses__()}


def _kp(loop: Loop) -> Array:
    gain: Array = loop.reference_numerator[..., 0]  # at q = 0
    return gain


def _ki(loop: Loop) -> Array:
    gain: Array = loop.reference_numerator.sum(axis=-1)  # (1 − q)·C_r at q = 1, filter apart
    return gain


def _duration(loop: Loop, num: int, search: GainSearch) -> Array:
    """Iterations until all that a user waits for is done."""
    answer = steps(loop, num)
    return answer.settling if search.structure == "p" else np.maximum(answer.settling, answer.recovery)


def _fastest(iterations: float, num: int) -> str:
    if not isfinite(iterations):
        return f"none does within {num}"
    return f"the fastest possible is {int(iterations)}"


def _check_ms(ms: float) -> None:
    if not 1 < ms < inf:
        raise ValueError(f"ms must be > 1 and finite (below 1 is impossible for any loop), got {ms}")
