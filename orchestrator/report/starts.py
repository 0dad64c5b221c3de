"""Sentences on arms whose start left nothing to find: all solved greedily, or no sample right."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.comparison.values import start_value
from orchestrator.storage.run_data import Arm

SOLVED = "solved every held-out problem greedily from the start, so that training had nothing to find there"
NOTHING = "had no right sample at the start, so that there was nothing to learn from"


def starts(arms: Sequence[Arm]) -> list[str]:
    """One sentence for all arms of which the same has to be said; none for those with something to find."""
    found = {
        SOLVED: [arm.name for arm in arms if _everywhere(arm, 1.0, "eval/pass_at_1")],
        NOTHING: [arm.name for arm in arms if _everywhere(arm, 0.0, "eval/pass_at_1", "eval/pass_rate")],
    }
    return [
        f"{', '.join(f'`{name}`' for name in names)} {sentence}."
        for sentence, names in found.items()
        if names
    ]


def _everywhere(arm: Arm, value: float, *metrics: str) -> bool:
    """Whether every run of the arm has that value in the evaluation before its first iteration."""
    return bool(arm.over) and all(start_value(run, name) == value for run in arm.over for name in metrics)
