"""Stage two on this machine: worker processes are watched while their records go to MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from rich.console import Console

from orchestrator.campaign import POLL_SECONDS
from orchestrator.collected_signals import collected_signals
from orchestrator.execution.devices import device_setting, share_of_slot, visible_gpus
from orchestrator.execution.identity import is_gone
from orchestrator.execution.local import Local
from orchestrator.execution.runs import STOP_SECONDS
from orchestrator.storage.files import read_json
from orchestrator.storage.run_folder import CampaignFolder, RunFolder, RunState
from orchestrator.tuning.attempts import (
    CONFIRMS,
    OUTCOME,
    PROCESS,
    REASON,
    REPLACED,
    SURPLUS,
    UNTRAINED,
    counted,
    folder_name,
    num_open,
    trial_name,
)
from orchestrator.tuning.space import written
from orchestrator.tuning.storage import storage_failures, why
from orchestrator.tuning.study import Study
from orchestrator.tuning.winner import figures

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 143
TRACKING_KEY = "entrostat.tracking_key"
WORKER = ("-P", "-m", "orchestrator.tuning.worker")
OVERRIDES = "ENTROSTAT_OVERRIDES"
"""Environment variable with the command's overrides of the study."""
GRACE_SECONDS = 10.0
"""Added to the time that a worker gives its own run to save, before the worker is killed."""
LOOK_SECONDS = 1.0


class ShowsRuns(AbstractContextManager["ShowsRuns"], Protocol):
    """The part of a `Progress` that is needed."""

    def show(self, folders: Sequence[RunFolder], total: str) -> None: ...


