"""The command line: ``entrostat run | validate | compare | identify | design | simulate | …``.

Nothing heavy is imported until a command needs it, so ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.engineering import design, identify, simulate
from orchestrator.options import (
    AcceptChanged,
    AtIteration,
    CampaignFile,
    ContinueFrom,
    Family,
    Filter,
    Names,
    Overrides,
    RetryStopped,
    Runs,
    TableFormat,
    TableName,
    Uri,
)

EXIT_BAD_INPUT = 2

app = typer.Typer(
    name="entrostat",
    help="A thermostat for policy entropy in reinforcement learning of language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    campaign: CampaignFile,
    overrides: Overrides = None,
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

    with _clear_errors():
        earlier = earlier_run(continue_from, at_iteration)
        sys.exit(
            run_campaign(
                campaign,
                overrides or [],
                retry=retry_stopped,
                accept=accept_changed_inputs,
                earlier=earlier,
            )
        )


@app.command()
def prepare(
    campaign: CampaignFile,
    overrides: Overrides = None,
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

    with _clear_errors():
        earlier = earlier_run(continue_from, at_iteration)
        prepare_campaign(
            campaign, overrides or [], retry=retry_stopped, accept=accept_changed_inputs, earlier=earlier
        )


@app.command()
def validate(
    campaign: CampaignFile,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate the memory of a device too, without any weights.")
    ] = False,
    device_gib: Annotated[
        float, typer.Option(min=0.1, metavar="GIB", help="Memory of a device, for --dry-run.")
    ] = 80.0,
) -> None:
    """Check a campaign without training anything."""
    from orchestrator.commands.run import validate_campaign

    with _clear_errors(device_gib=device_gib):
        validate_campaign(campaign, overrides or [], device_gib=device_gib if dry_run else None)


@app.command()
def compare(
    names: Names = None,
    folder: Runs = Path("runs"),
    uri: Uri = None,
    filter: Filter = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="ARM", help="Held against all others; default: plain GRPO.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="That arms are tested on; default: eval/pass_at_1.")
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(help="Of the metric, for learning efficiency; default: where the baseline ends."),
    ] = None,
    table: Annotated[
        list[TableName] | None, typer.Option(help="Which table; may be given several times.")
    ] = None,
    format: Annotated[TableFormat | None, typer.Option(help="Instead of tables for the terminal.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the table to this file: .csv, .md or .tex.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
) -> None:
    """Compare arms, of one campaign or many: statistics, tables, and a page to look at.

    The page goes into the campaign's folder, or to comparison.html beside the runs for several.
    """
    # Matrices here are small: threads of BLAS would wait for one another longer than they work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from orchestrator.commands.compare import compare_runs

    with _clear_errors(target=target):
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
        )


@app.command()
def export(
    output: Annotated[Path, typer.Option(help="The file: .parquet or .csv.")],
    names: Names = None,
    folder: Runs = Path("runs"),
    uri: Uri = None,
    filter: Filter = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Metrics to write, e.g. 'loop/*'; default: all."),
    ] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="A column a metric instead of a row a number.")
    ] = False,
) -> None:
    """Write the records of runs as one table, to Parquet or CSV."""
    from orchestrator.commands.compare import export_runs

    with _clear_errors():
        export_runs(
            names or [],
            folder=folder,
            uri=uri,
            filter=filter,
            output=output,
            metrics=metrics or [],
            wide=wide,
        )


@app.command()
def tune(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")],
    best: Annotated[
        bool, typer.Option("--best", help="Train nothing; print the winner as a method preset.")
    ] = False,
    trial: Annotated[
        int | None, typer.Option(metavar="N", help="With --best: this trial instead of the best.")
    ] = None,
    overrides: Overrides = None,
    accept_changed_inputs: AcceptChanged = False,
) -> None:
    """Search for the gains of an arm: on an identified plant first, then in training.

    The same command again continues; on another machine it helps, where the storage is a shared one.
    """
    from orchestrator.commands.tune import best_preset, tune_study

    with _clear_errors(trial=trial):
        if best or trial is not None:
            typer.echo(best_preset(study, overrides or [], trial), nl=False)
        else:
            sys.exit(tune_study(study, overrides or [], accept=accept_changed_inputs))


@app.command()
def schema(
    of: Annotated[str, typer.Argument(help="campaign, method, study or plant")] = "campaign",
) -> None:
    """Print the JSON Schema of campaign, method, study or plant files, for editors."""
    from orchestrator.commands.schema import json_schema

    with _clear_errors():
        typer.echo(json.dumps(json_schema(of), indent=2))


@app.command(name="list")
def list_(family: Annotated[Family, typer.Argument(help="What to list.")]) -> None:
    """List what a campaign or a study can name."""
    from orchestrator.commands.catalogue import describe

    for name, summary in describe(family.value):
        typer.echo(f"{name:24} {summary}")


def _register(command: Callable[..., None]) -> None:
    """A command from elsewhere, with errors as clear as those of the commands here."""

    @wraps(command)
    def clear(*arguments: Any, **options: Any) -> None:
        with _clear_errors(**options):
            command(*arguments, **options)

    app.command()(clear)


@contextmanager
def _clear_errors(**options: Any) -> Iterator[None]:
    """Bad input ends with its message and status 2, not with a traceback; so does what the file system refuses."""
    from orchestrator.errors import ConfigError, lines_of
    from orchestrator.storage.files import why_refused

    try:
        _require_usable(options)
        yield
    except ConfigError as error:
        message = str(error)
    except MemoryError:
        message = "this does not fit into memory; ask for less, or give the machine more"
    except OSError as error:
        if (reason := why_refused(error)) is None:
            raise
        message = reason
    else:
        return
    typer.echo(f"error: {lines_of([message])}", err=True)
    raise typer.Exit(EXIT_BAD_INPUT) from None


def _require_usable(options: dict[str, Any]) -> None:
    """Numbers on the command line are as those in a file: finite, and of 64 bits."""
    from orchestrator.errors import ConfigError, short

    for name, given in options.items():
        for value in given if isinstance(given, tuple) else (given,):
            if isinstance(value, int | float) and not abs(value) < 2**63:
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(
                    f"{option}: must be finite and of at most 64 bits, got {short(value)}; change it"
                )


for _command in (identify, design, simulate):
    _register(_command)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
