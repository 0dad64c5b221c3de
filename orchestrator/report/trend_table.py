"""The table of trends: entropy, starvation and reward at the start, in the middle and at the end of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.comparison.comparison import Comparison
from orchestrator.report.summary_cells import plain
from orchestrator.report.table import NONE, Cell, Head, Table
from orchestrator.storage.run_data import Array, RunRecords

PART = 0.1
"""Share of the iterations that a figure is the mean of."""

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


def _parts(runs: Sequence[RunRecords], metric: str) -> tuple[float, float, float]:
    """Means of the three tenths over runs; nan where nothing was measured."""
    found = np.array([_tenths(run.train.get(metric)) for run in runs]).reshape(-1, 3)
    known = np.isfinite(found)
    means = np.where(known, found, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    return tuple(means.tolist())


def _tenths(values: Array) -> list[float]:
    length = max(1, round(PART * values.size))
    middle = (values.size - length) // 2
    parts = (values[:length], values[middle : middle + length], values[-length:])
    return [float(part[np.isfinite(part)].mean()) if np.isfinite(part).any() else np.nan for part in parts]


def _text(found: tuple[float, float, float]) -> str:
    if not np.isfinite(found).any():
        return NONE
    return " → ".join(plain(value, 2) for value in found)