class Training:
    """The training trials of a study, worked off by processes of this machine."""

    def __init__(
        self,
        study: Study,
        found: Any,
        folder: CampaignFolder,
        uri: str,
        overrides: Sequence[str],
        console: Console,
        progress: ShowsRuns,
    ) -> None:
        self._study = study
        self._found = found
        self._folder = folder
        self._uri = uri
        self._overrides = overrides
        self._console = console
        self._progress = progress
        seconds = study.config.budget.seconds
        self._is_silent = False
        self.experiment_id: str | None = None
        """MLflow's, of the study; known once this command has tracked it."""
        self._until = None if seconds is None else time.time() + seconds

    def run(self, then: Callable[[], tuple[Study, Any] | None], before_end: Callable[[], None]) -> int:
        """Work until the budget is used up and the best are confirmed; give the exit status.

        Args:
            then: is called when the trials have ended; gives the study of their confirmations, or None.
            before_end: is called when those have ended too, before MLflow gets what is on disk.
        """
        from orchestrator.tracking.tracker import Tracker

        lock = FileLock(self._folder.path / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            self._warn("another command tracks this study from here already; this one adds workers to it")
            status = self._work_both(then)
            before_end()
            return status
        try:
            tracker = Tracker(
                self._folder,
                self._uri,
                warn=self._warn,
                artifacts=False,
                models=False,
                system_metrics=self._study.campaign.config.tracking.system_metrics,
            )
            tracker.forward()  # makes the study's MLflow run before any worker could
            self._share_tracking_key()
            tracker.start()
            state: RunState = "interrupted"
            try:
                status = self._work_both(then)
                before_end()
                state = "done" if status == EXIT_DONE else "interrupted"
            finally:
                for message in tracker.finish(state):
                    self._warn(message)
                self.experiment_id = tracker.experiment_id
        finally:
            lock.release()
        return status

    def _work_both(self, then: Callable[[], tuple[Study, Any] | None]) -> int:
        status = self._work(self._study, self._found)
        if status != EXIT_DONE or (confirming := then()) is None:
            return status
        return self._work(*confirming, "--confirm")

    def _work(self, study: Study, found: Any, *how: str) -> int:
        finished = Finished(study, found, self._console)
        self._announce_running(found)
        workers = {index: self._start(index, *how) for index in range(self._study.config.workers)}
        next_look = 0.0
        with collected_signals() as received, self._progress:
            try:
                while not received and any(each.poll() is None for each in workers.values()):
                    time.sleep(POLL_SECONDS)
                    if time.monotonic() >= next_look:
                        self._look(finished, study, found)
                        next_look = time.monotonic() + LOOK_SECONDS
            finally:
                _stop(list(workers.values()))
                self._look(finished, study, found)
        if received:
            name = signal.Signals(received[0]).name
            self._warn(f"stopped by {name}; trials are saved and the same command again continues")
            return EXIT_INTERRUPTED
        return self._status(study, found, workers)

    def _announce_running(self, found: Any) -> None:
        """Say why trials that another machine has left do not go on at once."""
        if running := len(_at_work(found.get_trials(deepcopy=False))):
            count = "1 trial runs" if running == 1 else f"{running} trials run"
            self._warn(
                f"{count} in other workers; a trial without a heartbeat for {self._study.config.stale_seconds} s goes "
                "on here"
            )

    def _look(self, finished: Finished, study: Study, found: Any) -> None:
        """Print the trials that have ended and show the runs that train now; the command goes on when the storage does not answer."""
        try:
            finished.print_new()
            trials = found.get_trials(deepcopy=False)
            self._is_silent = False
        except storage_failures() as error:
            if not self._is_silent:
                self._warn(f"storage: {why(error)}; the workers try again")
            self._is_silent = True
            return
        runs = (
            self._folder.run(folder_name(trial), seed) for trial in _at_work(trials) for seed in study.seeds
        )
        running = [run for run in runs if run.read_status().status == "running"]
        self._progress.show(running, f"{counted(trials)}/{study.config.budget.trials} trials begun")

    def _status(self, study: Study, found: Any, workers: dict[int, subprocess.Popen[bytes]]) -> int:
        dead = {index: each.returncode for index, each in workers.items() if each.returncode != 0}
        for index, code in dead.items():
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
            self._warn(f"worker {index} {how}; see {self._log(index)}")
        trials = found.get_trials(deepcopy=False)
        if dead and (num_open(trials) or counted(trials) < study.config.budget.trials):
            self._warn("not all trials are done; the same command again continues")
            return EXIT_FAILED
        return EXIT_DONE

    def _start(self, index: int, *how: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, *WORKER, str(self._study.path), "--index", str(index), *how]
        command += [] if self._until is None else ["--until", str(self._until)]
        with self._log(index).open("ab") as log:
            return subprocess.Popen(  # nosec B603  # a list of our own, no shell
                command,
                # When this process is gone the pipe closes: the worker saves, lets go of its trial and ends.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Every user of this machine can read a command line, and overrides may have credentials.
                env=os.environ
                | self._gpus(index)
                | {"OMP_NUM_THREADS": "1", OVERRIDES: json.dumps(list(self._overrides))},
                # A Ctrl-C reaches this process only, which tells the workers in its own time.
                start_new_session=True,
            )

    def _gpus(self, index: int) -> dict[str, str]:
        """The GPUs of a worker whose runs are executed on this machine; a cluster has its own way to say it."""
        if not isinstance(self._study.campaign.config.execution.executor, Local):
            return {}
        learner = self._study.arm.config.learner
        if learner.accelerator == "cpu":
            return {}
        return device_setting(
            share_of_slot(visible_gpus(), index, self._study.config.workers, learner.devices)
        )

    def _log(self, index: int) -> Path:
        return self._folder.path / f"worker-{index}.txt"

    def _share_tracking_key(self) -> None:
        """Let other machines put their trials below the same MLflow run."""
        path = self._folder.path / "tracking.json"
        if path.exists() and TRACKING_KEY not in self._found.user_attrs:
            self._found.set_user_attr(TRACKING_KEY, read_json(path)["key"])

    def _warn(self, message: str) -> None:
        self._console.print(message, markup=False, soft_wrap=True, highlight=False)


class Finished:
    """Prints a line for each training trial that has ended since the last look."""

    def __init__(self, study: Study, found: Any, console: Console) -> None:
        self._study = study
        self._found = found
        self._console = console
        self._known = {trial.number for trial in self._ended()}

    def print_new(self) -> None:
        """Print the trials that have ended since the last call."""
        for trial in self._ended():
            if trial.number in self._known:
                continue
            self._known.add(trial.number)
            if trial.user_attrs.get(OUTCOME) in (SURPLUS, UNTRAINED):
                continue
            reason = trial.user_attrs.get(REASON, "")
            is_replaced = trial.user_attrs.get(OUTCOME) == REPLACED
            state = "continues as another attempt" if is_replaced else trial.state.name.lower()
            line = [
                trial_name(trial.number, trial.user_attrs.get(CONFIRMS)),
                state,
                figures(self._study.criteria, trial.values) if trial.state.name == "COMPLETE" else "",
                written(trial.params, self._study.config.space),
                reason,
            ]
            self._console.print(
                "  ".join(part for part in line if part), highlight=False, markup=False, soft_wrap=True
            )

    def _ended(self) -> list[Any]:
        return [trial for trial in self._found.get_trials(deepcopy=False) if trial.state.is_finished()]


def _at_work(trials: Sequence[Any]) -> list[Any]:
    """The trials that run, but for those whose worker is known to be gone."""
    return [
        trial
        for trial in trials
        if trial.state.name == "RUNNING" and not is_gone(trial.user_attrs.get(PROCESS, ""))
    ]


def _stop(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Tell the workers to save and let go, and wait; kill those that take too long."""
    for each in workers:
        if each.poll() is None:
            each.terminate()
    deadline = time.monotonic() + STOP_SECONDS + GRACE_SECONDS
    for each in workers:
        try:
            each.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            each.kill()
            each.wait()
        if each.stdin is not None:
            each.stdin.close()
