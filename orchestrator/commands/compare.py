"""The commands `entrostat compare` and `entrostat export`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import typer
from rich.console import Console

from orchestrator.comparison.comparison import Comparison, compare
from orchestrator.comparison.inputs import different_inputs
from orchestrator.comparison.records_file import added_to, campaigns_recorded, read_records
from orchestrator.comparison.regimes import measured, regime_map
from orchestrator.comparison.sources import gather
from orchestrator.errors import ConfigError
from orchestrator.storage.files import replace_file
from orchestrator.storage.outputs import naming_output, require_writable
from orchestrator.storage.run_data import CampaignRecords
from orchestrator.storage.run_folder import CampaignFolder

SUFFIXES = {".csv": "csv", ".md": "markdown", ".tex": "latex"}
DEFAULT_TABLES = {"csv": ("summary",)}  # one table a file; elsewhere those below
USUAL_TABLES = ("summary", "statistics", "progress")


def compare_runs(
    names: Sequence[str],
    *,
    folder: Path,
    uri: str | None,
    filter: str | None,
    baseline: str | None,
    metric: str | None,
    target: float | None,
    wanted: Sequence[str],
    format: str | None,
    output: Path | None,
    page: Path | None,
    records: Path | None = None,
) -> None:
    """Print or write the tables of what is named, and write the page.

    If the default page path cannot be written, this prints a note instead of failing.
    """
    from orchestrator.report import print_table, write_page
    from orchestrator.report.tables import TABLES
    from orchestrator.report.terminal import print_one

    format = format or _format_of(output)
    if format == "csv" and len(wanted) > 1:
        raise ConfigError(f"--format csv holds one table, got {', '.join(wanted)}; give --table once")
    for option, path in (("--output", output), ("--page", page)):
        if path is not None:
            require_writable(path, option)
    if records is None:
        campaign = gather(names, folder=folder, uri=uri, filter=filter)
    else:
        _refuse_beside("--from", {"--uri": uri, "--filter": filter})
        recorded = campaigns_recorded(names, records)
        if len(recorded) > 1:
            _refuse_beside(
                "--from with several campaigns", {"--table": wanted, "--page": page, "--target": target}
            )
            _compare_regimes(recorded, metric, baseline, format, output)
            return
        campaign = recorded[0]
    comparison = compare(campaign, metric=metric, baseline=baseline, target=target)
    if format is None:
        console = Console()
        if wanted:
            for name in wanted:
                print_one(TABLES[name](comparison), console)
        else:
            print_table(campaign, console, comparison)
    else:
        _hand_over(_text(comparison, format, wanted or DEFAULT_TABLES.get(format, USUAL_TABLES)), output)
    notes = Console(stderr=format is not None and output is None)
    for line in different_inputs([run.info for arm in campaign.arms for run in arm.runs]):
        notes.print(f"note      {line}", soft_wrap=True, highlight=False, markup=False)
    if output is not None:
        notes.print(f"table     {output}", soft_wrap=True, highlight=False, markup=False)
    if records is not None and page is None:
        return
    where = page or _page_of(names, folder, uri, filter)
    try:
        with nullcontext() if page is None else naming_output(page, "--page"):
            write_page(campaign, where, comparison)
        note = f"report    {where}"
    except OSError as error:  # of the usual place
        note = f"page not written: {where}: {error.strerror or error}; give --page FILE"
    notes.print(note, soft_wrap=True, highlight=False, markup=False)


def export_runs(
    names: Sequence[str],
    *,
    folder: Path,
    uri: str | None,
    filter: str | None,
    output: Path,
    metrics: Sequence[str],
    wide: bool,
    earlier: Path | None = None,
) -> None:
    """Write the records of what is named as one table, added to those of an ``earlier`` export."""
    from orchestrator.comparison.export import check_output, export

    check_output(output)
    campaign = gather(names, folder=folder, uri=uri, filter=filter)
    if earlier is not None:
        campaign = added_to(read_records(earlier), campaign, earlier)
    num_rows = export(campaign, output, metrics=metrics, wide=wide)
    Console().print(
        f"{output}: {num_rows} rows of {len(campaign.runs)} runs", soft_wrap=True, highlight=False
    )


def _compare_regimes(
    campaigns: Sequence[CampaignRecords],
    metric: str | None,
    baseline: str | None,
    format: str | None,
    output: Path | None,
) -> None:
    """Print or write what every arm gained in every campaign."""
    from orchestrator.report.regime_table import regime_table
    from orchestrator.report.table_formats import FORMATS
    from orchestrator.report.terminal import print_one

    metrics = measured(campaigns) if metric is None else [metric]
    if format == "csv" and len(metrics) > 1:
        raise ConfigError(f"--format csv holds one table, of {', '.join(metrics)} each; give --metric")
    tables = [regime_table(regime_map(campaigns, each, baseline)) for each in metrics]
    if format is not None:
        _hand_over("\n".join(map(FORMATS[format], tables)), output)
        return
    console = Console()
    for table in tables:
        print_one(table, console)
        console.print(table.note, style="dim", markup=False, highlight=False)


def _refuse_beside(option: str, others: Mapping[str, object]) -> None:
    """Options that would not be read are refused.

    Raises:
        ConfigError: one of them is given.
    """
    given = [name for name, value in others.items() if value]
    if given:
        raise ConfigError(f"{', '.join(given)}: does not go with {option}; leave it out")


def _hand_over(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False)
        return
    with naming_output(output, "--output"):
        replace_file(output, text.encode())


def _text(comparison: Comparison, format: str, wanted: Sequence[str]) -> str:
    from orchestrator.report.table_formats import FORMATS
    from orchestrator.report.tables import TABLES

    return "\n".join(FORMATS[format](TABLES[name](comparison)) for name in wanted)


def _format_of(output: Path | None) -> str | None:
    """By the ending of the file; None for the terminal.

    Raises:
        ConfigError: an ending that says nothing.
    """
    if output is None:
        return None
    if output.suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise ConfigError(
            f"--output {output}: the ending does not say the format; use {known}, or give --format"
        )
    return SUFFIXES[output.suffix]


def _page_of(names: Sequence[str], folder: Path, uri: str | None, filter: str | None) -> Path:
    """The report of the one campaign in the folder that is compared, or a page for what is not one."""
    if len(names) == 1 and uri is None and filter is None:
        for path in (folder / names[0], Path(names[0])):
            if CampaignFolder(path).exists():
                return CampaignFolder(path).report_path
    return folder / "comparison.html"
