"""Explosion: entropy runs away upwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

from controllers.base import State
from controllers.guardrails.base import ENTROPY, Action, Detector, Side, Verdict, check_settings
from controllers.guardrails.levels import UNITS, Level, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Explosion(Detector):
    """Entropy stays above a multiple of its setpoint, or of its first reading where that is higher.

    The default, two: five runs of docs/log.md whose reward went to nothing ended at 2.5 to 3.9 times their first
    entropy, and no other went above 1.8 but by its own temperature.  It is not always a failure: a published
    run has learnt well at 3.98 times its first entropy (DAPO on AppWorld, in 2603.11682).
    """

    name: ClassVar[str] = "explosion"
    direction: ClassVar[Literal["below", "above"]] = "above"
    measures: ClassVar[tuple[str, str]] = ("entropy", " nats/token")
    side: ClassVar[Side] = "high"

    threshold: float = 2.0
    """Multiple of the setpoint, above 1; or nats/token, see ``unit``."""

    patience: int = 5
    """Readings in a row [iterations]."""

    action: Action = "warn"
    """warn, hold, rollback or stop."""

    unit: Unit = "share"
    """``share`` of the setpoint, or ``nats``: the threshold itself is the limit."""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit must be one of {', '.join(UNITS)}, got {self.unit!r}")
        check_settings(self, low=1.0 if self.unit == "share" else 0.0, high=inf)

    @property
    def reads(self) -> tuple[str, ...]:
        return (ENTROPY,)

    def init(self) -> State:
        return self._level.init()

    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, Verdict]:
        return self._level.step(state, telemetry)

    @property
    def _level(self) -> Level:
        return Level(threshold=self.threshold, patience=self.patience, unit=self.unit, farther=max)
