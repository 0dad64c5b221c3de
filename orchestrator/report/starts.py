"""Sentences on arms whose start left nothing to find: all solved greedily, or no sample right."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.comparison.values import start_value
from orchestrator.configuration.learner import MANY_SAMPLES
from orchestrator.storage.run_data import ArmRecords, RunRecords

SOLVED = "solved every held-out problem greedily from the start, so that training had nothing to find there"
NOTHING = "had no right sample at the start, so that there was nothing to learn from"


def starts(arms: Sequence[ArmRecords]) -> list[str]:
    """One sentence for all arms of which the same has to be said; none for those with something to find."""
    found = {
        SOLVED: [arm.name for arm in arms if _solved(arm)],
        NOTHING: [a.name for a in arms if _nothing(a)],
    }
    return [
        f"{', '.join(f'`{name}`' for name in names)} {sentence}."
        for sentence, names in found.items()
        if names
    ]


def _solved(arm: ArmRecords) -> bool:
    return bool(arm.over) and all(start_value(run, "eval/pass_at_1") == 1.0 for run in arm.over)


def _nothing(arm: ArmRecords) -> bool:
    """Whether no run had a right sample, where those are enough to tell never from seldom."""
    metrics = ("eval/pass_at_1", "eval/pass_rate")
    none = all(start_value(run, name) == 0.0 for run in arm.over for name in metrics)
    return none and sum(_num_samples(run) for run in arm.over) >= MANY_SAMPLES


def _num_samples(run: RunRecords) -> int:
    """Samples of an evaluation, by the run's settings; 0 where those are not known."""
    settings = run.info.config.get("evaluation") or {}
    return int(settings.get("num_problems", 0)) * int(settings.get("num_samples", 0))
