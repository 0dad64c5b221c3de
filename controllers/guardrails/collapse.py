"""Collapse: entropy is nearly spent, or far below where its loop should hold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from controllers.guardrails.base import Action, Side
from controllers.guardrails.entropy_level import EntropyLevel, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse(EntropyLevel):
    """Entropy stays below a share of its setpoint, or of the highest that it was where that is lower.

    The default, a tenth: in 2505.22617, where entropy of 11 models was left alone, a third of the run spent
    94 % of it and made 93 % of the gain, so below a tenth little is left to learn from.  The runs of
    docs/log.md that were left alone end at 16 % to 27 % and still solve their task, and raise no alarm; two
    whose entropy was fined do.  The patience was chosen: there any from 3 to 10 would have done.
    """

    name: ClassVar[str] = "collapse"
    direction: ClassVar[Literal["below", "above"]] = "below"
    side: ClassVar[Side] = "low"

    threshold: float = 0.1
    """Share of the setpoint, below 1; or nats/token, see ``unit``."""

    patience: int = 10
    """Readings in a row [iterations]."""

    action: Action = "warn"
    """What is done while it trips: ``warn`` says so, ``hold`` also keeps the commands of all loops, ``rollback`` goes
    back to the last good checkpoint with narrower limits, ``stop`` ends the run."""

    unit: Unit = "share"
    """``share`` of the setpoint, or ``nats``: the threshold itself is the limit."""
