"""Filters: the measurement that a loop uses, from noisy readings.

A filter buys calm with phase lag: an average over ``n`` readings answers about ``n / 2`` iterations
late, and the law's gains have to shrink accordingly.  Start with none; entropy averaged over the
tokens of a global batch is seldom the noisy part of a loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from controllers.base import Filter, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Filter):
    """No smoothing: the reading is the measurement until the next reading arrives."""

    kind: ClassVar[str] = "none"

    def init(self) -> State:
        return ()

    def step(self, state: State, reading: float) -> tuple[State, float]:
        return state, reading


class EMAState(NamedTuple):
    """A moving average, and what it is divided by."""

    average: float
    """m, before debiasing [the reading's unit]."""
    weight: float
    """w, sum of the weights in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EMA(Filter):
    """Exponential moving average, debiased as in Adam: the first measurement is the first reading.

    m_k = decay·m_{k-1} + (1 − decay)·reading_k,   w_k = 1 − decay^k,   y_k = m_k / w_k
    """

    kind: ClassVar[str] = "ema"

    decay: float
    """Weight kept from one reading to the next, in [0, 1).  Remembers about 1 / (1 − decay) readings."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {self.decay}")

    def init(self) -> EMAState:
        return EMAState(average=0.0, weight=0.0)

    def step(self, state: State, reading: float) -> tuple[EMAState, float]:
        average, weight = EMAState(*state)
        average = self.decay * average + (1 - self.decay) * reading
        weight = self.decay * weight + (1 - self.decay)
        return EMAState(average=average, weight=weight), average / weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Median(Filter):
    """Median of the last ``window`` readings: one outlier in three leaves no trace.

    Until the window is full it is the median of the readings there are (of an even number, the mean
    of the middle two).
    """

    kind: ClassVar[str] = "median"

    window: int
    """Number of readings, odd.  Outliers shorter than half of it are removed."""

    def __post_init__(self) -> None:
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"window must be odd and >= 1, got {self.window}")

    def init(self) -> State:
        return ()

    def step(self, state: State, reading: float) -> tuple[State, float]:
        readings = (*state, reading)[-self.window :]
        ordered = sorted(readings)
        n = len(ordered)
        return readings, (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


FILTERS: dict[str, type[Filter]] = {part.kind: part for part in Filter.__subclasses__()}
