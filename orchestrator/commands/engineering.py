"""The command line of control engineering: ``entrostat identify | design | simulate``.

Nothing heavy is imported until a command is given.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

PlantArgument = Annotated[
    Path, typer.Argument(metavar="PLANT.yaml", help="Plant file written by `identify`.")
]
Uri = Annotated[
    str | None, typer.Option(metavar="URI", help="MLflow tracking URI (default: the campaign's).")
]
Folder = Annotated[Path, typer.Option(help="Folder that holds the runs.")]
RUNS = Path("runs")


class CoordinatesOption(StrEnum):
    """Coordinates of entropy in which a plant is linear."""

    log = "log"
    relative = "relative"
    absolute = "absolute"


class MeasureOption(StrEnum):
    """When a run measures its policy."""

    before_update = "before_update"
    in_update = "in_update"


class LawOption(StrEnum):
    """Gains that a design may use."""

    p = "p"
    pi = "pi"
    pid = "pid"


def identify(
    source: Annotated[
        str, typer.Argument(metavar="CAMPAIGN|RUN_ID", help="Name of a campaign, or id of an MLflow run.")
    ],
    arm: Annotated[str | None, typer.Option(help="Arm to read (default: the one with a dither).")] = None,
    loop: Annotated[str | None, typer.Option(help="Loop to read (default: the one with a dither).")] = None,
    coordinates: Annotated[
        CoordinatesOption, typer.Option(help="Coordinates of entropy in which the plant is linear.")
    ] = (CoordinatesOption.log),
    skip: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Leave out the first N iterations of each run.")
    ] = None,
    max_order: Annotated[
        int,
        typer.Option(
            min=1,
            max=20,
            metavar="N",
            help="Largest model order to try, for past entropies and past commands each.",
        ),
    ] = 8,
    output: Annotated[Path, typer.Option(help="Plant file to write.")] = Path("plant.yaml"),
    folder: Folder = RUNS,
    uri: Uri = None,
) -> None:
    """Identify how entropy responds to an actuator's command, from runs with a dither."""
    from rich.console import Console

    from orchestrator.commands.identify import run_identification

    run_identification(
        source,
        arm=arm,
        loop=loop,
        coordinates=coordinates.value,
        skip=skip,
        max_order=max_order,
        output=output,
        folder=folder,
        uri=uri,
        console=Console(),
    )


def design(
    plant: PlantArgument,
    law: Annotated[LawOption, typer.Option(help="Gains that the law may use.")] = LawOption.pi,
    settling: Annotated[
        int | None, typer.Option(metavar="N", help="Settling time to aim for, in iterations.")
    ] = None,
    ms: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Maximum sensitivity Ms: the goal if given alone, otherwise an upper bound."
        ),
    ] = None,
    time_constant: Annotated[
        float | None,
        typer.Option(metavar="T", help="Closed-loop time constant in iterations, by the SIMC rule."),
    ] = None,
    minimum_variance: Annotated[
        bool, typer.Option("--minimum-variance", help="Minimise the variance of entropy.")
    ] = False,
    setpoint: Annotated[float | None, typer.Option(metavar="R", help="Setpoint in nats per token.")] = None,
    fraction: Annotated[
        float | None, typer.Option(metavar="F", help="Setpoint as a fraction of the run's initial entropy.")
    ] = None,
    limits: Annotated[
        tuple[float, float] | None, typer.Option(metavar="LOW HIGH", help="Limits of the command.")
    ] = None,
    robust: Annotated[
        bool, typer.Option("--robust", help="Keep Ms for 95 % of the plants that the data allow.")
    ] = False,
    ahead: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="K",
            help="The key rollout.ahead of the runs to come (default: that of the identified ones).",
        ),
    ] = None,
    measure: Annotated[
        MeasureOption | None,
        typer.Option(
            help="The key learner.measure of the runs to come (default: that of the identified ones)."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the preset to write.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write the preset to (default: NAME.yaml).")
    ] = None,
    folder: Folder = RUNS,
    uri: Uri = None,
) -> None:
    """Compute gains and their stability margins for an identified plant, and write them as a preset."""
    from rich.console import Console

    from orchestrator.commands.design import Wish, run_design

    wish = Wish(
        structure=law.value,
        settling=settling,
        ms=ms,
        time_constant=time_constant,
        minimum_variance=minimum_variance,
        setpoint=setpoint,
        fraction=fraction,
        limits=limits,
        robust=robust,
        ahead=ahead,
        measure=measure.value if measure else None,
        name=name,
        output=output,
    )
    run_design(plant, wish, folder=folder, uri=uri, console=Console())


def simulate(
    path: Annotated[
        Path, typer.Argument(metavar="PRESET.yaml|CAMPAIGN.yaml", help="Preset or campaign file.")
    ],
    arm: Annotated[str | None, typer.Option(help="Arm of the campaign to simulate.")] = None,
    loop: Annotated[str | None, typer.Option(help="Loop to simulate, if there are several.")] = None,
    plant: Annotated[
        Path | None, typer.Option(metavar="PLANT.yaml", help="Plant to simulate instead of the loop's own.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Number of iterations (default: the campaign's).")
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(min=2, metavar="S", help="Number of simulations, each with its own noise and plant."),
    ] = 200,
    initial: Annotated[
        float | None, typer.Option(min=1e-6, metavar="H", help="Initial entropy in nats per token.")
    ] = None,
    change: Annotated[
        tuple[int, Path] | None,
        typer.Option(metavar="ITERATION PLANT2.yaml", help="Change to this plant at this iteration."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="CAMPAIGN|RUN_ID", help="Runs to compare the prediction with.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="CSV file to write; the figure is written beside it.")
    ] = None,
    folder: Folder = RUNS,
    uri: Uri = None,
) -> None:
    """Simulate a loop on an identified plant, with its noise and its uncertainty."""
    from rich.console import Console

    from orchestrator.commands.simulate import run_simulation
    from orchestrator.engineering.simulation_input import Setting

    setting = Setting(
        arm=arm,
        loop=loop,
        plant=plant,
        iterations=iterations,
        seeds=seeds,
        initial=initial,
        change=change,
        against=against,
        output=output,
    )
    run_simulation(path, setting, folder=folder, uri=uri, console=Console())
