"""The command `entrostat identify`: from runs with a dither to a plant file and checks of its quality."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import log
from pathlib import Path

import numpy as np
from rich.console import Console

from controllers.identification import Identification, IdentificationError, Recording, prediction
from controllers.identification import identify as identify_plant
from controllers.identification.checks import dominant_pole, lasting_push
from controllers.identification.usability import usable_plant
from controllers.laws.auto import Auto
from controllers.parts.coordinates import Coordinates
from controllers.plants.plant import Plant
from orchestrator.commands.learnt import report_learnt
from orchestrator.commands.outputs import beside, figure, print_rows, rows_text, say, write_all
from orchestrator.configuration.loops import dead_time
from orchestrator.configuration.part_schema import to_plain
from orchestrator.configuration.resolve import parse
from orchestrator.engineering.pictures import identification_picture
from orchestrator.engineering.plant_file import PlantFile, plant_text
from orchestrator.engineering.sources import (
    Array,
    Chosen,
    Signals,
    choose,
    find_runs,
    first_change,
    signals,
)
from orchestrator.engineering.tracking import log_run
from orchestrator.errors import ConfigError
from orchestrator.masking import mask_uri
from orchestrator.provenance import git_commit, versions
from orchestrator.storage.outputs import require_name

TRANSIENT = 20
"""Iterations that are left out at the start at least: the optimiser's own averages are filling up."""

AHEAD = 10
"""Iterations that the picture predicts ahead; what integrates runs away from its commands alone."""

LONGEST_DELAY = 3
"""Longest delay that is tried [iterations], but for the time in which a command only waits."""

MOST_PANELS = 6
RUNNERS_UP = 3


def run_identification(
    name: str,
    *,
    arm: str | None,
    loop: str | None,
    coordinates: Coordinates,
    skip: int | None,
    max_order: int,
    output: Path,
    folder: Path,
    uri: str | None,
    console: Console,
) -> None:
    """Find the records, identify, print, write the plant, its table and its picture, track.

    Runs under the law ``auto`` without a dither are no records of a plant; what the law has learnt is printed and tracked.

    Raises:
        ConfigError: there are no such records, or they do not support a plant; nothing has been written.
    """
    require_name(output, "--output")
    source = find_runs(name, folder=folder, uri=uri)
    chosen = choose(source, arm=arm, loop=loop)
    title = (
        f"{chosen.campaign}, arm {chosen.arm}: from {chosen.config.actuator.kind} to {chosen.config.sensor}"
    )
    if chosen.config.dither is None and isinstance(chosen.config.law, Auto):
        report_learnt(chosen, source, title, folder, console)
        return
    seen = [signals(run, chosen.loop, chosen.config) for run in chosen.runs]
    skipped, notes = _skipped(chosen, skip)
    records = records_of(chosen, seen, skipped)
    try:
        found = identify_plant(
            records,
            coordinates=coordinates,
            max_order=max_order,
            max_delay=LONGEST_DELAY + dead_time(chosen.config.actuator, **chosen.timing),
        )
    except IdentificationError as error:
        raise ConfigError(f"{chosen.where}: {error}") from error
    rows = table(found, chosen, skipped)
    warnings = [*chosen.notes, *notes, *found.warnings]
    file = plant_file(found.plant, chosen, seen, skipped, tracking=mask_uri(source.uri))
    picture = identification_picture(title, _panels(found.plant, records))
    written = write_all(
        {
            output: plant_text(file).encode(),
            beside(output, "identification.txt"): _text(title, rows, warnings).encode(),
            beside(output, "ten-steps.png"): picture,
        }
    )
    print_rows(console, title, rows)
    for warning in warnings:
        say(console, f"note: {warning}")
    say(console, f"plant     {output} (and {len(written) - 1} files beside it)")
    tracked = log_run(
        source.uri,
        chosen.campaign,
        kind="identification",
        name=f"identify {chosen.arm} {chosen.loop}",
        runs_root=folder,
        params={"plant": to_plain(found.plant), "channel": to_plain(file.channel), "skip": skipped}
        | {"runs": list(file.origin.runs), "arm": chosen.arm, "loop": chosen.loop},
        metrics=metrics(found),
        files=written,
    )
    say(console, tracked)


