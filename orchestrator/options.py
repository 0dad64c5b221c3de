"""Arguments and options that commands share, with their help texts and choices."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="A campaign file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting, e.g. learner.iterations=20; may be given several times.",
    ),
]
CampaignFolderOption = Annotated[
    Path | None,
    typer.Option("--folder", help="Keep the runs in this folder (default: tracking.folder of the campaign)."),
]
RetryStopped = Annotated[
    bool,
    typer.Option(
        "--retry-stopped",
        help="Continue runs that a guardrail stopped, from their last good checkpoint, as after a rollback.",
    ),
]
AcceptChanged = Annotated[
    bool,
    typer.Option(
        "--accept-changed-inputs",
        help="Continue although a data or model file has changed since the stored runs began; the change is recorded.",
    ),
]
ContinueFrom = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN", help="Continue from this run's folder under a new name and with changed settings."
    ),
]
AtIteration = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="Latest iteration to continue from; with --continue-from."),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME...", help="Names of campaigns or studies, or ids of MLflow runs."),
]
Runs = Annotated[Path, typer.Option(help="Folder that holds the runs.")]
Uri = Annotated[str | None, typer.Option(help="MLflow tracking URI (default: mlflow.db beside the runs).")]
Filter = Annotated[
    str | None, typer.Option(help="Choose runs by an MLflow filter, e.g. \"tags.`entrostat.arm` = 'grpo'\".")
]


class TableName(StrEnum):
    """What `compare` can print."""

    summary = "summary"
    outcome = "outcome"
    statistics = "statistics"
    progress = "progress"
    efficiency = "efficiency"
    pass_at_k = "pass_at_k"  # nosec B105  # no password
    entropy_law = "entropy_law"
    asymptote = "asymptote"
    trends = "trends"
    setpoint_quality = "setpoint_quality"
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


RecordsFrom = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FOLDER",
        help="Read <campaign>.parquet from this folder; name campaign files or folders of them.",
    ),
]


# How records are written.

MetricPatterns = Annotated[
    list[str] | None,
    typer.Option("--metrics", metavar="PATTERN", help="Metrics to write, e.g. 'loop/*' (default: all)."),
]
Wide = Annotated[
    bool, typer.Option("--wide", help="Write one column per metric instead of one row per number.")
]
EarlierExport = Annotated[
    Path | None,
    typer.Option(
        "--with",
        metavar="FILE.parquet",
        help="Add to the runs of this earlier export, so that none is trained twice.",
    ),
]
