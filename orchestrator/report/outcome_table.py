"""The table of what every arm came to: at the start, at the end, the change, and against the baseline."""

from __future__ import annotations

from math import nan

import numpy as np

from orchestrator.comparison import Estimate, Summary
from orchestrator.comparison.bootstrap import Interval, mean_interval
from orchestrator.comparison.comparison import Comparison
from orchestrator.report.outcomes import stopped
from orchestrator.report.summary_cells import around, signed
from orchestrator.report.table import NONE, Cell, Head, Table
from orchestrator.report.verdicts import measures

MEANINGS = {
    "greedy": "share of held-out problems that the greedy response solves",
    "sampled": "share of samples that solve their held-out problem, at the rollout temperature",
}


def outcome(comparison: Comparison) -> Table:
    """Greedy, sampled and entropy of every arm, each where it began and where it ended."""
    heads: list[Head] = []
    cells: dict[str, list[Cell]] = {each.arm: [] for each in comparison.summaries}
    for measure in measures(comparison):
        name, meaning = measure.name, MEANINGS.get(measure.name, measure.name)
        heads += [
            Head(f"{name} at the start", f"{meaning}; before training", spare=True),
            Head(name, f"{meaning}; at the end"),
            Head(f"{name} change", "end minus start, with its 95 % interval over seeds"),
            Head(
                f"{name} against {comparison.baseline}",
                "difference at the end, with its 95 % interval over paired seeds",
                spare=True,
            ),
        ]
        for own, other in zip(measure.progress, measure.contrasts, strict=True):
            cells[own.arm] += [
                _value(other.start),
                _value(other.estimate),
                _change(own.difference, own.difference_interval),
                _change(other.difference, other.difference_interval),
            ]
    heads += [
        Head("entropy at the start", "nats per token, mean of the first three iterations", spare=True),
        Head("entropy", "nats per token, mean over the last tenth of the iterations", spare=True),
        Head("entropy change", "end minus start, with its 95 % interval over seeds", spare=True),
    ]
    for each in comparison.summaries:
        cells[each.arm] += [
            _value(each.entropy_start),
            _value(each.entropy_final),
            _change(*_entropy_change(each)),
        ]
    return Table(
        name="outcome",
        title="At the start, at the end",
        heads=tuple(heads),
        rows=tuple((arm, tuple(own)) for arm, own in cells.items()),
        note=" ".join(["Means over seeds; brackets are 95 % intervals.", *stopped(comparison.campaign)]),
        missing="No run has ended yet.",
    )


def _entropy_change(summary: Summary) -> tuple[float, Interval]:
    changes = np.subtract(summary.entropy_final.values, summary.entropy_start.values)
    changes = changes[np.isfinite(changes)]
    return (float(changes.mean()) if changes.size else nan), mean_interval(changes)


def _value(estimate: Estimate) -> Cell:
    return Cell(f"{estimate.mean:.3f}", estimate.mean) if estimate.num else Cell(NONE)


def _change(difference: float, ends: Interval) -> Cell:
    return Cell(around(signed(difference), ends), difference, ends.low, ends.high)
