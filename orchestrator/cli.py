"""The command line: ``entrostat run | validate | compare | schema | list``.

Nothing heavy is imported until a command needs it, so ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXIT_BAD_INPUT = 2

app = typer.Typer(
    name="entrostat",
    help="A thermostat for policy entropy in reinforcement learning of language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="A campaign file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. learner.iterations=20.")
]


class Family(StrEnum):
    """What `list` can list."""

    methods = "methods"
    tasks = "tasks"
    laws = "laws"
    references = "references"
    filters = "filters"
    actuators = "actuators"
    objectives = "objectives"
    advantages = "advantages"
    sensors = "sensors"


@app.command()
def run(campaign: CampaignFile, overrides: Overrides = None) -> None:
    """Train every arm of a campaign for every seed, then compare them.

    The same command again continues: finished runs are kept, interrupted ones go on.
    """
    from orchestrator.commands import run_campaign

    with _clear_errors():
        sys.exit(run_campaign(campaign, overrides or []))


@app.command()
def validate(campaign: CampaignFile, overrides: Overrides = None) -> None:
    """Check a campaign without training anything."""
    from orchestrator.commands import validate_campaign

    with _clear_errors():
        validate_campaign(campaign, overrides or [])


@app.command()
def compare(
    name: Annotated[str, typer.Argument(help="Name of a campaign.")],
    folder: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
) -> None:
    """Print the table of a campaign and write its report again."""
    from orchestrator.commands import compare_campaign

    with _clear_errors():
        compare_campaign(folder / name)


@app.command()
def schema(
    of: Annotated[str, typer.Argument(help="campaign or method")] = "campaign",
) -> None:
    """Print the JSON Schema of campaign or method files, for editors."""
    from orchestrator.configuration.schema import json_schema

    with _clear_errors():
        typer.echo(json.dumps(json_schema(of), indent=2))


@app.command(name="list")
def list_(family: Annotated[Family, typer.Argument(help="What to list.")]) -> None:
    """List what a campaign can name."""
    from orchestrator.configuration.catalogue import describe

    for name, summary in describe(family.value):
        typer.echo(f"{name:24} {summary}")


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Bad input ends with its message and status 2, not with a traceback."""
    from orchestrator.configuration.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
