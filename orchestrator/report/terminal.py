"""The summary of a campaign on the terminal."""

from __future__ import annotations

import re

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.comparison.whole import Comparison, compare
from orchestrator.report import tables
from orchestrator.report.cells import unfinished
from orchestrator.report.guardrails import guardrail_lines
from orchestrator.report.headline import findings
from orchestrator.report.table import Table as Shown
from orchestrator.storage.run_data import Campaign

WRAPPED = 24  # characters of a cell from which on it may take several lines


def print_table(campaign: Campaign, console: Console, comparison: Comparison | None = None) -> None:
    """Print what a campaign showed, its table, its statistics, and every run that is not finished."""
    comparison = comparison or compare(campaign)
    print_one(tables.summary(comparison), console, title=f"Campaign {campaign.info.name}")
    for sentence in findings(comparison.summaries):
        console.print("•", re.sub(r"`([^`]*)`", r"[bold]\1[/bold]", escape(sentence)))
    if len(campaign.arms) > 1 and any(each.estimate.num for each in comparison.contrasts):
        console.print()
        print_statistics(comparison, console)
    for line in guardrail_lines(campaign):
        console.print("[yellow]guardrail:[/yellow]", escape(line), soft_wrap=True)
    for run in campaign.runs:
        if not run.done:
            console.print("[yellow]not in the table:[/yellow]", escape(unfinished(run)))


def print_one(table: Shown, console: Console, *, title: str | None = None, omit: str = "") -> None:
    """Print a table that fits a terminal of 80 columns: a spread or an interval stands below its number."""
    if not table.rows:
        console.print(escape(table.missing), style="italic")
        return
    drawn = Table(
        title=escape(title or table.title),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    drawn.add_column("arm", style="bold", overflow="fold")
    kept = [index for index, head in enumerate(table.heads) if head.title != omit]
    for index in kept:
        longest = max(len(cells[index].text) for _, cells in table.rows)
        is_text = longest > WRAPPED and not any(
            cells[index].value == cells[index].value for _, cells in table.rows
        )
        drawn.add_column(table.heads[index].title.replace(" ", "\n"), justify="left" if is_text else "right")
    for arm, cells in table.rows:
        texts = [
            cells[index].text.replace(" ± ", "\n±").replace(" [", "\n[").replace(", ", ",\n")
            for index in kept
        ]
        drawn.add_row(escape(arm), *map(escape, texts))
    console.print(drawn)


def print_statistics(comparison: Comparison, console: Console) -> None:
    """The statistics, with what may be said of each arm as sentences below."""
    table = tables.statistics(comparison)
    print_one(table, console, omit="verdict")
    said: dict[str, list[str]] = {}
    for contrast in comparison.contrasts:
        if contrast.arm != comparison.baseline:
            said.setdefault(contrast.verdict, []).append(contrast.arm)
    for verdict, arms in said.items():
        console.print("•", f"[bold]{escape(', '.join(arms))}[/bold]: {escape(verdict)}")
    console.print(f"[dim]{escape(table.note)}[/dim]")
