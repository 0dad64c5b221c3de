"""The summary of a campaign on the terminal."""

from __future__ import annotations

import re

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.comparison import summarise
from orchestrator.report.cells import columns, seeds, unfinished
from orchestrator.report.headline import findings
from orchestrator.storage.run_data import Campaign


def print_table(campaign: Campaign, console: Console) -> None:
    """Print what a campaign showed, its table, and every run that is not finished."""
    summaries = [summarise(arm) for arm in campaign.arms]
    table = Table(
        title=f"Campaign {escape(campaign.info.name)}",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("arm", style="bold", no_wrap=True)
    table.add_column("seeds", justify="right")
    figures = columns(summaries)
    for figure in figures:
        table.add_column(figure.title.replace(" ", "\n"), justify="right")
    for summary in summaries:
        cells = [figure.text(summary).replace(" ± ", "\n±") for figure in figures]
        table.add_row(escape(summary.arm), seeds(summary), *cells)
    console.print(table)
    for sentence in findings(summaries):
        console.print("•", re.sub(r"`([^`]*)`", r"[bold]\1[/bold]", escape(sentence)))
    for run in campaign.runs:
        if not run.done:
            console.print("[yellow]not in the table:[/yellow]", escape(unfinished(run)))
