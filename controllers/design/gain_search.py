"""The search for gains: a grid that closes in on the best point.

The sets of gains that a bound on the sensitivity allows have corners, and settling times jump, so a
gradient is of little use; a grid of a thousand loops is one call of numpy, and the result is the same on
every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log
from typing import Literal

import numpy as np

from controllers.base import Filter
from controllers.design.errors import DesignError
from controllers.design.frequency import grid, largest_sensitivity, sensitivity_peak
from controllers.design.response import spectral_radius
from controllers.design.transfer import Array, Loop, close
from controllers.identification.checks import SIGNIFICANT, dominant_pole
from controllers.plants.plant import Plant

Structure = Literal["p", "pi", "pid"]

STRUCTURES = ("p", "pi", "pid")

POINTS = {"p": (81,), "pi": (31, 33), "pid": (15, 17, 9)}
"""Points of the grid for each gain."""

DECADES = ((-4.0, 1.0), (-7.0, 1.0), (-4.0, 1.0))
"""Ranges in which kp, ki and kd are sought, in powers of ten times 1 / (mean |P| over the faster frequencies)."""

ROUNDS = 6
"""Grids, each around the best point of the one before: gains are found to about 0.1 %."""

CLOSER = 5.0
"""Cells of a grid that the next one spans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """The gains of a law, per unit of the plant's z."""

    kp: float
    """Proportional [command per unit of z]."""

    ki: float = 0.0
    """Integral [command per unit of z per iteration]."""

    kd: float = 0.0
    """Derivative [command per unit of z, times iterations]."""


Cost = Callable[[Loop, Array], tuple[Array, Array]]
"""From stable loops side by side and their Ms: by how much each falls short of what is asked (0: not at
all), and what is to be smallest among those that do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GainSearch:
    """A plant, and the parts of the loop that are given."""

    plant: Plant
    """To be controlled; raises DesignError when no law of the family can."""

    structure: Structure = "pi"
    """Gains that may differ from 0: ``p``, ``pi`` or ``pid``."""

    filter: Filter | None = None
    """Filter of the loop's measurement."""

    def __post_init__(self) -> None:
        if self.structure not in STRUCTURES:
            raise ValueError(f"structure must be one of {', '.join(STRUCTURES)}, got {self.structure!r}")
        _check(self.plant)

    def close(self, gains: Gains) -> Loop:
        """The loop with these gains."""
        return close(self.plant, kp=gains.kp, ki=gains.ki, kd=gains.kd, filter=self.filter)

    def best(self, ms: float, cost: Cost) -> tuple[Gains, float]:
        """The best gains with a sensitivity peak up to ``ms``, and by how much they fall short.

        If no gains meet the goal, the best are those that fall short least.  Raises DesignError if
        no gains meet ``ms``.
        """
        gains, score = self._search(ms, cost)
        if gains is None:
            lowest_ms = self._lowest_ms()
            reached = f"the lowest that a {self.structure} law reaches is {lowest_ms:.3g}"
            reached = reached if lowest_ms < inf else f"no {self.structure} law makes the loop stable"
            raise DesignError(f"ms = {ms:g} cannot be reached: {reached}; allow a larger ms")
        if self.structure == "pid":  # whose grid is logarithmic and leaves out kd = 0
            simpler = GainSearch(plant=self.plant, structure="pi", filter=self.filter)
            other, other_score = simpler._search(ms, cost)
            if other is not None and other_score <= score:
                return other, other_score[0]
        return gains, score[0]

    def _search(self, ms: float, cost: Cost) -> tuple[Gains | None, tuple[float, float]]:
        """The best gains, and how short they fall with their value; None where none meets ``ms``."""
        points = np.array(POINTS[self.structure], dtype=float)
        low, high = self._box()
        best, best_score = None, (inf, inf)
        for _ in range(ROUNDS):
            logs = _mesh(low, high, points)
            peaks, short, values = self._evaluate(np.exp(logs), ms, cost)
            if not (peaks <= ms).any():
                break
            index = np.lexsort((peaks, values, short))[0]
            score = (float(short[index]), float(values[index]))
            if best is None or score < best_score:
                best, best_score = logs[:, index], score
            reach = CLOSER / 2 * (high - low) / (points - 1)
            low, high = best - reach, best + reach
        if best is None:
            return None, best_score
        return Gains(**dict(zip(("kp", "ki", "kd"), map(float, np.exp(best))))), best_score

    def _box(self) -> tuple[Array, Array]:
        """Logarithms of the smallest and of the largest gains that are looked at."""
        decades = np.array(DECADES[: len(POINTS[self.structure])]) * log(10) - log(_scale(self.plant))
        return decades[:, 0], decades[:, 1]

    def _lowest_ms(self) -> float:
        """Smallest Ms on the widest grid; inf where no gains make the loop stable."""
        logs = _mesh(*self._box(), np.array(POINTS[self.structure], dtype=float))
        return float(sensitivity_peak(self._close(np.exp(logs))).min())

    def _evaluate(self, gains: Array, ms: float, cost: Cost) -> tuple[Array, Array, Array]:
        """Ms and cost of gains [num_gains, num_loops]; all inf where Ms or stability forbids it."""
        num = gains.shape[1]
        peaks, short, values = (np.full(num, inf) for _ in range(3))
        largest = largest_sensitivity(self._close(gains), grid())
        calm = np.flatnonzero(largest <= ms)  # few: poles, which cost more, are sought for these alone
        if calm.size:
            calm = calm[spectral_radius(self._close(gains[:, calm]).characteristic) < 1]
        if calm.size:
            peaks[calm] = largest[calm]
            short[calm], values[calm] = cost(self._close(gains[:, calm]), peaks[calm])
        return peaks, short, values

    def _close(self, gains: Array) -> Loop:
        kp, ki, kd = np.concatenate([gains, np.zeros((3 - len(gains), gains.shape[1]))])
        return close(self.plant, kp=kp, ki=ki, kd=kd, filter=self.filter)


