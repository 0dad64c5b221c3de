"""How far a trial is from what it must not do: positive is a violation, as Optuna has it.

Collapse and explosion are those of the guardrails (`controllers.guardrails`), with the bounds of the study.
"""

from __future__ import annotations

from controllers.guardrails.collapse import Collapse
from controllers.guardrails.explosion import Explosion
from orchestrator.tuning.models import ConstraintsConfig
from orchestrator.tuning.objectives import SeedRecord


def violations(record: SeedRecord, settings: ConstraintsConfig) -> dict[str, float]:
    """Worst excess over each bound on entropy so far [nats/token]; −inf while there is too little record."""
    found: dict[str, float] = {}
    if settings.collapse is not None:
        found["collapse"] = settings.collapse.detector(Collapse).worst(record.reading, record.r)
    if settings.explosion is not None:
        found["explosion"] = settings.explosion.detector(Explosion).worst(record.reading, record.r)
    return found
