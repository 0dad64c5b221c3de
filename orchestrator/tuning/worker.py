"""The process of one worker: ``python -m orchestrator.tuning.worker STUDY.yaml --index N``.

It takes trials from the storage until the budget is used up.  When it is killed, another continues the trial that it
was at; told to stop, it saves and puts the trial back into the queue first.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from orchestrator.errors import ConfigError
from orchestrator.execution.base import Crew, Ending, ExecutorError
from orchestrator.execution.credentials import ANY_ARM, lent
from orchestrator.execution.runs import settle_run
from orchestrator.masking import mask_output
from orchestrator.storage.inputs import said
from orchestrator.storage.run_folder import CampaignFolder
from orchestrator.tuning.attempts import (
    CONFIRMS,
    FAILED,
    FOLDER,
    OUTCOME,
    PREDICTED,
    RANK,
    REASON,
    UNTRAINED,
    folder_name,
)
from orchestrator.tuning.judging import judge
from orchestrator.tuning.records import changed_inputs
from orchestrator.tuning.space import suggest
from orchestrator.tuning.storage import storage_failures, why
from orchestrator.tuning.study import Study
from orchestrator.tuning.study_storage import StudyStorage
from orchestrator.tuning.trial import TrainedTrial, TrialEnding
from orchestrator.tuning.trial_mlflow import TrialRuns
from orchestrator.tuning.trial_queue import Heartbeat, TrialQueue

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 143
WAIT_SECONDS = 1.0
RETRY_SECONDS = 5.0
"""Between two attempts at a storage that does not answer."""
OUTAGE_SECONDS = 300.0
"""Longest time without an answer before the worker ends."""


class TrialWorker:
    """Works off trials of a study.

    Args:
        study: what is tuned.
        optuna_study: its Optuna study, opened by this process.
        storage: where that is.
        runs: makes a trial's MLflow run, so that both know of each other.
        until: seconds since 1970 after which no trial begins; None is never.
    """

    def __init__(
        self,
        study: Study,
        optuna_study: Any,
        storage: StudyStorage,
        runs: TrialRuns,
        *,
        until: float | None = None,
    ) -> None:
        self._study = study
        self._optuna = optuna_study
        self._storage = storage
        self._runs = runs
        self._until = until
        budget = None if study.is_confirmation else study.config.budget.trials
        self._queue = TrialQueue(optuna_study, storage, budget)
        self._execution = study.campaign.config.execution
        self._stop = threading.Event()
        self._held: int | None = None
        self._failing_since: float | None = None
        self._has_failed = False

    def stop(self, *_: object) -> None:
        """Save, put the trial back into the queue and end."""
        self._stop.set()

    def run(self) -> int:
        """Take trials until none is left; give the exit status."""
        policy, num_workers = self._study.arm.config.policy, self._study.config.workers
        threads = self._execution.threads_of_a_run([policy], num_workers)
        try:
            with (
                lent({ANY_ARM: self._study.arm.plain}),
                self._execution.executor.connect(self._study.folder, threads) as crew,
            ):
                return self._work_off(crew)
        except ExecutorError as error:
            print(error)
            with suppress(*storage_failures()):  # else its trial waits until it is stale
                if self._held is not None:
                    self._let_go()
            return EXIT_FAILED

    def _work_off(self, crew: Crew) -> int:
        while not self._stop.is_set():
            try:
                if self._go_on(crew):
                    return EXIT_FAILED if self._has_failed else EXIT_DONE
            except UpdateFinishedTrialError:  # while it was silent another worker has taken its trial over
                self._held = None
            except storage_failures() as error:
                if not self._stop.is_set() and not self._outlasts(error):
                    return EXIT_FAILED
        return EXIT_INTERRUPTED

    def _go_on(self, crew: Crew) -> bool:
        """Work on one trial, or wait for those of others; whether nothing is left to do."""
        if self._held is not None:  # the storage failed in the middle of that trial, and may still do
            self._let_go()
        for left, reason in self._queue.tidy(self._study.config.retries):
            self._give_up(left, reason)
        is_late = self._until is not None and time.time() > self._until
        if not is_late and self._queue.has_next:
            if changed := changed_inputs(self._study, self._optuna):
                print(f"what trials read has changed: {said(changed)}; give the command again for what to do")
                self._has_failed = True
                return True
            self._held = self._queue.take()
            if self._held is not None:  # else another worker was faster
                # A full disk answers what is read, so only what was written ends an outage.
                self._failing_since = None
                self._work(self._held, crew)
            return False
        self._failing_since = None
        if is_late or not any(trial.state.name == "RUNNING" for trial in self._queue.trials):
            return True
        self._stop.wait(WAIT_SECONDS)  # others are at the last trials, and one of them may die
        return False

    def _outlasts(self, error: Exception) -> bool:
        """Wait for a storage that does not answer; whether to try again."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            print(f"storage: {why(error)}; trying again for {OUTAGE_SECONDS:g} s")
        if now - self._failing_since > OUTAGE_SECONDS:
            print(f"storage: {why(error)}; check it, and the same command again continues")
            return False
        self._stop.wait(RETRY_SECONDS)
        return True

    def _give_up(self, trial: Any, reason: str) -> None:
        """Say in the trial's folder that nothing goes on with it; the tracker tells MLflow."""
        folder = CampaignFolder(self._study.folder)
        name = folder_name(trial)
        for seed in self._study.seeds:
            if (run := folder.run(name, seed)).path.exists():
                settle_run(run, Ending(how=reason, is_lost=True))
        self._runs.give_up(folder.path / name, reason)

    def _work(self, trial_id: int, crew: Crew) -> None:
        with Heartbeat(self._storage, trial_id) as heartbeat:
            trial = self._queue.trial(trial_id)
            params = suggest(trial, self._study.config.space)
            ending = self._train(trial, params, heartbeat, crew)
            if not heartbeat.is_lost:
                self._let_go() if ending.state == "stopped" else self._tell(trial, ending)
        self._held = None

    def _let_go(self) -> None:
        """Put the trial back into the queue; whatever the storage raises, it is still held."""
        assert self._held is not None
        self._queue.let_go(self._held)
        self._held = None

    def _train(self, trial: Any, params: dict[str, Any], heartbeat: Heartbeat, crew: Crew) -> TrialEnding:
        def interrupted() -> str:
            if heartbeat.is_lost:
                return "another worker continues the trial"
            return "told to stop" if self._stop.is_set() else ""

        frozen = self._storage.get_trial(trial._trial_id)
        name = folder_name(frozen)
        trained = TrainedTrial(self._study, trial, params, name, crew=crew, interrupted=interrupted)
        trial.set_user_attr(FOLDER, name)
        if self._study.config.simulation is not None:
            values = judge(self._study, [params])[0].values
            trial.set_user_attr(PREDICTED, [value if isfinite(value) else None for value in values])
        attributes = frozen.user_attrs
        self._runs.begin(trained.path, trial, params, attributes.get(RANK), attributes.get(CONFIRMS))
        ending = trained.run()
        if not heartbeat.is_lost:  # else another says how it ended
            self._runs.end(trained.path, ending, self._study)
        return ending

    def _tell(self, trial: Any, ending: TrialEnding) -> None:
        if ending.state == "failed":
            self._queue.end(trial._trial_id, FAILED, ending.reason)
            return
        with self._queue.ending():
            self._queue.still_open(trial._trial_id)
            if ending.reason:
                trial.set_user_attr(REASON, ending.reason)
            if ending.state == "untrained":
                trial.set_user_attr(OUTCOME, UNTRAINED)
            for name, violation in ending.score.violations.items():
                trial.set_constraint(name, violation)
            if ending.state == "complete":
                self._optuna.tell(trial, list(ending.score.values))
            else:
                self._optuna.tell(trial, state=TrialState.PRUNED)