def records_of(chosen: Chosen, seen: Sequence[Signals], skipped: int) -> list[Recording]:
    """The records without the transient, and without what comes after a phase has changed the plant."""
    end = first_change(chosen.runs[0].info.config)
    records = []
    for each in seen:
        kept = each.iterations >= skipped
        if end is not None:
            kept &= each.iterations < end
        records.append(
            Recording(
                name=each.name,
                y=each.y[kept],
                u=each.u[kept],
                dither=each.dither[kept],
                iterations=each.iterations[kept].astype(float),
            )
        )
    return records


def plant_file(
    plant: Plant, chosen: Chosen, seen: Sequence[Signals], skipped: int, *, tracking: str | None = None
) -> PlantFile:
    """The plant with what it is the plant of, and where it comes from."""
    config = chosen.config
    built = config.build()
    starts = [each.y[np.isfinite(each.y)][0] for each in seen if np.isfinite(each.y).any()]
    content = {
        "plant": to_plain(plant),
        "channel": {
            "sensor": config.sensor,
            "domain": config.domain,
            "actuator": to_plain(config.actuator),
            "limits": [built.low, built.high],
            "learning_rate": float(chosen.learner["learning_rate"]),
            "initial_nats": float(np.mean(starts)),
            **chosen.timing,
        },
        "origin": {
            "campaign": chosen.campaign,
            "arm": chosen.arm,
            "loop": chosen.loop,
            "runs": [each.name for each in seen],
            "tracking": tracking,
            "skipped_iterations": skipped,
            "created": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "commit": git_commit(Path()),
            "entrostat": versions()["entrostat"],
        },
    }
    return parse(PlantFile, content, chosen.where)


def table(found: Identification, chosen: Chosen, skipped: int) -> list[tuple[str, str]]:
    """What was found and how far it can be trusted, in that order."""
    plant = found.plant
    slope, slope_error = lasting_push(plant)
    names = [f"a_{i + 1}" for i in range(len(plant.a))] + [f"b_{j}" for j in range(len(plant.b))] + ["drift"]
    values = zip(names, plant.parameters, plant.standard_errors, strict=True)
    return [
        (
            "records",
            f"{len(chosen.runs)} runs, {plant.num_samples} rows, the first {skipped} iterations left out",
        ),
        ("usable", str(usable_plant(found, *chosen.config.bounds))),
        ("model", f"{found.order}, {plant.coordinates} coordinates, level {plant.level_nats:.3g} nats/token"),
        *((name, f"{value:.4g} ± {error:.2g}") for name, value, error in values),
        ("orders by BIC", _orders(found)),
        ("memory", _memory(plant)),
        (
            "effect of a constant command",
            f"{slope:.3g} ± {slope_error:.2g} an iteration, per unit of command",
        ),
        ("drift at u = 0", f"{_percent(plant, _drift_at_level(plant))} of the level an iteration"),
        ("command that holds the level", f"{plant.holding_command(plant.level_nats):.3g}"),
        ("noise", f"{_percent(plant, plant.noise_std)} of the level an iteration"),
        (
            "fit on held-out records",
            f"one step {found.one_step_fit:.2f}, ten steps {found.far_fit:.2f}, free run {found.free_run_fit:.2f} "
            f"({found.held_out}; 1 is perfect, 0 the mean)",
        ),
        (
            "residuals white",
            f"p = {found.whiteness_p:.3g}; uncorrelated with past commands: p = {found.input_p:.3g}",
        ),
        ("same plant in both halves", f"p = {found.constancy_p:.3g}"),
        ("dither", f"{100 * found.dither_share:.0f} % of the command's variance"),
        ("condition number", f"{found.condition:.3g}"),
        ("check by instrumental variables", _instruments(found)),
    ]


