"""The command line: ``entrostat run | validate | compare | identify | design | simulate | …``.

Nothing heavy is imported until a command needs it, so ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer

from orchestrator.commands.clear_errors import clear_errors
from orchestrator.commands.engineering import design, identify, simulate
from orchestrator.commands.stored_policies import evaluate, publish
from orchestrator.deferred import defer
from orchestrator.options import (
    AcceptChanged,
    AtIteration,
    CampaignFile,
    CampaignFolderOption,
    ContinueFrom,
    EarlierExport,
    Family,
    Filter,
    MetricPatterns,
    Names,
    Overrides,
    RecordsFrom,
    RetryStopped,
    Runs,
    TableFormat,
    TableName,
    Uri,
    Wide,
)

app = typer.Typer(
    name="entrostat",
    help="A thermostat for policy entropy in reinforcement learning of language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"entrostat {version('entrostat')}")
        raise typer.Exit


@app.callback()
def _entrostat(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def run(
    campaign: CampaignFile,
    overrides: Overrides = None,
    folder: CampaignFolderOption = None,
    retry_stopped: RetryStopped = False,
    accept_changed_inputs: AcceptChanged = False,
    continue_from: ContinueFrom = None,
    at_iteration: AtIteration = None,
) -> None:
    """Train every arm of a campaign for every seed, then compare them.

    The same command again continues: finished runs are kept, interrupted ones go on.
    """
    from orchestrator.commands.run import run_campaign
    from orchestrator.continuing import earlier_run

    with clear_errors():
        earlier = earlier_run(continue_from, at_iteration)
        sys.exit(
            run_campaign(
                campaign,
                [*(overrides or []), *_in_folder(folder)],
                retry=retry_stopped,
                accept=accept_changed_inputs,
                earlier=earlier,
            )
        )


@app.command()
def prepare(
    campaign: CampaignFile,
    overrides: Overrides = None,
    folder: CampaignFolderOption = None,
    retry_stopped: RetryStopped = False,
    accept_changed_inputs: AcceptChanged = False,
    continue_from: ContinueFrom = None,
    at_iteration: AtIteration = None,
) -> None:
    """Write the folders of a campaign's runs and print those that are not done, for other launchers.

    `run` afterwards tracks and compares what was trained in them.
    """
    from orchestrator.commands.run import prepare_campaign
    from orchestrator.continuing import earlier_run

    with clear_errors():
        earlier = earlier_run(continue_from, at_iteration)
        prepare_campaign(
            campaign,
            [*(overrides or []), *_in_folder(folder)],
            retry=retry_stopped,
            accept=accept_changed_inputs,
            earlier=earlier,
        )


@app.command()
def validate(
    campaign: CampaignFile,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Also estimate the memory that a device needs, without loading any weights."
        ),
    ] = False,
    device_gib: Annotated[
        float, typer.Option(min=0.1, metavar="GIB", help="Memory of one device in GiB, for --dry-run.")
    ] = 80.0,
) -> None:
    """Check a campaign without training anything."""
    defer("torch")
    from orchestrator.commands.run import validate_campaign

    with clear_errors(device_gib=device_gib):
        validate_campaign(campaign, overrides or [], device_gib=device_gib if dry_run else None)


@app.command()
def compare(
    names: Names = None,
    folder: Runs = Path("runs"),
    uri: Uri = None,
    filter: Filter = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="ARM", help="Arm that all others are compared with (default: plain GRPO)."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric to compare the arms on (default: eval/pass_at_1).")
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="Target value of the metric for the learning-efficiency table (default: the baseline's final value)."
        ),
    ] = None,
    table: Annotated[
        list[TableName] | None,
        typer.Option(help="Table to print; may be given several times (default: all)."),
    ] = None,
    format: Annotated[
        TableFormat | None, typer.Option(help="Print the tables in this format instead of for the terminal.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the table to this file: .csv, .md or .tex.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    records: RecordsFrom = None,
) -> None:
    """Compare arms, of one campaign or many: statistics, tables, and a page to look at.

    The page goes into the campaign's folder, or to comparison.html beside the runs for several.  With --from, exported
    records take the place of runs, and several campaigns give a table of regimes.
    """
    # Matrices here are small: threads of BLAS would wait for one another longer than they work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from orchestrator.commands.compare import compare_runs

    with clear_errors(target=target):
        compare_runs(
            names or [],
            folder=folder,
            uri=uri,
            filter=filter,
            baseline=baseline,
            metric=metric,
            target=target,
            wanted=[each.value for each in table or []],
            format=format.value if format else None,
            output=output,
            page=page,
            records=records,
        )


@app.command()
def export(
    output: Annotated[Path, typer.Option(help="The file: .parquet or .csv.")],
    names: Names = None,
    folder: Runs = Path("runs"),
    uri: Uri = None,
    filter: Filter = None,
    metrics: MetricPatterns = None,
    wide: Wide = False,
    earlier: EarlierExport = None,
) -> None:
    """Write the records of runs as one table, to Parquet or CSV."""
    from orchestrator.commands.compare import export_runs

    with clear_errors():
        export_runs(
            names or [],
            folder=folder,
            uri=uri,
            filter=filter,
            output=output,
            metrics=metrics or [],
            wide=wide,
            earlier=earlier,
        )


@app.command()
def tune(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")],
    best: Annotated[
        bool, typer.Option("--best", help="Print the best trial as a method preset; train nothing.")
    ] = False,
    trial: Annotated[
        int | None, typer.Option(metavar="N", help="Print this trial instead of the best one; with --best.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="CRITERION", help="With --best, of several criteria: the one that decides."),
    ] = None,
    overrides: Overrides = None,
    accept_changed_inputs: AcceptChanged = False,
) -> None:
    """Search for the gains of an arm: on an identified plant first, then in training.

    The same command again continues; on another machine it helps, where the storage is a shared one.
    """
    from orchestrator.commands.tune import best_preset, tune_study

    with clear_errors(trial=trial):
        if best or trial is not None or by is not None:
            typer.echo(best_preset(study, overrides or [], trial, by), nl=False)
        else:
            sys.exit(tune_study(study, overrides or [], accept=accept_changed_inputs))


@app.command()
def schema(
    of: Annotated[
        str, typer.Argument(help="What the schema is for: campaign, method, study or plant.")
    ] = "campaign",
) -> None:
    """Print the JSON Schema of campaign, method, study or plant files, for editors."""
    defer("torch")
    from orchestrator.commands.schema import json_schema

    with clear_errors():
        typer.echo(json.dumps(json_schema(of), indent=2))


@app.command(name="list")
def list_(
    family: Annotated[Family | None, typer.Argument(help="What to list (default: every family).")] = None,
) -> None:
    """List what a campaign or a study can name, with a line each; without a family, the names of all."""
    defer("torch")
    from orchestrator.commands.catalogue import describe

    if family is not None:
        for name, summary in describe(family.value):
            typer.echo(f"{name:24} {summary}")
        return
    for each in Family:
        names = ", ".join(name for name, _ in describe(each.value))
        typer.echo(fill(names, 100, initial_indent=f"{each.value:18} ", subsequent_indent=" " * 19))


def _in_folder(folder: Path | None) -> list[str]:
    """The override that keeps runs in another folder."""
    return [] if folder is None else [f"tracking.folder={json.dumps(str(folder))}"]


def _register(command: Callable[..., None]) -> None:
    """A command from elsewhere, with errors as clear as those of the commands here."""

    @wraps(command)
    def clear(*arguments: Any, **options: Any) -> None:
        with clear_errors(**options):
            command(*arguments, **options)

    app.command()(clear)


for _command in (identify, design, simulate, publish, evaluate):
    _register(_command)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