def _mesh(low: Array, high: Array, points: Array) -> Array:
    """All points of a grid [num_gains, num_points]."""
    axes = [np.linspace(start, stop, int(num)) for start, stop, num in zip(low, high, points)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])


def _scale(plant: Plant) -> float:
    """Mean |P| over frequencies a law may cross over at: gains are sought around its inverse."""
    omega = grid()[grid() > 0.1]
    return float(np.abs(plant.response(omega)).mean())


def _check(plant: Plant) -> None:
    """What no gains of the right sign can mend, judged with the plant's own uncertainty as identification does."""
    covariance = np.array(plant.covariance) if plant.covariance else np.zeros((len(plant.parameters),) * 2)
    na, nb = len(plant.a), len(plant.b)
    if sum(plant.b) <= 0:
        error = float(np.sqrt(covariance[na : na + nb, na : na + nb].sum()))
        raise DesignError(
            f"a command must raise entropy in the end, got a sum of b of {sum(plant.b):.3g} ± {error:.2g}: turn "
            "the sign of the actuator, or identify again with a larger dither"
        )
    first = next(i for i, b in enumerate(plant.b) if b != 0)
    b, error = plant.b[first], float(np.sqrt(covariance[na + first, na + first]))
    if b + SIGNIFICANT * error < 0:
        raise DesignError(
            f"the plant is non-minimum-phase, its first answer of {b:.3g} ± {error:.2g} has the wrong sign: "
            "identify with a longer delay or fewer b coefficients"
        )
    pole, error = (
        dominant_pole(plant) if plant.covariance else (float(np.abs(plant.poles).max(initial=0.0)), 0.0)
    )
    if pole > 1 + SIGNIFICANT * error + 1e-9:
        raise DesignError(
            f"the plant is unstable by itself, with a pole of {pole:.4g} ± {error:.2g}: identify on a longer "
            "record around one level, without its transient"
        )
