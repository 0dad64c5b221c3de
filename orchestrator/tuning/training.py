"""Stage two as the command sees it: records go to MLflow, and the user is told what happens."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from filelock import FileLock, Timeout
from rich.console import Console

from orchestrator.campaign import CONTINUE
from orchestrator.collected_signals import collected_signals
from orchestrator.execution.identity import is_gone
from orchestrator.storage.files import read_json
from orchestrator.storage.run_folder import CampaignFolder, RunFolder
from orchestrator.tuning.space import written
from orchestrator.tuning.storage import storage_failures
from orchestrator.tuning.study import Study
from orchestrator.tuning.trial_notes import (
    CONFIRMS,
    OUTCOME,
    PROCESS,
    REASON,
    UNTRAINED,
    counted,
    folder_name,
    trial_name,
)
from orchestrator.tuning.winner import figures
from orchestrator.tuning.workers import Workers

TRACKING_KEY = "entrostat.tracking_key"
LOOK_SECONDS = 1.0


class ShowsRuns(AbstractContextManager["ShowsRuns"], Protocol):
    """The part of a `Progress` that is needed."""

    def show(self, folders: Sequence[RunFolder], total: str) -> None: ...


@dataclass(slots=True)
class Tracking:
    """The way of a study's records to MLflow."""

    is_done: bool = False
    """Whether the study has come to its end; set by what trains it."""
    experiment_id: str | None = None
    """MLflow's, of the study; known once this command has tracked it."""


@contextmanager
def tracked(
    study: Study, found: Any, folder: CampaignFolder, uri: str, warn: Callable[[str], None]
) -> Iterator[Tracking]:
    """Meanwhile what is on disk goes to MLflow, by one command of this machine, and at the end all of it."""
    from orchestrator.tracking.tracker import Tracker

    tracking, lock = Tracking(), FileLock(folder.path / "lock", timeout=0)
    try:
        acquired = lock.acquire()
    except Timeout:
        warn("another command tracks this study from here already; this one adds workers to it")
        yield tracking
        return
    with acquired:
        tracker = Tracker(
            folder,
            uri,
            warn=warn,
            artifacts=False,
            models=False,
            system_metrics=study.campaign.config.tracking.system_metrics,
        )
        tracker.forward()  # makes the study's MLflow run before any worker could
        _share_tracking_key(found, folder)
        tracker.start()
        try:
            yield tracking
        finally:
            for message in tracker.finish("done" if tracking.is_done else "interrupted"):
                warn(message)
            tracking.experiment_id = tracker.experiment_id


class Training:
    """The training trials as the user sees them: those that have ended, a line each, and the runs that train now."""

    def __init__(self, study: Study, found: Any, console: Console, progress: ShowsRuns) -> None:
        self._study = study
        self._found = found
        self._console = console
        self._progress = progress
        self._known = {trial.number for trial in self._trials() if trial.state.is_finished()}
        self._next_look = 0.0

    def run(self, workers: Workers) -> int:
        """Let the workers work; give their exit status."""
        self._announce_others()
        with collected_signals() as received, self._progress:
            status = workers.run(lambda: received, self.look)
            self.look(now=True)
        if received:
            self._say(f"stopped by {signal.Signals(received[0]).name}; trials are saved and {CONTINUE}")
        return status

    def _announce_others(self) -> None:
        """Say why trials that another machine has left do not go on at once."""
        if running := len(_at_work(self._trials())):
            count = "1 trial runs" if running == 1 else f"{running} trials run"
            self._say(
                f"{count} in other workers; a trial without a heartbeat for {self._study.config.stale_seconds} s goes "
                "on here"
            )

    def look(self, *, now: bool = False) -> None:
        """Bring what is seen up to date, not too often; it stays as it is while the storage does not answer."""
        if not now and time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        with suppress(*storage_failures()):  # which the workers tell
            trials = self._trials()
            for trial in trials:
                if trial.state.is_finished() and trial.number not in self._known:
                    self._known.add(trial.number)
                    self._tell_ended(trial)
            folder = CampaignFolder(self._study.folder)
            runs = [
                folder.run(folder_name(trial), seed)
                for trial in _at_work(trials)
                for seed in self._study.seeds
            ]
            running = [run for run in runs if run.read_status().status == "running"]
            self._progress.show(running, f"{counted(trials)}/{self._study.config.budget.trials} trials begun")

    def _tell_ended(self, trial: Any) -> None:
        if trial.user_attrs.get(OUTCOME) == UNTRAINED:
            return
        line = [
            trial_name(trial.number, trial.user_attrs.get(CONFIRMS)),
            trial.state.name.lower(),
            figures(self._study.criteria, trial.values) if trial.state.name == "COMPLETE" else "",
            written(trial.params, self._study.config.space),
            trial.user_attrs.get(REASON, ""),
        ]
        self._say("  ".join(part for part in line if part))

    def _say(self, message: str) -> None:
        self._console.print(message, markup=False, soft_wrap=True, highlight=False)

    def _trials(self) -> list[Any]:
        trials: list[Any] = self._found.get_trials(deepcopy=False)
        return trials


def _at_work(trials: Sequence[Any]) -> list[Any]:
    """The trials that run, but for those whose worker is known to be gone."""
    return [
        trial
        for trial in trials
        if trial.state.name == "RUNNING" and not is_gone(trial.user_attrs.get(PROCESS, ""))
    ]


def _share_tracking_key(found: Any, folder: CampaignFolder) -> None:
    """Let other machines put their trials below the same MLflow run."""
    path = folder.path / "tracking.json"
    if path.exists() and TRACKING_KEY not in found.user_attrs:
        found.set_user_attr(TRACKING_KEY, read_json(path)["key"])
