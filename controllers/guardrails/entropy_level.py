"""The common part of collapse and explosion: entropy is compared with a level that it should not pass."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, nan
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from controllers.base import State
from controllers.guardrails.base import ENTROPY, SETPOINT, Detector, Reading, check_settings, recent

Array = NDArray[np.float64]
Unit = Literal["share", "nats"]
UNITS = ("share", "nats")


class LevelState(NamedTuple):
    """What an entropy detector has seen; a tuple of one is empty before there is one."""

    excesses: tuple[float, ...]
    """By how much the last readings were beyond the limit, oldest first."""
    first: tuple[float, ...]
    """The first entropy [nats/token]."""
    nearest: tuple[float, ...]
    """The entropy least far out [nats/token]."""
    setpoint: tuple[float, ...]
    """The last setpoint [nats/token]."""


class EntropyLevel(Detector):
    """A detector that trips where entropy stays beyond a level; a subclass adds where that is, and fields.

    The limit of a share is ``threshold`` times the setpoint, or times the nearest to it that entropy has come
    so far, where that is farther out: a run that starts beyond its setpoint has not failed by that, one that
    moves away again has.  Without a setpoint it is ``threshold`` times the first entropy.  The limit in nats
    is ``threshold``, or the first entropy where that is farther out.  While loops hold there is no setpoint to
    read, and the last one counts.
    """

    measures: ClassVar[tuple[str, str]] = ("entropy", " nats/token")

    unit: Unit

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit must be one of {', '.join(UNITS)}, got {self.unit!r}")
        low, high = (1.0, inf) if self.direction == "above" else (0.0, 1.0)
        check_settings(
            self, low=low if self.unit == "share" else 0.0, high=high if self.unit == "share" else inf
        )

    @property
    def reads(self) -> tuple[str, ...]:
        return (ENTROPY,)

    def init(self) -> LevelState:
        return LevelState(excesses=(), first=(), nearest=(), setpoint=())

    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, Reading]:
        excesses, first, nearest, setpoint = LevelState(*state)
        y, r = telemetry.get(ENTROPY, nan), telemetry.get(SETPOINT, nan)
        if isfinite(y):
            first = first or (y,)
            nearest = (self._nearer(y, *nearest),)
        setpoint = (r,) if isfinite(r) else setpoint
        limit = self._limit(first, nearest, setpoint)
        excesses = recent(excesses, self._sign * (y - limit), self.patience)
        reading = Reading(value=y, limit=limit, excesses=excesses, patience=self.patience)
        after = LevelState(excesses=excesses, first=first, nearest=nearest, setpoint=setpoint)
        return after, reading

    def worst(self, y: Array, r: Array) -> float:
        """The largest ``sustained`` of all readings on a record, at once; −inf where it is too short for one.

        ``y`` and ``r`` are entropy and setpoint of each iteration, nan where there was none.
        """
        seen = np.isfinite(y)
        if np.count_nonzero(seen) < self.patience:
            return -inf
        first = float(y[seen][0])
        nearest = self._sign * np.minimum.accumulate(np.where(seen, self._sign * y, inf))
        known = np.maximum.accumulate(np.where(np.isfinite(r), np.arange(len(r)), -1))
        levels = np.where(
            known >= 0, self._sign * np.maximum(self._sign * r[known], self._sign * nearest), first
        )
        limit = self._farther(self.threshold, first) if self.unit == "nats" else self.threshold * levels
        excess = (self._sign * (y - limit))[seen]
        return float(np.lib.stride_tricks.sliding_window_view(excess, self.patience).min(axis=1).max())

    @property
    def _sign(self) -> float:
        """1 where farther out is up, −1 where it is down."""
        return 1.0 if self.direction == "above" else -1.0

    def _farther(self, *entropies: float) -> float:
        return max(entropies, key=lambda entropy: self._sign * entropy)

    def _nearer(self, *entropies: float) -> float:
        return min(entropies, key=lambda entropy: self._sign * entropy)

    def _limit(self, first: State, nearest: State, setpoint: State) -> float:
        if not first:
            return nan
        if self.unit == "nats":
            return self._farther(self.threshold, *first)
        return self.threshold * (self._farther(*setpoint, *nearest) if setpoint else first[0])
