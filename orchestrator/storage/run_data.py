"""The records of a campaign's runs as arrays: reads folders, writes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from orchestrator.storage.metrics_log import Kind, Record
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo, Status

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Records of one kind as columns: `values[name][i]` belongs to `steps[i]`, nan where left out."""

    steps: NDArray[np.int64]
    values: dict[str, Array]

    def get(self, name: str) -> Array:
        """One metric over the steps; all nan where it was never measured."""
        return self.values.get(name, np.full(self.steps.shape, nan))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run, read."""

    info: RunInfo
    status: Status
    train: Series
    evaluation: Series
    seconds: float
    """From its first to its last record, interruptions included."""

    @property
    def name(self) -> str:
        return f"{self.info.arm} seed {self.info.seed}"

    @property
    def done(self) -> bool:
        return self.status.status == "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """The runs of one arm that differ in nothing but the seed."""

    name: str
    method: str
    runs: tuple[Run, ...]

    @property
    def done(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.done)

    @property
    def shown(self) -> tuple[Run, ...]:
        """The runs that curves are drawn from: the finished ones, or all while none is."""
        return self.done or self.runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """All that is known of a campaign."""

    info: CampaignInfo
    arms: tuple[Arm, ...]

    @property
    def runs(self) -> list[Run]:
        return [run for arm in self.arms for run in arm.runs]


def load_campaign(folder: CampaignFolder) -> Campaign:
    """Read every run of a campaign folder, whatever state it is in."""
    arms: dict[str, list[Run]] = {}
    for run_folder in folder.runs():
        records = run_folder.records()
        info = run_folder.read_info()
        status = run_folder.read_status()
        times = [record.time for record in records]
        run = Run(
            info=info,
            status=status,
            train=to_series(records, "train"),
            evaluation=to_series(records, "eval"),
            seconds=max(times) - min(times) if times else nan,
        )
        arms.setdefault(info.arm, []).append(run)
    grouped = [Arm(name=name, method=runs[0].info.method, runs=tuple(runs)) for name, runs in arms.items()]
    return Campaign(info=folder.read_info(), arms=tuple(grouped))


def to_series(records: Sequence[Record], kind: Kind) -> Series:
    """Columns of the records of one kind."""
    rows = [record for record in records if record.kind == kind]
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    return Series(
        steps=np.array([row.step for row in rows], dtype=np.int64),
        values={name: np.array([row.metrics.get(name, nan) for row in rows]) for name in names},
    )


def loop_names(run: Run) -> list[str]:
    """The loops that left a trace, in the order of the configuration."""
    traced = {name.split("/")[1] for name in run.train.values if re.fullmatch(r"loop/[^/]+/u", name)}
    configured = [name for name in run.info.config.get("loops") or {} if name in traced]
    return configured + sorted(traced - set(configured))


def main_loop(run: Run) -> str:
    """The first loop that has a setpoint, or else the first; "" without any."""
    names = loop_names(run)
    with_setpoint = [name for name in names if np.isfinite(run.train.get(f"loop/{name}/r")).any()]
    return (with_setpoint or names or [""])[0]


def terms(run: Run, loop: str) -> list[str]:
    """Names of the terms of a loop's law."""
    prefix = f"loop/{loop}/term/"
    return [name.removeprefix(prefix) for name in run.train.values if name.startswith(prefix)]


def setpoint(run: Run) -> Array:
    """r of the main loop [nats/token]."""
    return run.train.get(f"loop/{main_loop(run)}/r")


def measured(run: Run) -> Array:
    """y of the main loop: its sensor after the filter."""
    return run.train.get(f"loop/{main_loop(run)}/y")


def sensed(run: Run) -> Array:
    """The main loop's sensor before the filter: a filter must not flatter the tracking error."""
    loop = (run.info.config.get("loops") or {}).get(main_loop(run)) or {}
    raw = run.train.get(str(loop.get("sensor", "")))
    return raw if np.isfinite(raw).any() else measured(run)
