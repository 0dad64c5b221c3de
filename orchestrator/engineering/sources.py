"""Finds records: the runs of a campaign or of a run id, then one arm and one loop of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.laws.auto import Auto
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.resolve import parse, read_campaign
from orchestrator.configuration.stored import stored_timing
from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.masking import hides, mask_uri
from orchestrator.storage.run_data import ArmRecords, RunRecords
from orchestrator.storage.run_folder import CampaignInfo
from orchestrator.tracking.addresses import is_sqlite, sqlite_path
from orchestrator.tracking.named_runs import named_runs, stored_campaign
from orchestrator.tracking.store import default_uri
from policies.statistics.sensors import SIGNALS

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Runs, and the tracking URI beside which what is made of them belongs."""

    name: str
    runs: tuple[RunRecords, ...]
    uri: str

    @property
    def arms(self) -> dict[str, ArmRecords]:
        """The arms of the runs by name."""
        names = dict.fromkeys(run.info.arm for run in self.runs)
        arms = {name: tuple(run for run in self.runs if run.info.arm == name) for name in names}
        return {
            name: ArmRecords(name=name, method=runs[0].info.method, runs=runs) for name, runs in arms.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One loop of one arm, with the runs that it was in."""

    campaign: str
    arm: str
    loop: str
    config: LoopConfig
    runs: tuple[RunRecords, ...]
    notes: tuple[str, ...] = ()

    @property
    def learner(self) -> Mapping[str, Any]:
        """The learner's section of the runs' configuration."""
        learner: Mapping[str, Any] = self.runs[0].info.config.get("learner") or {}
        return learner

    @property
    def timing(self) -> dict[str, Any]:
        """What decided how long the runs' commands waited."""
        return stored_timing(self.runs[0].info.config)

    @property
    def where(self) -> str:
        """What an error message begins with."""
        return f"{self.campaign}: arm {self.arm!r}, loop {self.loop!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """One run's signals at every iteration [T]; nan where there was none."""

    name: str
    iterations: NDArray[np.int64]
    y: Array
    """The sensor's reading before the filter, which belongs to the loop [nats/token]."""
    u: Array
    """Command that was applied [actuator's unit]."""
    r: Array
    """Reference [nats/token]."""
    dither: Array
    """The dither's share of the command; 0 where the loop has none, nan where it said none [actuator's unit]."""


def tracking_of(folder: Path, campaign: str, uri: str | None, recorded: str | None = None) -> str:
    """The tracking URI given, or that of the stored campaign, or the one recorded with a plant, or the folder's own.

    Args:
        folder: where runs are kept.
        campaign: its name, or its path.
        uri: the user's choice.
        recorded: where the runs of a plant were tracked; it counts while it can be used from here.
    """
    if uri is not None:
        return uri
    if (stored := stored_campaign(campaign, folder)) is not None:
        info = stored.read_info()
        known = (info.config.get("tracking") or {}).get("uri")
        return _live(str(known), info) if known else default_uri(stored.path.parent)
    if recorded is None or hides(recorded) or (is_sqlite(recorded) and not sqlite_path(recorded).exists()):
        return default_uri(folder)
    return recorded


def _live(uri: str, info: CampaignInfo) -> str:
    """A stored tracking URI with its credentials, which stand in the campaign's file or its environment.

    Raises:
        ConfigError: they stand there no more.
    """
    if not hides(uri):
        return uri
    try:
        found = read_campaign(Path(info.source)).config.tracking.uri
    except (ConfigError, OSError):
        found = None
    if found is None or mask_uri(found) != uri:
        raise ConfigError(
            f"{info.name}: tracking.uri: {uri} is stored without its credentials, and {info.source} no longer has "
            "them; give --uri"
        )
    return found


def find_runs(name: str, *, folder: Path, uri: str | None) -> Source:
    """The runs that a name stands for, by the rule of `orchestrator.tracking.named_runs`.

    Raises:
        ConfigError: it stands for none.
    """
    found = named_runs(name, folder=folder, uri=uri, metrics=[*SIGNALS, "entropy/*", "loop/*"])
    return Source(name=name, runs=tuple(found.runs), uri=tracking_of(folder, name, uri))


def choose(source: Source, *, arm: str | None = None, loop: str | None = None) -> Chosen:
    """The arm and the loop to look at; without names, the only ones that have a dither, else the law ``auto``.

    Raises:
        ConfigError: the name is unknown, or there are several to choose from, or none.
    """
    arms = source.arms
    if arm is None:
        arm = _only_telling_arm(source.name, arms)
    if arm not in arms:
        raise ConfigError(f"{source.name}: no arm {arm!r}; {did_you_mean(arm, arms)}")
    runs = arms[arm].done or arms[arm].runs
    if not runs or not any(run.train.steps.size for run in runs):
        raise ConfigError(f"{source.name}: arm {arm!r} has no records yet; run the campaign first")
    loops = runs[0].info.config.get("loops") or {}
    if not loops:
        raise ConfigError(
            f"{source.name}: arm {arm!r} has no loop, so nothing moved a command; add a loop with a dither"
        )
    if loop is None:
        told = next(filter(None, ([n for n in loops if tells(loops[n])] for tells in _TELLING)), list(loops))
        if len(told) > 1:
            raise ConfigError(
                f"{source.name}: arm {arm!r} has several loops; choose one with --loop: {', '.join(told)}"
            )
        loop = told[0]
    if loop not in loops:
        raise ConfigError(f"{source.name}: arm {arm!r} has no loop {loop!r}; {did_you_mean(loop, loops)}")
    config = parse(LoopConfig, dict(loops[loop]), f"{source.name}: arms.{arm}.loops.{loop}")
    left_out = len(arms[arm].runs) - len(runs)
    notes = [f"{left_out} runs of {arm!r} are not finished and were left out"] if left_out else []
    if not arms[arm].done:
        notes.append(f"no run of {arm!r} is finished; records so far are used")
    return Chosen(
        campaign=runs[0].info.campaign or source.name,
        arm=arm,
        loop=loop,
        config=config,
        runs=runs,
        notes=tuple(notes),
    )


def signals(run: RunRecords, loop: str, config: LoopConfig) -> Signals:
    """The signals of one loop in one run, an entry for every iteration from the first to the last."""
    known = run.train.steps
    steps = np.arange(known[0], known[-1] + 1) if known.size else known

    def column(name: str) -> Array:
        values = np.full(steps.shape, np.nan)
        if known.size:
            values[known - known[0]] = run.train.get(name)
        return values

    y = column(config.reading)
    if not np.isfinite(y).any():
        y = column(f"loop/{loop}/y")
    dither = column(f"loop/{loop}/term/dither")
    return Signals(
        name=run.name,
        iterations=steps,
        y=y,
        u=column(f"loop/{loop}/u"),
        r=column(f"loop/{loop}/r"),
        dither=dither if config.dither is not None else np.zeros(steps.shape),
    )


def measurements(run: RunRecords, loop: str) -> Array:
    """What one loop measured at every iteration from 0 on, after its filter; nan where there is none."""
    steps = run.train.steps
    signal = np.full(int(steps[-1]) + 1 if steps.size else 0, np.nan)
    signal[steps] = run.train.get(f"loop/{loop}/y")
    return signal


def first_change(config: Mapping[str, Any]) -> int | None:
    """The iteration at which a phase of the run makes it another plant; None where none does."""
    starts = [int(phase.get("start", 0)) for phase in config.get("phases") or ()]
    return min((start for start in starts if start > 0), default=None)


def has_dither(loop: Mapping[str, Any]) -> bool:
    """Whether a known movement is in the command of a loop, by its settings."""
    return bool(loop.get("dither"))


def learns(loop: Mapping[str, Any]) -> bool:
    """Whether the law of a loop records what it learns of its actuator, by its settings."""
    return (loop.get("law") or {}).get("kind") == Auto.kind


_TELLING = (has_dither, learns)
"""What tells something of a plant, the best first."""


def _only_telling_arm(name: str, arms: Mapping[str, ArmRecords]) -> str:
    for tells, what in zip(_TELLING, ("a dither", "the law auto"), strict=True):
        told = [arm.name for arm in arms.values() if any(map(tells, _loops(arm.runs)))]
        if len(told) == 1:
            return told[0]
        if told:
            raise ConfigError(f"{name}: several arms have {what}; choose one with --arm: {', '.join(told)}")
    raise ConfigError(
        f"{name}: no arm has a dither, and without one the plant cannot be separated from its feedback; add "
        "`dither: {kind: prbs, amplitude: 0.1}` to a loop of a campaign and run it, or name an arm with --arm"
    )


def _loops(runs: Sequence[RunRecords]) -> list[Mapping[str, Any]]:
    return [loop for run in runs for loop in (run.info.config.get("loops") or {}).values()]
