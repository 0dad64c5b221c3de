"""Advantage starvation: whole groups are right or wrong, and teach nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from controllers.guardrails.base import Action, Ceiling, check_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Starvation(Ceiling):
    """Group after group has the same reward throughout, so its advantages are zero.

    All right: the task is solved.  All wrong: it is too hard, or the policy is ruined, or the grader is broken.
    The default, 95 % of the groups for ten iterations: in docs/log.md it found each of seven runs whose reward was
    gone, ten iterations sooner than with a patience of 20, and none of those that went well, where no
    iteration had more than 62 %; those seven had all of their groups starved, so the share is chosen between the two.
    """

    name: ClassVar[str] = "starvation"
    reading: ClassVar[str] = "rollout/starved_groups"
    measures: ClassVar[tuple[str, str]] = ("share of groups with equal rewards", "")

    threshold: float = 0.95
    """Share of the groups, between 0 and 1."""

    patience: int = 10
    """Readings in a row [iterations]."""

    action: Action = "warn"
    """What is done while it trips: ``warn`` says so, ``hold`` also keeps the commands of all loops, ``rollback`` goes
    back to the last good checkpoint with narrower limits, ``stop`` ends the run."""

    def __post_init__(self) -> None:
        check_settings(self, low=0.0, high=1.0)
