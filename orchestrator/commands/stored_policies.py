"""The command line of trained policies: ``entrostat publish | evaluate``.

Nothing heavy is imported until a command is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Option(help="Folder that holds the runs.")]
Best = Annotated[
    bool, typer.Option("--best", help="Take the policy that evaluation.keep_best has kept, not the last one.")
]
RUNS = Path("runs")


def publish(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run as CAMPAIGN/ARM/SEED, or the path of its folder.")
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write; it must be new or empty.")],
    best: Best = False,
    push: Annotated[
        str | None,
        typer.Option(metavar="USER/NAME", help="Also upload the folder to this repository of the hub."),
    ] = None,
    folder: Folder = RUNS,
) -> None:
    """Write a run's policy as a Hugging Face folder with a model card.  Nothing is uploaded without --push."""
    from rich.console import Console

    from orchestrator.commands.publish import run_publish

    run_publish(run, folder=folder, output=output, best=best, push=push, console=Console())


def evaluate(
    policy: Annotated[
        str,
        typer.Argument(
            metavar="POLICY", help="Folder of a model, id of one on the hub, or CAMPAIGN/ARM/SEED."
        ),
    ],
    task: Annotated[
        Path, typer.Option(metavar="CAMPAIGN.yaml", help="Campaign file whose task and evaluation are used.")
    ],
    arm: Annotated[
        str | None, typer.Option(help="Arm of the campaign to evaluate as (default: its first).")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a setting, e.g. evaluation.num_problems=500; may be given several times.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    best: Best = False,
    output: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the results here.")] = None,
    folder: Folder = RUNS,
) -> None:
    """Measure a policy on the held-out problems of any task: greedily, by samples, and pass@k, with intervals."""
    from rich.console import Console

    from orchestrator.commands.evaluate import run_evaluation

    run_evaluation(
        policy,
        task=task,
        arm=arm,
        overrides=overrides or [],
        seed=seed,
        best=best,
        output=output,
        folder=folder,
        console=Console(),
    )
