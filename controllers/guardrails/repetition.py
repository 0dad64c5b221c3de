"""Repetition: responses go round in circles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from controllers.guardrails.base import Action, Ceiling, check_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition(Ceiling):
    """Responses repeat themselves: of their 8-grams, many have been in the same response before.

    The default, half of them: in the runs of docs/log.md that went well it was 0.01 at most, in those whose reward
    was lost in other ways 0.09 at most, and in the one that went round in circles 0.95.  Any default between
    would have told them apart, with any patience: five is chosen.
    """

    name: ClassVar[str] = "repetition"
    reading: ClassVar[str] = "rollout/repetition"
    measures: ClassVar[tuple[str, str]] = ("share of repeated 8-grams", "")

    threshold: float = 0.5
    """Share of the 8-grams of a response that it has had before, between 0 and 1."""

    patience: int = 5
    """Readings in a row [iterations]."""

    action: Action = "warn"
    """What is done while it trips: ``warn`` says so, ``hold`` also keeps the commands of all loops, ``rollback`` goes
    back to the last good checkpoint with narrower limits, ``stop`` ends the run."""

    def __post_init__(self) -> None:
        check_settings(self, low=0.0, high=1.0)
