"""The tables of a comparison on the page: sortable, with intervals as whiskers on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from markupsafe import Markup

from orchestrator.comparison import Curve, curve
from orchestrator.report import figures
from orchestrator.report.rendering import Arms, rendered
from orchestrator.report.table import NONE, Cell, Table
from orchestrator.storage.run_data import CampaignRecords, entropy_setpoint

SHORT_WORD = 12  # characters, such as a dash or "never", that may stand in a column of numbers
SPARK_WIDTH, SPARK_HEIGHT = 120.0, 30.0
WHISKER_WIDTH, WHISKER_HEIGHT = 110.0, 16.0

Scale = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """Entropy over time as a line the height of a word, and its setpoint."""

    points: str
    aim: str = ""
    width: str = f"{SPARK_WIDTH:g}"
    height: str = f"{SPARK_HEIGHT:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whisker:
    """An interval as lines; ``zero`` and ``dot`` are "" where they are not in sight."""

    line: str
    zero: str
    dot: str
    middle: str = f"{WHISKER_HEIGHT / 2:g}"
    width: str = f"{WHISKER_WIDTH:g}"
    height: str = f"{WHISKER_HEIGHT:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A cell as it is shown; ``key`` is what the script sorts by."""

    text: str
    key: float | None
    spread: str = ""
    whisker: _Whisker | None = None
    is_words: bool = False


def table_section(table: Table, campaign: CampaignRecords, *, caption: bool = True) -> Markup:
    """A table under its title with its note, or the sentence for its place."""
    is_there = table.rows and not (table.missing and not any(_has_number(cells) for _, cells in table.rows))
    return rendered(
        "table.html",
        title=table.title if caption else "",
        table=sortable(table, campaign) if is_there else None,
        note=table.note,
        missing=table.missing,
    )


def sortable(table: Table, campaign: CampaignRecords, sparks: dict[str, Spark] | None = None) -> Markup:
    """The table alone; that of the summary has ``sparks``."""
    table = table.without_unknown()
    columns = [[cells[index] for _, cells in table.rows] for index in range(len(table.heads))]
    scales, words = [_scale(column) for column in columns], [_is_words(column) for column in columns]
    return rendered(
        "sortable.html",
        arms=Arms.of(campaign),
        table=table,
        words=words,
        rows=[(arm, list(map(_shown, cells, scales, words))) for arm, cells in table.rows],
        sparks=sparks,
    )


def sparklines(campaign: CampaignRecords) -> dict[str, Spark]:
    """Entropy over time of every arm that has it, on the same scale."""
    entropy = {arm.name: curve(arm.shown, "entropy", band=False) for arm in campaign.arms}
    ceiling = max((float(values.mean.max()) for values in entropy.values() if values.steps.size), default=0.0)
    last = max(figures.last_iteration(campaign), 1)

    def points(values: Curve) -> str:
        x = SPARK_WIDTH * values.steps / last
        y = 2 + (SPARK_HEIGHT - 4) * (1 - values.mean / (ceiling or 1.0))
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if isfinite(b))

    return {
        arm.name: Spark(
            points=points(entropy[arm.name]), aim=points(curve(arm.shown, entropy_setpoint, band=False))
        )
        for arm in campaign.arms
        if entropy[arm.name].steps.size > 1
    }


def _shown(cell: Cell, scale: Scale, is_words: bool) -> _Shown:
    """Its number for the script to sort by; an interval without a number of its own is a whisker."""
    key = next((float(v) for v in (cell.value, (cell.low + cell.high) / 2) if v == v), None)
    if isfinite(cell.low) and not isfinite(cell.value):
        return _Shown(text=cell.text, key=key, whisker=_whisker(cell, scale))
    # The spread stands back behind the number; one seed has none.
    text, _, spread = cell.text.replace(f" ± {NONE}", "").partition(" ± ")
    return _Shown(text=text, key=key, spread=spread, is_words=is_words)


def _whisker(cell: Cell, scale: Scale) -> _Whisker:
    low, high = scale
    middle = WHISKER_HEIGHT / 2

    def at(value: float) -> str:
        return f"{4 + (WHISKER_WIDTH - 8) * (value - low) / ((high - low) or 1.0):.1f}"

    ends = "".join(f"M{at(end)} {middle - 3:g}v6" for end in (cell.low, cell.high))
    return _Whisker(
        line=f"M{at(cell.low)} {middle:g}H{at(cell.high)}{ends}",
        zero=f"M{at(0)} 0v{WHISKER_HEIGHT:g}" if low < 0 < high else "",
        dot=at(cell.middle) if isfinite(cell.middle) else "",
    )


def _scale(cells: Sequence[Cell]) -> Scale:
    ends = np.array([end for cell in cells for end in (cell.low, cell.high)])
    known = ends[np.isfinite(ends)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def _is_words(column: Sequence[Cell]) -> bool:
    """Whether a column is read rather than compared."""
    return not _has_number(column) and any(len(cell.text) > SHORT_WORD for cell in column)


def _has_number(cells: Sequence[Cell]) -> bool:
    return any(cell.value == cell.value or cell.low == cell.low for cell in cells)
