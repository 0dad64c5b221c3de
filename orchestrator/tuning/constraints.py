"""How far a trial is from what it must not do: positive is a violation, as Optuna has it.

Collapse and explosion are those of the guardrails (`controllers.guardrails`), with the bounds of the study.
"""

from __future__ import annotations

from controllers.guardrails.levels import Level
from orchestrator.tuning.models import ConstraintsConfig, LevelBound
from orchestrator.tuning.objectives import SeedRecord


def violations(record: SeedRecord, settings: ConstraintsConfig) -> dict[str, float]:
    """Worst excess over each bound on entropy so far [nats/token]; −inf while there is too little record."""
    found: dict[str, float] = {}
    if settings.collapse is not None:
        found["collapse"] = collapse(record, settings.collapse)
    if settings.explosion is not None:
        found["explosion"] = explosion(record, settings.explosion)
    return found


def collapse(record: SeedRecord, bound: LevelBound) -> float:
    """How far below the bound entropy stayed for a whole window."""
    return _level(bound, is_upper=False).worst(record.reading, record.r)


def explosion(record: SeedRecord, bound: LevelBound) -> float:
    """How far above the bound entropy stayed for a whole window."""
    return _level(bound, is_upper=True).worst(record.reading, record.r)


def _level(bound: LevelBound, *, is_upper: bool) -> Level:
    farther = max if is_upper else min
    if bound.nats is not None:
        return Level(threshold=bound.nats, patience=bound.window, unit="nats", farther=farther)
    assert bound.fraction is not None
    return Level(threshold=bound.fraction, patience=bound.window, unit="share", farther=farther)
