"""The command `entrostat simulate`: the loop of a preset or an arm against an identified plant."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from controllers.plants.plant import Plant
from controllers.plants.simulated_plants import Changed
from controllers.quality.quality import Quality, assess, settling_iteration
from orchestrator.commands.outputs import figure, print_rows, say, write_all
from orchestrator.comparison import SETTLING_TOLERANCE, SETTLING_WINDOW
from orchestrator.comparison.values import FINAL_FRACTION
from orchestrator.engineering.pictures import prediction_picture
from orchestrator.engineering.plant_file import PlantFile, read_plant, retimed
from orchestrator.engineering.prediction import (
    BAND,
    Agreement,
    Array,
    Prediction,
    agreement,
    constant_telemetry,
    predict,
    unknown_readings,
)
from orchestrator.engineering.simulation_input import Scene, Setting, read_scene
from orchestrator.engineering.sources import find_runs, measurements, tracking_of
from orchestrator.engineering.tracking import log_run
from orchestrator.errors import ConfigError, named, refusing
from orchestrator.storage.outputs import require_name

ITERATIONS = 150
MEDIAN_TOLERANCE = 0.05  # of the setpoint; a median over simulations has little noise in it


def run_simulation(path: Path, setting: Setting, *, folder: Path, uri: str | None, console: Console) -> None:
    """Simulate, print the predicted quality, write picture and CSV, track.

    Raises:
        ConfigError: there is no loop or no plant, or the loop reads what a plant does not tell.
    """
    if setting.output is not None:
        require_name(setting.output, "--output")
    scene = read_scene(path, setting)
    given = _in_runs(scene, setting.plant, "--plant") if setting.plant else None
    plant = given.plant if given else scene.loop.plant
    if plant is None:
        raise ConfigError(f"{path}: {scene.title} names no plant; give one with --plant PLANT.yaml")
    if given:
        _same_channel(given, scene, setting.plant)
    with refusing(f"{named(path)}: loops.{scene.key}", "change it"):
        loop = scene.loop.build(**scene.timing)
        if given:  # of which the loop knows as much as in a run
            loop = replace(loop, dead_time=given.channel.dead_time)
    plant = plant if given else plant.in_run(loop.dead_time)
    learner = dict(scene.learner)
    if given:
        learner.setdefault("learning_rate", given.channel.learning_rate)
    unknown = unknown_readings(loop, learner)
    if unknown:
        raise ConfigError(
            f"{path}: {scene.title} also reads {', '.join(unknown)}, which a plant of entropy does not predict; "
            "simulate it with controllers.plants.simulation and your own readings"
        )
    iterations = setting.iterations or int(scene.learner.get("iterations") or ITERATIONS)
    runs = _runs(setting, scene, folder, uri, console) if setting.against else []
    starts = [float(run[np.isfinite(run)][0]) for run in runs]
    initial = setting.initial or (float(np.mean(starts)) if starts else None)
    initial = initial or (given.channel.initial_nats if given else None) or plant.level_nats
    with refusing(f"{named(path)}: {scene.title}", "these numbers cannot be simulated; change them"):
        predicted = predict(
            loop,
            _changing(plant, setting.change, iterations, scene),
            iterations,
            initial_nats=initial,
            telemetry=constant_telemetry(loop, learner),
            num_draws=setting.seeds,
        )
        qualities = [
            assess(
                y,
                r,
                u,
                low=loop.low,
                high=loop.high,
                tolerance_fraction=SETTLING_TOLERANCE,
                settling_window=SETTLING_WINDOW,
                settling_lasts=FINAL_FRACTION,
                delay=plant.dead_time,
            )
            for y, r, u in zip(predicted.y, predicted.r, predicted.u, strict=True)
        ]
    output = setting.output or Path(f"{scene.name}-simulated.csv")
    changes = (setting.change[0],) if setting.change else ()
    title = f"{scene.title}: {setting.seeds} trajectories from {initial:.3g} nats/token"
    files = {
        output: _csv(predicted),
        output.with_suffix(".png"): prediction_picture(predicted, title, changes, runs),
    }
    written = write_all(files)
    print_rows(console, title, table(qualities, predicted))
    found = agreement(predicted, runs) if runs else None
    if found:
        print_rows(console, f"Against {len(runs)} runs of {setting.against}", agreement_table(found))
    say(console, f"written   {', '.join(map(str, written))}")
    campaign = given.origin.campaign if given else scene.name
    tracked = log_run(
        tracking_of(folder, campaign, uri, given.origin.tracking if given else None),
        campaign,
        kind="simulation",
        name=f"{scene.name} simulated",
        runs_root=folder,
        params={"source": str(path), "plant_file": str(setting.plant or path), "iterations": iterations}
        | {"initial_nats": initial, "seeds": setting.seeds, "change": str(setting.change or "")},
        metrics=metrics(qualities) | (_numbers(found) if found else {}),
        files=written,
    )
    say(console, tracked)


def table(qualities: list[Quality], predicted: Prediction) -> list[tuple[str, str]]:
    """Quality over the trajectories: median, and 5 to 95 %."""
    low, median, high = predicted.quantiles(predicted.y)
    inside = f"{median[-1]:.3g} nats/token ({low[-1]:.3g} to {high[-1]:.3g})"
    settled = settling_iteration(median, np.median(predicted.r, axis=0), MEDIAN_TOLERANCE)
    rows = [
        ("entropy at the end", inside),
        (f"settling of the median trajectory (within {MEDIAN_TOLERANCE:.0%})", _or_never(settled)),
    ]
    for name, field, unit in _FIGURES:
        values = np.array([getattr(quality, field) for quality in qualities])
        rows.append((name, _spread(values, unit)))
    return rows


def agreement_table(found: Agreement) -> list[tuple[str, str]]:
    """Prediction over reality, each figure with what it would be if the prediction were right."""
    rmse = f"{found.normalised_rmse:.2f} ({found.expected_normalised_rmse:.2f} if the prediction were right)"
    covered = f"{found.coverage:.1%} ({found.expected_coverage:.0%} if the prediction were right)"
    return [
        ("readings", str(found.num_readings)),
        ("RMSE against the predicted median", figure(found.rmse_nats, "nats/token")),
        ("over the readings' own spread", rmse),
        ("readings in the 5 to 95 % band", covered),
        ("of the first quarter, the last half", f"{found.early_coverage:.1%}, {found.late_coverage:.1%}"),
    ]


def metrics(qualities: list[Quality]) -> dict[str, float]:
    """Medians of the same, for MLflow."""
    values = {field: [getattr(quality, field) for quality in qualities] for _, field, _ in _FIGURES}
    return {f"predicted/{field}": float(np.median(column)) for field, column in values.items()}


_FIGURES = (
    (
        f"settling (within {SETTLING_TOLERANCE:.0%}, mean of {SETTLING_WINDOW})",
        "settling_iteration",
        "iterations",
    ),
    ("RMSE over the whole run", "rmse_nats", "nats/token"),
    ("IAE", "iae_nats", "nats/token · iterations"),
    ("offset at the end", "offset_nats", "nats/token"),
    ("overshoot", "overshoot_nats", "nats/token"),
    ("effort", "effort", ""),
    ("saturation share", "saturation_share", ""),
    ("Harris index, last half", "harris_index", ""),
)


def _spread(values: np.ndarray[Any, np.dtype[np.float64]], unit: str) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "never" if unit == "iterations" else "–"
    low, median, high = np.quantile(known, [BAND[0], 0.5, BAND[1]])
    share = "" if known.size == values.size else f", in {known.size} of {values.size} trajectories"
    return f"{figure(float(median), unit)} ({low:.3g} to {high:.3g}{share})"


def _runs(setting: Setting, scene: Scene, folder: Path, uri: str | None, console: Console) -> list[Array]:
    """Measurements of the runs that the prediction is compared with."""
    source = find_runs(str(setting.against), folder=folder, uri=uri)
    arms = source.arms
    arm = setting.arm or (scene.name if scene.name in arms else None)
    if arm is None or arm not in arms:
        raise ConfigError(f"{source.name}: choose one of its arms with --arm: {', '.join(arms)}")
    runs = [measurements(run, scene.key) for run in arms[arm].shown]
    runs = [run for run in runs if np.isfinite(run).any()]
    if not runs:
        raise ConfigError(f"{source.name}: arm {arm!r} has no readings of a loop {scene.key!r}")
    return runs


def _numbers(found: Agreement) -> dict[str, float]:
    return {f"agreement/{name}": float(value) for name, value in asdict(found).items()}


def _or_never(iteration: float) -> str:
    return figure(iteration, "iterations") if np.isfinite(iteration) else "never"


def _in_runs(scene: Scene, path: Path, option: str) -> PlantFile:
    """The plant of a file with the delay that the runs of the scene make of it."""
    with refusing(f"{option} {path}", "the plant's delay does not have the wait of its own runs in it"):
        return retimed(read_plant(path), **scene.timing)


def _changing(
    plant: Plant, change: tuple[int, Path] | None, iterations: int, scene: Scene
) -> Plant | Changed:
    if change is None:
        return plant
    at, path = change
    if not 0 < at < iterations:
        raise ConfigError(f"--change: the iteration must be in 1 to {iterations - 1}, got {at}")
    return Changed(plants=((0, plant), (at, _in_runs(scene, path, "--change").plant)))


def _same_channel(given: PlantFile, scene: Scene, path: Path | None) -> None:
    """A plant of another actuator would answer the command with another unit."""
    theirs, ours = given.channel.actuator.kind, scene.loop.actuator.kind
    if theirs != ours:
        raise ConfigError(
            f"{path}: is the plant of {theirs!r}, and the loop of {scene.title} drives {ours!r}; "
            "identify that actuator"
        )


def _csv(predicted: Prediction) -> bytes:
    """One row an iteration: band and median of y and u, median of r."""
    columns: dict[str, Any] = {"iteration": np.arange(predicted.y.shape[1])}
    ends = [f"p{100 * BAND[0]:02.0f}", "median", f"p{100 * BAND[1]:02.0f}"]
    for letter, signal in (("y", predicted.y), ("u", predicted.u)):
        columns |= {
            f"{letter}_{end}": values for end, values in zip(ends, predicted.quantiles(signal), strict=True)
        }
    columns["r_median"] = np.median(predicted.r, axis=0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(np.asarray(values).tolist() for values in columns.values()), strict=True))
    return text.getvalue().encode()
