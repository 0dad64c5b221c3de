"""The table of trends: entropy, starvation and reward at the start, in the middle and at the end of training."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan

from controllers.quality.quality import mean, tail
from orchestrator.comparison.comparison import Comparison
from orchestrator.comparison.values import FINAL_FRACTION
from orchestrator.report.summary_cells import plain
from orchestrator.report.table import NONE, Cell, Head, Table
from orchestrator.storage.run_data import Array, RunRecords

TRENDS = {
    "entropy": Head("entropy", "nats per token"),
    "entropy/correct": Head("of right", "nats per token, of the responses that were right"),
    "entropy/wrong": Head("of wrong", "nats per token, of the responses that were wrong"),
    "starvation": Head("starved", "share of the groups whose responses all have the same reward"),
    "pass_rate": Head("right", "share of the training responses that were right"),
}
"""What is followed, by its metric."""


def trends(comparison: Comparison) -> Table:
    """What every arm did in training: the first, the middle and the last tenth of its iterations, mean over seeds."""
    rows = []
    for arm in comparison.campaign.arms:
        parts = [_parts(arm.over, metric) for metric in TRENDS]
        rows.append((arm.name, tuple(Cell(_text(found), found[-1]) for found in parts)))
    return Table(
        name="trends",
        title="Start → middle → end of training",
        heads=tuple(TRENDS.values()),
        rows=tuple(rows),
        note="Means over seeds and over the first, the middle and the last tenth of the iterations.",
    )


def _parts(runs: Sequence[RunRecords], metric: str) -> tuple[float, ...]:
    """Means of the three tenths over runs; nan where nothing was measured."""
    tenths = [_tenths(run.train.get(metric)) for run in runs] or [(nan, nan, nan)]
    return tuple(map(mean, zip(*tenths, strict=True)))


def _tenths(values: Array) -> tuple[float, float, float]:
    length = tail(values, FINAL_FRACTION).size
    middle = (values.size - length) // 2
    return mean(values[:length]), mean(values[middle : middle + length]), mean(values[-length:])


def _text(found: Sequence[float]) -> str:
    return " → ".join(plain(value, 2) for value in found) if any(map(isfinite, found)) else NONE
