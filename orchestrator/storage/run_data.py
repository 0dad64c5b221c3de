"""Reads the records of a campaign's runs as arrays; it writes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from orchestrator.errors import ConfigError
from orchestrator.storage.column_reader import read_columns
from orchestrator.storage.columns import Array, Keep, Series
from orchestrator.storage.guardrail_files import Event, Rollback, read_events, read_rollbacks
from orchestrator.storage.metrics_log import RESTORE, damage
from orchestrator.storage.run_folder import OVER, CampaignFolder, CampaignInfo, RunFolder, RunInfo, Status

__all__ = [
    "ArmRecords",
    "Array",
    "CampaignRecords",
    "RunRecords",
    "Series",
    "entropy_setpoint",
    "group_by_arm",
    "holds_entropy",
    "load_campaign",
    "load_runs",
    "loop_names",
    "measured",
    "sensed",
    "sensor",
    "setpoint",
    "terms",
]


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """One run, read."""

    info: RunInfo
    status: Status
    train: Series
    evaluation: Series
    seconds: float
    """From its first to its last record, interruptions included."""
    events: tuple[Event, ...] = ()
    """What its guardrails found."""
    rollbacks: tuple[Rollback, ...] = ()
    samples_path: Path | None = None
    """The folder of its samples, which are read when they are wanted; None where it was not read from a folder."""

    @property
    def name(self) -> str:
        return f"{self.info.arm} seed {self.info.seed}"

    @property
    def done(self) -> bool:
        return self.status.status == "done"

    @property
    def stopped(self) -> bool:
        """Whether a guardrail ended it."""
        return self.status.status == "stopped"

    @property
    def over(self) -> bool:
        """Whether the run has ended: it is done, or a guardrail stopped it."""
        return self.status.status in OVER

    def outcome(self) -> tuple[bool, bool, float]:
        """Orders runs by how they ended, those that ended alike by when."""
        return self.done, self.stopped, self.status.updated

    @cached_property
    def main_loop(self) -> str:
        """The first loop that has a setpoint, or else the first; "" without any."""
        names = loop_names(self)
        with_setpoint = [name for name in names if np.isfinite(self.train.get(f"loop/{name}/r")).any()]
        return (with_setpoint or names or [""])[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRecords:
    """The runs of one arm that differ in nothing but the seed."""

    name: str
    method: str
    runs: tuple[RunRecords, ...]

    @property
    def done(self) -> tuple[RunRecords, ...]:
        return tuple(run for run in self.runs if run.done)

    @property
    def over(self) -> tuple[RunRecords, ...]:
        """The runs that figures are of: the finished ones, and those that a guardrail stopped.

        Without the second, an arm would be judged by the seeds that went well.
        """
        return tuple(run for run in self.runs if run.over)

    @property
    def shown(self) -> tuple[RunRecords, ...]:
        """The runs that curves are drawn from: the ended runs, or all if none has ended."""
        return self.over or self.runs


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRecords:
    """All that is known of a campaign."""

    info: CampaignInfo
    arms: tuple[ArmRecords, ...]

    @property
    def runs(self) -> list[RunRecords]:
        return [run for arm in self.arms for run in arm.runs]


def load_campaign(folder: CampaignFolder, keep: Keep | None = None) -> CampaignRecords:
    """Read every run of a campaign folder, whatever state it is in; with ``keep``, only some metrics."""
    return CampaignRecords(info=folder.read_info(), arms=group_by_arm(load_runs(folder.runs(), keep)))


def load_runs(folders: Sequence[RunFolder], keep: Keep | None = None) -> list[RunRecords]:
    """Read run folders, in the order given.

    Raises:
        ConfigError: what a run has stored is damaged: a line is not a record, iterations are missing or there twice.
    """
    try:
        return _load_runs(folders, keep)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _load_runs(folders: Sequence[RunFolder], keep: Keep | None) -> list[RunRecords]:
    columns = read_columns([folder.metrics_path for folder in folders], keep)
    for folder, read in zip(folders, columns, strict=True):
        steps = read.train.steps
        if not np.array_equal(steps, np.arange(steps.size)):
            path = folder.metrics_path
            raise ValueError(f"{path}: {damage(path) or 'iterations are missing'}; {RESTORE}")
    return [
        RunRecords(
            info=folder.read_info(),
            status=folder.read_status(),
            train=read.train,
            evaluation=read.evaluation,
            seconds=read.seconds,
            events=tuple(read_events(folder.events_path)),
            rollbacks=tuple(read_rollbacks(folder.rollbacks_path)),
            samples_path=folder.samples_path,
        )
        for folder, read in zip(folders, columns, strict=True)
    ]


def group_by_arm(runs: Iterable[RunRecords]) -> tuple[ArmRecords, ...]:
    """Arms in order of appearance."""
    arms: dict[str, list[RunRecords]] = {}
    for run in runs:
        arms.setdefault(run.info.arm, []).append(run)
    return tuple(
        ArmRecords(name=name, method=own[0].info.method, runs=tuple(own)) for name, own in arms.items()
    )


def loop_names(run: RunRecords) -> list[str]:
    """The loops that left a trace, in the order of the configuration."""
    matches = [re.fullmatch(r"loop/([^/]+)/u", name) for name in run.train.values]
    traced = {match[1] for match in matches if match}
    configured = [name for name in run.info.config.get("loops") or {} if name in traced]
    return configured + sorted(traced - set(configured))


def terms(run: RunRecords, loop: str) -> list[str]:
    """Names of the terms of a loop's law."""
    prefix = f"loop/{loop}/term/"
    return [name.removeprefix(prefix) for name in run.train.values if name.startswith(prefix)]


def setpoint(run: RunRecords) -> Array:
    """r of the main loop [unit of its sensor]."""
    return run.train.get(f"loop/{run.main_loop}/r")


def entropy_setpoint(run: RunRecords) -> Array:
    """r of the main loop [nats/token]; nan where that holds something else."""
    r = setpoint(run)
    return r if holds_entropy(sensor(run)) else np.full_like(r, np.nan)


def measured(run: RunRecords) -> Array:
    """y of the main loop: its sensor after the filter."""
    return run.train.get(f"loop/{run.main_loop}/y")


def sensor(run: RunRecords) -> str:
    """Name of what the main loop reads; "" without a loop."""
    loop = (run.info.config.get("loops") or {}).get(run.main_loop) or {}
    return str(loop.get("sensor", ""))


def holds_entropy(sensor: str) -> bool:
    """Whether a loop with this sensor holds entropy, or a part of it, in nats; an unknown sensor is taken for one."""
    return sensor.partition("/")[0] in ("", "entropy")


def sensed(run: RunRecords) -> Array:
    """The main loop's sensor before the filter: a filter must not flatter the tracking error."""
    raw = run.train.get(sensor(run))
    return raw if np.isfinite(raw).any() else measured(run)
