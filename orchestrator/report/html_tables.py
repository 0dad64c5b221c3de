"""The tables of a comparison on the page: sortable, with intervals as whiskers on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite

import numpy as np

from orchestrator.comparison import Curve, curve
from orchestrator.report import figures
from orchestrator.report.html_parts import WORDS, arm_number, opener, sort_head, spread_cell
from orchestrator.report.plot_style import colour_index
from orchestrator.report.table import Cell, Table
from orchestrator.storage.run_data import CampaignRecords, setpoint

SHORT_WORD = 12  # characters, such as a dash or "never", that may stand in a column of numbers
SPARK_WIDTH, SPARK_HEIGHT = 120.0, 30.0
WHISKER_WIDTH, WHISKER_HEIGHT = 110.0, 16.0


def table_section(table: Table, campaign: CampaignRecords, *, caption: bool = True) -> str:
    """A table under its title with its note, or the sentence for its place."""
    head = f"<h3>{escape(table.title)}</h3>" if caption else ""
    if not table.rows or (table.missing and not any(_has_number(cells) for _, cells in table.rows)):
        return f'{head}<p class="missing">{escape(table.missing)}</p>'
    return (
        f'{head}<div class="scroll">{sortable(table, campaign)}</div><p class="note">{escape(table.note)}</p>'
    )


def sortable(table: Table, campaign: CampaignRecords, *, sparks: bool = False) -> str:
    """The table; every head is a button that sorts by its column, every arm one that opens its panel."""
    table = table.without_unknown()
    spark_of = sparklines(campaign) if sparks else {}
    spark_head = "<th>entropy over time</th>" if sparks else ""
    columns = [[cells[index] for _, cells in table.rows] for index in range(len(table.heads))]
    scales, words = [_scale(column) for column in columns], [_is_words(column) for column in columns]
    heads = "".join(
        sort_head(head.title, head.meaning, words=is_words)
        for head, is_words in zip(table.heads, words, strict=True)
    )
    body = ""
    for arm, cells in table.rows:
        index = colour_index([each.name for each in campaign.arms], arm)
        spark = f"<td>{spark_of.get(arm, '')}</td>" if sparks else ""
        filled = "".join(map(_cell, cells, scales, words))
        body += (
            f'<tr data-arm="{arm_number(campaign, arm)}" style="--arm:var(--arm{index})">'
            f"<th>{opener(campaign, arm)}</th>{spark}{filled}</tr>"
        )
    kind = "summary" if sparks else "figures"
    return (
        f'<table class="{kind} sortable" id="table-{table.name}"><thead><tr>{sort_head("arm", "by name")}{spark_head}{heads}'
        f"</tr></thead><tbody>{body}</tbody></table>"
    )


def sparklines(campaign: CampaignRecords) -> dict[str, str]:
    """Entropy over time as a line the height of a word, on the same scale for every arm."""
    entropy = {arm.name: curve(arm.shown, "entropy", band=False) for arm in campaign.arms}
    ceiling = max((float(values.mean.max()) for values in entropy.values() if values.steps.size), default=0.0)
    last = max(figures.last_iteration(campaign), 1)

    def points(values: Curve) -> str:
        x = SPARK_WIDTH * values.steps / last
        y = 2 + (SPARK_HEIGHT - 4) * (1 - values.mean / (ceiling or 1.0))
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))

    drawn = {}
    for arm in campaign.arms:
        values, target = entropy[arm.name], curve(arm.shown, setpoint, band=False)
        if values.steps.size > 1:
            index = colour_index([each.name for each in campaign.arms], arm.name)
            aim = f'<polyline class="aim" points="{points(target)}"/>' if target.steps.size else ""
            drawn[arm.name] = (
                f'<svg class="spark" viewBox="0 0 {SPARK_WIDTH:g} {SPARK_HEIGHT:g}" '
                f'style="--arm:var(--arm{index})" role="img" aria-label="entropy over time">{aim}'
                f'<polyline points="{points(values)}"/></svg>'
            )
    return drawn


def _cell(cell: Cell, scale: tuple[float, float], is_words: bool) -> str:
    """Its number for the script to sort by; an interval without a number of its own is a whisker."""
    value = next((v for v in (cell.value, (cell.low + cell.high) / 2) if v == v), None)
    key = "" if value is None else f' data-value="{value!r}"'
    if isfinite(cell.low) and not isfinite(cell.value):
        return f'<td{key} class="interval">{_whisker(cell, scale)}<span>{escape(cell.text)}</span></td>'
    return f"<td{key}{WORDS * is_words}>{spread_cell(cell.text)}</td>"


def _whisker(cell: Cell, scale: tuple[float, float]) -> str:
    """The interval on the column's scale; the thin upright line is zero, where it is in sight."""
    low, high = scale
    middle = WHISKER_HEIGHT / 2

    def at(value: float) -> float:
        return 4 + (WHISKER_WIDTH - 8) * (value - low) / ((high - low) or 1.0)

    zero = f'<path class="zero" d="M{at(0):.1f} 0v{WHISKER_HEIGHT:g}"/>' if low < 0 < high else ""
    dot = f'<circle cx="{at(cell.middle):.1f}" cy="{middle:g}" r="3"/>' if isfinite(cell.middle) else ""
    ends = "".join(f"M{at(end):.1f} {middle - 3:g}v6" for end in (cell.low, cell.high))
    return (
        f'<svg class="whisker" viewBox="0 0 {WHISKER_WIDTH:g} {WHISKER_HEIGHT:g}" aria-hidden="true">{zero}'
        f'<path d="M{at(cell.low):.1f} {middle:g}H{at(cell.high):.1f}{ends}"/>{dot}</svg>'
    )


def _scale(cells: Sequence[Cell]) -> tuple[float, float]:
    ends = np.array([end for cell in cells for end in (cell.low, cell.high)])
    known = ends[np.isfinite(ends)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def _is_words(column: Sequence[Cell]) -> bool:
    """Whether a column is read rather than compared."""
    return not _has_number(column) and any(len(cell.text) > SHORT_WORD for cell in column)


def _has_number(cells: Sequence[Cell]) -> bool:
    return any(cell.value == cell.value or cell.low == cell.low for cell in cells)
