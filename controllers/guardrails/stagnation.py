"""Stagnation: the reward has stopped rising."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import ClassVar, Literal, NamedTuple

from controllers.base import State
from controllers.guardrails.base import Action, Detector, Reading, Side, check_settings


class StagnationState(NamedTuple):
    """The moving average of the reward, and how high it has been."""

    total: float
    """Sum of the weighted rewards."""
    weight: float
    """Sum of their weights."""
    bests: tuple[float, ...]
    """The best average after each of the last ``patience + 1`` rewards, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stagnation(Detector):
    """The best averaged reward is hardly better than it was ``patience`` iterations ago.

    The average is a debiased exponential moving average.  Once it has reached ``solved`` there is nothing left
    to gain, and no alarm.

    The defaults are chosen, not measured: no run of docs/log.md that stood still as long had failed (17 of the 60
    that were long enough; their loops held entropy up and the pass rate down with it), so there is nothing to tell
    apart.  ``decay`` averages over about ten rewards.  The number of alarms hardly depends on it, on ``solved``, or on
    a threshold below this one; it does on the patience: with 50 iterations 62 of 110 runs trip.
    """

    name: ClassVar[str] = "stagnation"
    direction: ClassVar[Literal["below", "above"]] = "below"
    measures: ClassVar[tuple[str, str]] = ("gain of the best averaged reward", "")
    side: ClassVar[Side] = "none"

    threshold: float = 0.01
    """Gain over ``patience`` iterations that is one [reward, 0 to 1]."""

    patience: int = 100
    """Iterations over which a gain is looked for."""

    action: Action = "warn"
    """What is done while it trips: ``warn`` says so, ``hold`` also keeps the commands of all loops, ``rollback`` goes
    back to the last good checkpoint with narrower limits, ``stop`` ends the run."""

    decay: float = 0.9
    """Weight kept from one reward to the next, in [0, 1)."""

    solved: float = 0.95
    """Averaged reward from which on nothing is left to gain, in (0, 1]."""

    def __post_init__(self) -> None:
        check_settings(self, low=0.0, high=1.0)
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {self.decay:g}")
        if not 0 < self.solved <= 1:
            raise ValueError(f"solved must be in (0, 1], got {self.solved:g}")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("reward",)

    def init(self) -> StagnationState:
        return StagnationState(total=0.0, weight=0.0, bests=())

    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, Reading]:
        total, weight, bests = StagnationState(*state)
        reward = telemetry.get("reward", nan)
        if isfinite(reward):
            total = self.decay * total + (1 - self.decay) * reward
            weight = self.decay * weight + (1 - self.decay)
            averaged = total / weight
            bests = (*bests, max((averaged, *bests[-1:])))[-self.patience - 1 :]
        is_full = len(bests) > self.patience
        gain = bests[-1] - bests[0] if is_full else nan
        # The patience is in the gain: one excess says it all.
        excesses = (self.threshold - gain,) if is_full and bests[-1] < self.solved else ()
        reading = Reading(value=gain, limit=self.threshold, excesses=excesses, patience=1)
        return StagnationState(total=total, weight=weight, bests=bests), reading
