"""The table of regimes × methods: what each arm gained over the baseline."""

from __future__ import annotations

from math import isfinite

from orchestrator.comparison.regimes import RegimeMap
from orchestrator.report.summary_cells import around, signed
from orchestrator.report.table import NONE, Cell, Head, Table


def regime_table(regimes: RegimeMap) -> Table:
    """One row per arm, one column per regime."""
    heads = [
        *(
            Head(
                name, f"gain over {regimes.baseline} at the end, with its 95 % interval; * after Holm, at 5 %"
            )
            for name in regimes.regimes
        ),
        Head("mean", "over all regimes"),
        Head("worst", "the smallest gain of a regime"),
    ]
    rows = [
        (
            arm,
            (
                *(_gain(regimes, arm, regime) for regime in regimes.regimes),
                Cell(signed(regimes.mean(arm)), regimes.mean(arm)),
                Cell(signed(regimes.worst(arm)), regimes.worst(arm)),
            ),
        )
        for arm in regimes.arms
    ]
    levels = (
        f"{regime} {regimes.contrasts[regimes.baseline, regime].start.mean:.3f} to "
        f"{regimes.contrasts[regimes.baseline, regime].estimate.mean:.3f}"
        for regime in regimes.regimes
    )
    return Table(
        name="regimes",
        title=f"{regimes.metric}, gain over {regimes.baseline}",
        heads=tuple(heads),
        rows=tuple(rows),
        note=f"{regimes.baseline} at its start and at its end: {', '.join(levels)}.",
        missing="no arm besides the baseline",
    )


def _gain(regimes: RegimeMap, arm: str, regime: str) -> Cell:
    row = regimes.contrasts.get((arm, regime))
    if row is None or not isfinite(row.difference):
        return Cell(NONE)
    ends, star = row.difference_interval, "*" if row.told else ""
    return Cell(around(f"{signed(row.difference)}{star}", ends), row.difference, ends.low, ends.high)
