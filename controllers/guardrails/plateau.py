"""Plateau: an evaluation has stopped rising."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import ClassVar, Literal

from controllers.base import State
from controllers.guardrails.base import Action, Detector, Reading, Side, check_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau(Detector):
    """The best evaluation is hardly better than it was ``patience`` evaluations ago.

    With the action ``stop`` it is early stopping.  Evaluations are of held-out problems, so unlike `stagnation` it trips
    where the reward still rises and what it stands for does not.

    The defaults are chosen, not measured: 0.01 is the gain that `stagnation` asks for, and at 128 problems the standard
    error of one evaluation is up to 0.044, so fewer than five in a row say little.
    """

    name: ClassVar[str] = "plateau"
    direction: ClassVar[Literal["below", "above"]] = "below"
    measures: ClassVar[tuple[str, str]] = ("gain of the best evaluation", "")
    side: ClassVar[Side] = "none"
    counts: ClassVar[str] = "evaluations"

    threshold: float = 0.01
    """Gain over ``patience`` evaluations that is one [unit of the metric]."""

    patience: int = 5
    """Evaluations over which a gain is looked for."""

    action: Action = "warn"
    """What is done while it trips: ``warn`` says so, ``hold`` also keeps the commands of all loops, ``rollback`` goes
    back to the last good checkpoint with narrower limits, ``stop`` ends the run."""

    metric: str = "eval/pass_at_1"
    """Metric of an evaluation, of any set, that should rise."""

    def __post_init__(self) -> None:
        check_settings(self, low=0.0, high=1.0)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.metric,)

    def init(self) -> State:
        return ()

    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, Reading]:
        value = telemetry.get(self.metric, nan)
        bests = state  # the best after each of the last ``patience + 1`` evaluations, oldest first
        if isfinite(value):
            bests = (*bests, max((value, *bests[-1:])))[-self.patience - 1 :]
        is_full = len(bests) > self.patience
        gain = bests[-1] - bests[0] if is_full else nan
        # The patience is in the gain: one excess says it all.
        excesses = (self.threshold - gain,) if is_full else ()
        return bests, Reading(value=gain, limit=self.threshold, excesses=excesses, patience=1)
