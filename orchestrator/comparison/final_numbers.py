"""The final numbers of every arm, by name, for the run that stands for the whole campaign in a tracker."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.comparison.summary import Estimate
from orchestrator.comparison.values import final_values, is_evaluation
from orchestrator.storage.run_data import ArmRecords

SIGNALS = ("entropy", "reward", "pass_rate")
"""Training metrics that are told beside every evaluation."""


def final_numbers(arms: Sequence[ArmRecords]) -> dict[str, dict[str, float]]:
    """Metric to arm to its final value, the mean over the seeds that have ended; what no seed has is left out.

    A family a metric, so that a chart of the family has the arms side by side.
    """
    names = dict.fromkeys(name for arm in arms for run in arm.over for name in run.evaluation.values)
    found: dict[str, dict[str, float]] = {}
    for metric in [*SIGNALS, *filter(is_evaluation, names)]:
        means = {arm.name: Estimate(final_values(arm.over, metric)) for arm in arms}
        if known := {arm: each.mean for arm, each in means.items() if each.num}:
            found[metric] = known
    return found
