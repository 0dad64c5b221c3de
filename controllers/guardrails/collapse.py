"""Collapse: entropy is nearly spent, or far below where its loop should hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

from controllers.base import State
from controllers.guardrails.base import ENTROPY, Action, Detector, Side, Verdict, check_settings
from controllers.guardrails.levels import UNITS, Level, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse(Detector):
    """Entropy stays below a share of its setpoint, or of its first reading where that is lower.

    The default, a tenth: in 2505.22617, where entropy of 11 models was left alone, a third of the run spent
    94 % of it and made 93 % of the gain, so below a tenth little is left to learn from.  The runs of
    docs/log.md that were left alone end at 16 % to 27 % and still solve their task, and raise no alarm.
    """

    name: ClassVar[str] = "collapse"
    direction: ClassVar[Literal["below", "above"]] = "below"
    measures: ClassVar[tuple[str, str]] = ("entropy", " nats/token")
    side: ClassVar[Side] = "low"

    threshold: float = 0.1
    """Share of the setpoint, below 1; or nats/token, see ``unit``."""

    patience: int = 10
    """Readings in a row [iterations]."""

    action: Action = "warn"
    """warn, hold, rollback or stop."""

    unit: Unit = "share"
    """``share`` of the setpoint, or ``nats``: the threshold itself is the limit."""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit must be one of {', '.join(UNITS)}, got {self.unit!r}")
        check_settings(self, low=0.0, high=1.0 if self.unit == "share" else inf)

    @property
    def reads(self) -> tuple[str, ...]:
        return (ENTROPY,)

    def init(self) -> State:
        return self._level.init()

    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, Verdict]:
        return self._level.step(state, telemetry)

    @property
    def _level(self) -> Level:
        return Level(threshold=self.threshold, patience=self.patience, unit=self.unit, farther=min)
