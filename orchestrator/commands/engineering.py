"""The command line of control engineering: ``entrostat identify | design | simulate``.

Nothing heavy is imported until a command is given.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

PlantArgument = Annotated[Path, typer.Argument(metavar="PLANT.yaml", help="What `identify` has written.")]
Uri = Annotated[str | None, typer.Option(metavar="URI", help="MLflow tracking URI; default: the campaign's.")]
Folder = Annotated[Path, typer.Option(help="Where runs are kept.")]
RUNS = Path("runs")


class CoordinatesOption(StrEnum):
    """In which a plant is linear."""

    log = "log"
    relative = "relative"
    absolute = "absolute"


class LawOption(StrEnum):
    """Which gains a design may use."""

    p = "p"
    pi = "pi"
    pid = "pid"


def identify(
    source: Annotated[
        str, typer.Argument(metavar="CAMPAIGN|RUN_ID", help="A campaign's name or an MLflow run.")
    ],
    arm: Annotated[str | None, typer.Option(help="Arm; default: the one that has a dither.")] = None,
    loop: Annotated[str | None, typer.Option(help="Loop; default: the one that has a dither.")] = None,
    coordinates: Annotated[CoordinatesOption, typer.Option(help="In which the plant is linear.")] = (
        CoordinatesOption.log
    ),
    skip: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Iterations left out at the start of each run.")
    ] = None,
    max_order: Annotated[
        int, typer.Option(min=1, max=20, metavar="N", help="Most coefficients of memory, and of push.")
    ] = 8,
    output: Annotated[Path, typer.Option(help="Where the plant goes.")] = Path("plant.yaml"),
    folder: Folder = RUNS,
    uri: Uri = None,
) -> None:
    """Find out how entropy answers an actuator's command, from runs with a dither on it."""
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
    law: Annotated[LawOption, typer.Option(help="Gains that the law may have.")] = LawOption.pi,
    settling: Annotated[int | None, typer.Option(metavar="N", help="Settle in N iterations.")] = None,
    ms: Annotated[
        float | None,
        typer.Option(metavar="X", help="Sensitivity peak, alone a goal, beside another its bound."),
    ] = None,
    time_constant: Annotated[
        float | None, typer.Option(metavar="T", help="Closed loop of T iterations, by the SIMC rule.")
    ] = None,
    minimum_variance: Annotated[
        bool, typer.Option("--minimum-variance", help="Least variance that noise leaves.")
    ] = False,
    setpoint: Annotated[float | None, typer.Option(metavar="R", help="Hold R nats per token.")] = None,
    fraction: Annotated[
        float | None, typer.Option(metavar="F", help="Hold the share F of the run's first entropy.")
    ] = None,
    limits: Annotated[
        tuple[float, float] | None, typer.Option(metavar="LOW HIGH", help="Of the command.")
    ] = None,
    robust: Annotated[
        bool, typer.Option("--robust", help="Keep Ms for 95 % of the plants that the records allow.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the preset.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where the preset goes; default: NAME.yaml.")] = None,
    folder: Folder = RUNS,
    uri: Uri = None,
) -> None:
    """Gains for an identified plant, with their margins, as a preset that a campaign takes."""
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
        name=name,
        output=output,
    )
    run_design(plant, wish, folder=folder, uri=uri, console=Console())


def simulate(
    path: Annotated[
        Path, typer.Argument(metavar="PRESET.yaml|CAMPAIGN.yaml", help="A preset or a campaign.")
    ],
    arm: Annotated[str | None, typer.Option(help="Arm of a campaign.")] = None,
    loop: Annotated[str | None, typer.Option(help="Loop, where there are several.")] = None,
    plant: Annotated[
        Path | None, typer.Option(metavar="PLANT.yaml", help="Instead of the loop's own plant.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Default: the campaign's.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=2, metavar="S", help="Courses, each of another noise and plant.")
    ] = 200,
    initial: Annotated[
        float | None, typer.Option(min=1e-6, metavar="H", help="Entropy at the start, nats per token.")
    ] = None,
    change: Annotated[
        tuple[int, Path] | None,
        typer.Option(metavar="ITERATION PLANT2.yaml", help="Another plant from there on."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="CAMPAIGN|RUN_ID", help="Runs that the prediction is held against.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="CSV file; the picture goes beside it.")] = None,
    folder: Folder = RUNS,
    uri: Uri = None,
) -> None:
    """What a loop is going to do on an identified plant: the very loop, its noise and its uncertainty."""
    from rich.console import Console

    from orchestrator.commands.simulate import run_simulation
    from orchestrator.engineering.scenes import Setting

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
