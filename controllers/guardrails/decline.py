"""Decline: the reward is below where it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from controllers.base import State
from controllers.guardrails.base import Action, Detector, Reading, Side, check_settings


class DeclineState(NamedTuple):
    """The two windows of rewards, each at most ``patience`` long."""

    first: tuple[float, ...]
    """The first rewards of the run."""
    last: tuple[float, ...]
    """The last ones after those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline(Detector):
    """The mean of the last ``patience`` rewards is below that of the first, by more than noise explains.

        m̄_first − m̄_last > threshold · √(s²_first/n + s²_last/n),  n = patience

    The noise is that of the two windows themselves, so a small batch, whose rewards scatter, asks for a
    larger fall.  A reward that rises or falls within a window widens it, which is on the safe side.  A run that learns at
    once is compared with the mean of its first window, which is above its very start.

    The defaults are chosen by simulation (docs/log.md), for want of a record: of 4000 runs of 500 iterations with a constant
    reward 0.1 % trip, 2.8 % where the noise of neighbours is correlated at 0.3; a threshold of 3 gives 9 % and
    35 %, since a run is looked at hundreds of times.  A fall by twice the standard deviation of one
    iteration's noise is found in 99 %, mostly within twenty iterations; by once, in one of four.
    """

    name: ClassVar[str] = "decline"
    direction: ClassVar[Literal["below", "above"]] = "below"
    measures: ClassVar[tuple[str, str]] = ("mean reward", "")
    side: ClassVar[Side] = "none"

    threshold: float = 5.0
    """Standard errors of the difference of two means, above 0."""

    patience: int = 20
    """Rewards in each mean, at least 2 [iterations]."""

    action: Action = "warn"
    """What is done while it trips: ``warn`` says so, ``hold`` also keeps the commands of all loops, ``rollback`` goes
    back to the last good checkpoint with narrower limits, ``stop`` ends the run."""

    def __post_init__(self) -> None:
        check_settings(self, low=0.0, high=inf)
        if self.patience < 2:
            raise ValueError(f"patience must be >= 2, so that its rewards have a spread, got {self.patience}")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("reward",)

    def init(self) -> DeclineState:
        return DeclineState(first=(), last=())

    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, Reading]:
        first, last = DeclineState(*state)
        reward = telemetry.get("reward", nan)
        if isfinite(reward) and len(first) < self.patience:
            first = (*first, reward)
        elif isfinite(reward):
            last = (*last, reward)[-self.patience :]
        value = limit = nan
        if len(last) == self.patience:
            noise = sqrt((np.var(first, ddof=1) + np.var(last, ddof=1)) / self.patience)
            value, limit = float(np.mean(last)), float(np.mean(first)) - self.threshold * noise
        # The patience is in the means: one excess says it all.
        excesses = (limit - value,) if isfinite(limit) else ()
        reading = Reading(value=value, limit=limit, excesses=excesses, patience=1)
        return DeclineState(first=first, last=last), reading
