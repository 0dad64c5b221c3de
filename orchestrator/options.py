"""Arguments and options that commands share, with their help, and the words that some of them take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="A campaign file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. learner.iterations=20.")
]
RetryStopped = Annotated[
    bool,
    typer.Option(
        "--retry-stopped",
        help="Take up again what a guardrail has stopped, from its last good checkpoint, as after a rollback.",
    ),
]
AcceptChanged = Annotated[
    bool,
    typer.Option(
        "--accept-changed-inputs",
        help="Go on although a data or model file is not what it was when stored runs began; the record says so.",
    ),
]
ContinueFrom = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Go on from this run's folder, with other settings and name."),
]
AtIteration = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="With --continue-from: at this iteration or before.")
]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME...", help="Campaigns or studies by name, MLflow runs by id."),
]
Runs = Annotated[Path, typer.Option(help="Where runs are kept.")]
Uri = Annotated[str | None, typer.Option(help="MLflow tracking URI; default: mlflow.db beside the runs.")]
Filter = Annotated[
    str | None, typer.Option(help="Runs by an MLflow filter, e.g. \"tags.`entrostat.arm` = 'grpo'\".")
]


class TableName(StrEnum):
    """What `compare` can print."""

    summary = "summary"
    statistics = "statistics"
    efficiency = "efficiency"
    pass_at_k = "pass_at_k"  # nosec B105  # no password
    entropy_law = "entropy_law"
    tracking = "tracking"
    recovery = "recovery"


class TableFormat(StrEnum):
    """What tables can be written as."""

    csv = "csv"
    markdown = "markdown"
    latex = "latex"


class Family(StrEnum):
    """What `list` can list."""

    methods = "methods"
    constants = "constants"
    tasks = "tasks"
    laws = "laws"
    references = "references"
    filters = "filters"
    actuators = "actuators"
    objectives = "objectives"
    study_objectives = "study_objectives"
    advantages = "advantages"
    executors = "executors"
    engines = "engines"
    importance = "importance"
    sensors = "sensors"
    guardrails = "guardrails"
