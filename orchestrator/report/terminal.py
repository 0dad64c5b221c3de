"""The summary of a campaign on the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.comparison.comparison import Comparison, compare
from orchestrator.comparison.contrasts import BASELINE
from orchestrator.report import tables
from orchestrator.report.guardrails import guardrail_lines
from orchestrator.report.headline import findings
from orchestrator.report.summary_cells import unfinished
from orchestrator.report.table import NONE, Head
from orchestrator.report.table import Table as Shown
from orchestrator.storage.run_data import CampaignRecords

VERDICT = "verdict"  # the title of the column
WRAPPED = 24  # characters of a cell from which on it may take several lines


def print_table(campaign: CampaignRecords, console: Console, comparison: Comparison | None = None) -> None:
    """Print a campaign's table, what it showed, its statistics, and every run that is not done."""
    comparison = comparison or compare(campaign)
    print_one(tables.summary(comparison), console, title=f"Campaign {campaign.info.name}")
    for sentence in findings(comparison):
        console.print("•", re.sub(r"`([^`]*)`", r"[bold]\1[/bold]", escape(sentence)))
    if len(campaign.arms) > 1 and any(each.estimate.num for each in comparison.contrasts):
        console.print()
        statistics = tables.statistics(comparison)
        print_one(statistics, console)
        console.print(f"[dim]{escape(statistics.note)}[/dim]")
    for line in guardrail_lines(campaign):
        console.print("[yellow]guardrail:[/yellow]", escape(line), soft_wrap=True)
    for run in campaign.runs:
        if not run.done:
            what = "counts with its last value" if run.stopped else "not in the table"
            console.print(f"[yellow]{what}:[/yellow]", escape(unfinished(run)))


def print_one(table: Shown, console: Console, *, title: str | None = None) -> None:
    """Print a table that fits a terminal of 80 columns: a spread or an interval stands below its number.

    Verdicts are sentences and stand below the table, one for all arms that share it.
    """
    if not table.rows:
        console.print(escape(table.missing), style="italic")
        return
    table = table.without_unknown()
    kept = [head for head in table.heads if head.title != VERDICT]
    drawn = _drawn(table, kept, title or table.title)
    boundless = console.options.update_width(1000)
    while console.measure(drawn, options=boundless).maximum > console.width and any(
        head.spare for head in kept
    ):
        kept.remove(next(head for head in reversed(kept) if head.spare))
        drawn = _drawn(table, kept, title or table.title)
    console.print(drawn)
    said: dict[str, list[str]] = {}
    for arm, cells in table.rows:
        for index, head in enumerate(table.heads):
            if head.title == VERDICT and cells[index].text != BASELINE:
                said.setdefault(cells[index].text, []).append(arm)
    for verdict, arms in said.items():
        console.print("•", f"[bold]{escape(', '.join(arms))}[/bold]: {escape(verdict)}")


def _drawn(table: Shown, kept: Sequence[Head], title: str) -> Table:
    drawn = Table(
        title=escape(title),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    drawn.add_column("arm", style="bold", overflow="fold")
    indices = [table.heads.index(head) for head in kept]
    for head, index in zip(kept, indices, strict=True):
        longest = max(len(cells[index].text) for _, cells in table.rows)
        is_text = longest > WRAPPED and not any(
            cells[index].value == cells[index].value for _, cells in table.rows
        )
        drawn.add_column(head.title.replace(" ", "\n"), justify="left" if is_text else "right")
    for arm, cells in table.rows:
        known = [cells[index].text.replace(f" ± {NONE}", "") for index in indices]  # one seed has no spread
        texts = [each.replace(" ± ", "\n±").replace(" [", "\n[").replace(", ", ",\n") for each in known]
        drawn.add_row(escape(arm), *map(escape, texts))
    return drawn