def metrics(found: Identification) -> dict[str, float]:
    """The same as numbers, for MLflow."""
    plant = found.plant
    values = {f"a_{i + 1}": value for i, value in enumerate(plant.a)}
    values |= {f"b_{j}": value for j, value in enumerate(plant.b)}
    return {
        **{f"plant/{name}": value for name, value in values.items()},
        "plant/lasting_push": lasting_push(plant)[0],
        "plant/lasting_push_error": lasting_push(plant)[1],
        "plant/drift": plant.drift,
        "plant/noise_std": plant.noise_std,
        "plant/level_nats": plant.level_nats,
        "plant/num_samples": float(plant.num_samples),
        "fit/one_step": found.one_step_fit,
        "fit/ten_steps": found.far_fit,
        "fit/free_run": found.free_run_fit,
        "fit/whiteness_p": found.whiteness_p,
        "fit/input_p": found.input_p,
        "fit/constancy_p": found.constancy_p,
        "fit/dither_share": found.dither_share,
        "fit/condition": found.condition,
    }


def _skipped(chosen: Chosen, wanted: int | None) -> tuple[int, list[str]]:
    """Iterations left out at the start, and what to tell about the end."""
    end = first_change(chosen.runs[0].info.config)
    notes = (
        [] if end is None else [f"iterations from {end} on, where a phase changes the plant, were left out"]
    )
    if wanted is not None:
        return wanted, notes
    return max(TRANSIENT, int(chosen.learner.get("warmup_iterations") or 0)), notes


def _orders(found: Identification) -> str:
    """The chosen order and the runners-up, each with its distance to the lowest BIC."""
    if not found.candidates:
        return f"{found.order}, given"
    lowest = found.candidates[0].bic
    others = [each for each in found.candidates if each.order != found.order][:RUNNERS_UP]
    chosen = next(each for each in found.candidates if each.order == found.order)
    why = "" if chosen.bic == lowest else ", the lowest with white residuals"
    told = ", ".join(f"{each.order} {each.bic - lowest:+.1f}" for each in others)
    return f"{found.order} {chosen.bic - lowest:+.1f}{why}; then {told or 'none'}"


def _memory(plant: Plant) -> str:
    """How long the plant remembers; integrating where its slowest pole is 1 within two standard errors."""
    pole, error = dominant_pole(plant)
    told = f"slowest pole {pole:.4f} ± {error:.2g}"
    if pole + 2 * error >= 1:
        return f"{told}: cannot be distinguished from an integrator"
    return f"{told}: time constant {figure(-1 / log(pole), 'iterations')}"


def _drift_at_level(plant: Plant) -> float:
    """Change of z in one iteration at the level, without a command and with all past there too."""
    return plant.drift + (sum(plant.a) - 1) * plant.coordinate(plant.level_nats)


def _percent(plant: Plant, z: float) -> str:
    return f"{100 * z / (plant.level_nats if plant.coordinates == 'absolute' else 1):.2g} %"


def _instruments(found: Identification) -> str:
    check = found.instruments
    if check is None:
        return "not possible"
    return (
        f"effect differs by {check.push_difference:.1f} standard errors (all: p = {check.p_value:.2g}); "
        f"{check.precision:.1f} times less precise"
    )


def _panels(plant: Plant, records: Sequence[Recording]) -> list[tuple[str, Array, Array, Array]]:
    return [
        (
            record.name,
            record.times,
            record.y,
            np.array([plant.nats(z) if np.isfinite(z) else z for z in prediction(plant, record, AHEAD)]),
        )
        for record in records[:MOST_PANELS]
    ]


def _text(title: str, rows: Sequence[tuple[str, str]], warnings: Sequence[str]) -> str:
    return rows_text(title, rows) + "".join(f"\nnote: {warning}" for warning in warnings)
