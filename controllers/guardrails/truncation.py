"""Truncation storm: responses run into the limit of their length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from controllers.guardrails.base import Action, Ceiling, check_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation(Ceiling):
    """Many responses are cut before they end, so most rewards are those of an unfinished answer.

    The default, more than half of them: in the runs of docs/log.md that went well it was 0.14 at most, in those that
    ran into their limit 0.7 to 1.  A policy that reasons at length may well be at 0.3, so it is no lower.
    A patience of 3 or 5 found all that ran into it and nothing else, 10 missed one; one reading alone is not enough.
    """

    name: ClassVar[str] = "truncation"
    reading: ClassVar[str] = "rollout/truncated"
    measures: ClassVar[tuple[str, str]] = ("share of truncated responses", "")

    threshold: float = 0.5
    """Share of the responses, between 0 and 1."""

    patience: int = 5
    """Readings in a row [iterations]."""

    action: Action = "warn"
    """What is done while it trips: ``warn`` says so, ``hold`` also keeps the commands of all loops, ``rollback`` goes
    back to the last good checkpoint with narrower limits, ``stop`` ends the run."""

    def __post_init__(self) -> None:
        check_settings(self, low=0.0, high=1.0)
