"""Misconceptions: a rule that a task's demonstrations get wrong on purpose, by name and rate.

A policy that is warm-started on them has a wrong mode: greedily it makes the fault, and the right step is a rare
token of its own distribution.  So there is something to find in training, and something to lose with entropy.
Slips (``warm_start.error_rate``) are chance; a misconception is a rule.

A task offers faults by a table of their names.  It has a setting of type ``Misconception | None``, guards it by
`guard_fault`, and makes the fault in its demonstrations; graders know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Misconception:
    """A named fault of demonstrations, and how often it is made where there is an occasion."""

    fault: str
    """Name of the fault; each task has its own, and refuses others."""

    rate: float = 0.97
    """Share of the occasions on which it is made, in [0, 1].  At 1 the right step is never shown, and training
    may never meet it; at 0 there is nothing to find."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise ValueError(f"rate must be in [0, 1], got {self.rate}")


def guard_fault(name: str, setting: Misconception | None, known: Iterable[str]) -> None:
    """Raise ``ValueError``, with the field's name first, unless the fault is one of those that are known."""
    names = sorted(known)
    if setting is not None and setting.fault not in names:
        raise ValueError(f"{name}.fault must be one of {', '.join(names)}, got {setting.fault!r}")
