"""What a run under the law ``auto`` has learnt of its actuator, for `entrostat identify`: a dither is not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from controllers.identification.checks import SIGNIFICANT
from controllers.identification.usability import Usability, pooled, usable_effect
from controllers.laws.auto import full_command
from orchestrator.commands.outputs import print_rows, say
from orchestrator.engineering.sources import Chosen, Source
from orchestrator.engineering.tracking import log_run
from orchestrator.errors import ConfigError
from orchestrator.storage.run_data import RunRecords

LATE = 10
"""Measurements whose mean is the level that an estimate is of."""

EFFECTS = ("push", "shift", "drift")
"""Estimates of the law that have an error, ``<effect>_std``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """The last estimates of one run, each with its standard error, and the iteration that they are of."""

    name: str
    iteration: int
    effects: Mapping[str, tuple[float, float]]
    level_nats: float
    """Mean of its last ten measurements: an effect may be another at another entropy [nats/token]."""
    unable: bool
    """Its limit did not hold the setpoint in the end."""


def report_learnt(chosen: Chosen, source: Source, title: str, folder: Path, console: Console) -> None:
    """Print what the runs' law has learnt, and track it.

    Raises:
        ConfigError: no run has recorded it.
    """
    found = learnt_by(chosen)
    print_rows(console, title, rows(chosen, found))
    for note in chosen.notes:
        say(console, f"note: {note}")
    say(
        console,
        "note: a plant file needs a dither in the loop, `dither: {kind: prbs, amplitude: 0.1}`; none is written",
    )
    tracked = log_run(
        source.uri,
        chosen.campaign,
        kind="identification",
        name=f"identify {chosen.arm} {chosen.loop}",
        runs_root=folder,
        params={"runs": [each.name for each in found], "arm": chosen.arm, "loop": chosen.loop},
        metrics=metrics(found),
        files=[],
    )
    say(console, tracked)


def learnt_by(chosen: Chosen) -> list[Learnt]:
    """What the law of each run had learnt at its end.

    Raises:
        ConfigError: no run has recorded it.
    """
    found = [each for run in chosen.runs if (each := _of(run, chosen.loop)) is not None]
    if not found:
        raise ConfigError(
            f"{chosen.where}: has no records of what its law has learnt (loop/{chosen.loop}/estimate/push), as it "
            "never had a reading or is of an older version; run it again"
        )
    return found


def rows(chosen: Chosen, found: Sequence[Learnt]) -> list[tuple[str, str]]:
    """What they have learnt together, how far it can be trusted, and each of them."""
    command, (low, high) = chosen.config.actuator.command, chosen.config.bounds
    full = full_command(low, high, command.neutral)
    together = {name: pooled(*zip(*(each.effects[name] for each in found), strict=True)) for name in EFFECTS}
    push, drift = together["push"], together["drift"]
    per_unit = tuple(value / full for value in push)
    return [
        (
            "from",
            f"what the law auto had learnt by iteration {max(each.iteration for each in found)} of "
            f"{len(found)} {'run' if len(found) == 1 else 'runs'}, without a dither",
        ),
        (
            "level",
            f"{np.mean([each.level_nats for each in found]):.3g} nats/token, the last {LATE} measurements",
        ),
        ("usable", str(usability(together, found))),
        ("full command", f"{full:.3g} {command.unit} from neutral"),
        ("push", f"{_effect(push)} an iteration; of a unit of command {per_unit[0]:.3g} ± {per_unit[1]:.2g}"),
        ("shift at once", _effect(together["shift"])),
        ("drift at neutral", f"{_effect(drift)} an iteration"),
        ("command that holds", _holding(push, drift, command.neutral, full)),
        *(
            (each.name, ", ".join(f"{name} {_effect(each.effects[name])}" for name in EFFECTS))
            for each in found
        ),
    ]


def usability(together: Mapping[str, tuple[float, float]], found: Sequence[Learnt]) -> Usability:
    """Whether the actuator can be used; not where its limit does not hold the setpoint, whatever its effect."""
    unable = [each.name for each in found if each.unable]
    said = usable_effect(together["push"], together["shift"])
    if not unable:
        return said
    return Usability(
        usable=False, why=f"at its limit it did not hold the setpoint in {', '.join(unable)}; {said.why}"
    )


def metrics(found: Sequence[Learnt]) -> dict[str, float]:
    """The pooled estimates and their errors, for MLflow."""
    values: dict[str, float] = {}
    for name in EFFECTS:
        mean, error = pooled(*zip(*(each.effects[name] for each in found), strict=True))
        values |= {f"learnt/{name}": mean, f"learnt/{name}_error": error}
    return values


def _of(run: RunRecords, loop: str) -> Learnt | None:
    columns = {
        name: run.train.get(f"loop/{loop}/estimate/{name}")
        for effect in EFFECTS
        for name in (effect, f"{effect}_std")
    }
    there = np.flatnonzero(np.all([np.isfinite(values) for values in columns.values()], axis=0))
    if not there.size:
        return None
    last, measured = there[-1], run.train.get(f"loop/{loop}/y")
    return Learnt(
        name=run.name,
        iteration=int(run.train.steps[last]),
        effects={name: (float(columns[name][last]), float(columns[f"{name}_std"][last])) for name in EFFECTS},
        level_nats=float(measured[np.isfinite(measured)][-LATE:].mean()),
        unable=bool(run.train.get(f"loop/{loop}/estimate/unable")[last] == 1.0),
    )


def _effect(value: tuple[float, float]) -> str:
    return f"{value[0]:.3g} ± {value[1]:.2g} ln nats"


def _holding(push: tuple[float, float], drift: tuple[float, float], neutral: float, full: float) -> str:
    """The command at which push and drift balance; their errors are taken for independent."""
    if abs(push[0]) <= SIGNIFICANT * push[1]:
        return "not known: the push is not"
    share = -drift[0] / push[0]
    error = np.hypot(drift[1] / push[0], share * push[1] / push[0])
    return f"{neutral + full * share:.3g} ± {full * error:.2g}"
