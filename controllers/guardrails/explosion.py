"""Explosion: entropy runs away upwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from controllers.guardrails.base import Action, Side
from controllers.guardrails.entropy_level import EntropyLevel, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Explosion(EntropyLevel):
    """Entropy stays above a multiple of its setpoint, or of the lowest that it was where that is higher.

    The default, two: it found each of seven runs of docs/log.md that exploded, and none of 105 that did not.  It is
    not always a failure: a published run has learnt well at 3.98 times its first entropy (DAPO on AppWorld,
    in 2603.11682).  Five is the lowest of the patiences 1, 3, 5, 10 and 20 that had no false alarm among the 110,
    and 20 misses four of their five.
    """

    name: ClassVar[str] = "explosion"
    direction: ClassVar[Literal["below", "above"]] = "above"
    side: ClassVar[Side] = "high"

    threshold: float = 2.0
    """Multiple of the setpoint, above 1; or nats/token, see ``unit``."""

    patience: int = 5
    """Readings in a row [iterations]."""

    action: Action = "warn"
    """What is done while it trips: ``warn`` says so, ``hold`` also keeps the commands of all loops, ``rollback`` goes
    back to the last good checkpoint with narrower limits, ``stop`` ends the run."""

    unit: Unit = "share"
    """``share`` of the setpoint, or ``nats``: the threshold itself is the limit."""
