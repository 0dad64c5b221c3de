"""The level that entropy is held against: a share of what it should be, or a number of nats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from controllers.base import State
from controllers.guardrails.base import ENTROPY, SETPOINT, Verdict, recent

Array = NDArray[np.float64]
Unit = Literal["share", "nats"]
UNITS = ("share", "nats")


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Reads entropy and setpoint, remembers the first entropy and the last setpoint.

    The limit of a share is ``threshold`` times the farther of setpoint and first entropy, the first entropy
    alone where there is no setpoint; the limit in nats is the farther of ``threshold`` and first entropy.
    So a run that starts beyond its setpoint has not failed by that; one that moves away from there has.
    While loops hold there is no setpoint to read, and the last one counts.
    """

    threshold: float
    patience: int
    unit: Unit
    farther: Callable[[float, float], float]
    """``min`` for a limit that entropy should stay above, ``max`` for one to stay below."""

    def init(self) -> State:
        """Nothing seen: no excess, no first entropy, no setpoint."""
        return (), (), ()

    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, Verdict]:
        """One iteration; an excess is positive beyond the limit, away from the first entropy."""
        excesses, first, setpoint = state
        y, r = telemetry.get(ENTROPY, nan), telemetry.get(SETPOINT, nan)
        first = first or ((y,) if isfinite(y) else ())
        setpoint = (r,) if isfinite(r) else setpoint
        limit = self._limit(first, setpoint)
        excess = y - limit if self.farther is max else limit - y
        excesses = recent(excesses, excess, self.patience)
        verdict = Verdict(value=y, limit=limit, excesses=excesses, patience=self.patience)
        return (excesses, first, setpoint), verdict

    def worst(self, y: Array, r: Array) -> float:
        """The largest ``sustained`` of all verdicts on a record, at once; −inf where it is too short for one.

        ``y`` and ``r`` are entropy and setpoint of each iteration, nan where there was none.
        """
        seen = np.isfinite(y)
        if np.count_nonzero(seen) < self.patience:
            return -inf
        first = float(y[seen][0])
        known = np.maximum.accumulate(np.where(np.isfinite(r), np.arange(len(r)), -1))
        setpoint = np.where(known >= 0, r[known], first)
        farther = np.maximum if self.farther is max else np.minimum
        limit = (
            np.full(len(y), self.farther(self.threshold, first))
            if self.unit == "nats"
            else self.threshold * farther(setpoint, first)
        )
        excess = (y - limit if self.farther is max else limit - y)[seen]
        return float(np.lib.stride_tricks.sliding_window_view(excess, self.patience).min(axis=1).max())

    def _limit(self, first: State, setpoint: State) -> float:
        if not first:
            return nan
        if self.unit == "nats":
            return self.farther(self.threshold, first[0])
        return self.threshold * (self.farther(setpoint[0], first[0]) if setpoint else first[0])