def main(arguments: list[str]) -> int:
    """Read the study again, open its storage and work."""
    from orchestrator.tracking.tracker import Tracker
    from orchestrator.training.worker import stop_with_parent
    from orchestrator.tuning.confirmation import continue_confirmation
    from orchestrator.tuning.records import open_for, open_study, url_of
    from orchestrator.tuning.study_file import read_study
    from orchestrator.tuning.training import OVERRIDES

    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument("--index", type=int, required=True, help="shows in the list of processes")
    parser.add_argument("--until", type=float)
    parser.add_argument("--confirm", action="store_true", help="train the best trials again on fresh seeds")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    given = parser.parse_args(arguments)
    try:
        study = read_study(given.study, [*json.loads(os.environ.pop(OVERRIDES, "[]")), *given.overrides])
        url, uri = url_of(study), study.campaign.tracking_uri
        storage = open_for(study, url, uri)
        found = open_study(study, storage)
        if given.confirm:
            study, found = continue_confirmation(study, storage)
    except ConfigError as error:
        print(error)
        return EXIT_FAILED
    runs = TrialRuns(Tracker(CampaignFolder(study.folder), uri, warn=print), url)
    worker = TrialWorker(study, found, storage, runs, until=given.until)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.stop)
    threading.Thread(target=stop_with_parent, daemon=True).start()
    return worker.run()


if __name__ == "__main__":
    mask_output()
    sys.exit(main(sys.argv[1:]))
