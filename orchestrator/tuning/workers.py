"""The workers of a study: each works on one trial, all in one process, as every run is a process of its own anyway.

They take trials from the storage until the budget is used up.  When their process is killed, that of another command
continues the trials that they were at; told to stop, they save and put their trials back into the queue first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from orchestrator.campaign import CONTINUE, POLL_SECONDS
from orchestrator.errors import ConfigError, one_line
from orchestrator.execution.base import Crew, Ending, ExecutorError
from orchestrator.execution.credentials import ANY_ARM, lent
from orchestrator.execution.runs import settle_run
from orchestrator.storage.inputs import said
from orchestrator.storage.run_folder import CampaignFolder
from orchestrator.tuning.judging import judge
from orchestrator.tuning.records import changed_inputs
from orchestrator.tuning.space import Params, suggest
from orchestrator.tuning.storage import storage_failures, why
from orchestrator.tuning.study import Study
from orchestrator.tuning.study_storage import StudyStorage
from orchestrator.tuning.trial import TrainedTrial, TrialEnding
from orchestrator.tuning.trial_mlflow import TrialRuns
from orchestrator.tuning.trial_notes import (
    CONFIRMS,
    FOLDER,
    OUTCOME,
    PREDICTED,
    RANK,
    REASON,
    SAVED,
    UNTRAINED,
    folder_name,
)
from orchestrator.tuning.trial_queue import Claim, Heartbeat, TrialQueue

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 143
WAIT_SECONDS = 1.0
"""Between two looks into the queue for a worker that has nothing to do."""
RETRY_SECONDS = 5.0
"""Between two attempts at a storage that does not answer."""
OUTAGE_SECONDS = 300.0
"""Longest time without an answer before the workers end."""
OVER_BUDGET = "the budget is used up"


@dataclass(frozen=True, slots=True)
class AtWork:
    """A trial that a worker is at, in steps from one wait for its run to the next."""

    claim: Claim
    steps: Generator[None, None, None]


class Workers:
    """Work off trials of a study, as many at the same time as the study says.

    Args:
        study: what is tuned.
        optuna_study: its Optuna study.
        storage: where that is.
        runs: makes a trial's MLflow run, so that both know of each other.
        tell: is told what the user should know.
        until: seconds since 1970 after which no trial begins; None is never.
    """

    def __init__(
        self,
        study: Study,
        optuna_study: Any,
        storage: StudyStorage,
        runs: TrialRuns,
        *,
        tell: Callable[[str], None] = print,
        until: float | None = None,
    ) -> None:
        self._study = study
        self._optuna = optuna_study
        self._storage = storage
        self._runs = runs
        self._tell = tell
        self._until = until
        self._queue = TrialQueue(
            optuna_study, storage, None if study.is_confirmation else study.config.budget.trials
        )
        self._at_work: list[AtWork] = []
        self._left: list[Claim] = []
        """Trials in the middle of which the storage or the executor failed; they are let go of as soon as that works."""
        self._is_told_to_stop = self._is_failed = self._has_changed_inputs = False
        self._failing_since: float | None = None
        self._next_look = 0.0

    def run(self, is_told: Callable[[], Any] = lambda: False, look: Callable[[], None] = lambda: None) -> int:
        """Work until no trial is left; give the exit status.

        Args:
            is_told: is asked between two steps whether to save, to put the trials back into the queue and to end.
            look: is called after every step.
        """
        execution, num = self._study.campaign.config.execution, self._study.config.workers
        threads = execution.threads_of_a_run([self._study.arm.config.policy], num)
        try:
            with (
                lent({ANY_ARM: self._study.arm.plain}),
                execution.executor.connect(self._study.folder, threads) as crew,
            ):
                while not (self._is_failed or is_told() or self._round(crew)):
                    look()
                    time.sleep(POLL_SECONDS)
                self._end()
        except ExecutorError as error:
            self._lose(error)
        if self._is_failed or self._has_changed_inputs:
            return EXIT_FAILED
        return EXIT_INTERRUPTED if is_told() else EXIT_DONE

    def _round(self, crew: Crew) -> bool:
        """Take every trial a step further and begin others; whether nothing is left to do."""
        for trial in list(self._at_work):
            self._step(trial)
        is_busy = len(self._at_work) == self._study.config.workers
        if self._is_failed or is_busy or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + WAIT_SECONDS
        try:
            return self._take(crew)
        except storage_failures() as error:
            self._wait(error)
            return False

    def _step(self, trial: AtWork) -> None:
        try:
            next(trial.steps)
            return
        except (
            StopIteration,
            UpdateFinishedTrialError,
        ):  # or another has ended it while this worker was silent
            self._next_look = 0.0
        except storage_failures() as error:
            self._left.append(trial.claim)
            self._wait(error)
        except ExecutorError as error:
            self._left.append(trial.claim)
            self._lose(error)
        self._at_work.remove(trial)

    def _take(self, crew: Crew) -> bool:
        """Take trials for the workers that have none; whether nothing is left to do."""
        self._let_go_of_left()
        for trial, reason in self._queue.tidy(
            self._study.config.retries,
            lambda trial: self._saved(folder_name(trial)) != trial.user_attrs.get(SAVED, 0),
        ):
            self._give_up(trial, reason)
        while self._may_begin and len(self._at_work) < self._study.config.workers and self._queue.has_next:
            if changed := changed_inputs(self._study, self._optuna):
                self._tell(
                    f"what trials read has changed: {said(changed)}; give the command again for what to do"
                )
                self._has_changed_inputs = True
            elif (claim := self._queue.take()) is not None:  # else another worker was faster
                # A full disk answers what is read, so only what was written ends an outage.
                self._failing_since = None
                self._at_work.append(AtWork(claim, self._work(claim, crew)))
        if self._at_work:
            return False
        self._failing_since = None
        if self._may_begin and any(trial.state.name == "RUNNING" for trial in self._queue.trials):
            return False  # others are at the last trials, and one of them may die
        for trial in self._queue.left_out:
            self._give_up(trial, OVER_BUDGET)
        return True

    @property
    def _may_begin(self) -> bool:
        is_late = self._until is not None and time.time() > self._until
        return not (is_late or self._has_changed_inputs)

    def _wait(self, error: Exception) -> None:
        """Leave a storage that does not answer alone for a while, or end where it has not answered for too long."""
        now = time.monotonic()
        self._next_look = now + RETRY_SECONDS
        if self._failing_since is None:
            self._failing_since = now
            self._tell(f"storage: {why(error)}; trying again for {OUTAGE_SECONDS:g} s")
        if now - self._failing_since > OUTAGE_SECONDS and not self._is_failed:
            self._tell(f"storage: {why(error)}; check it, and {CONTINUE}")
            self._is_failed = True

    def _lose(self, error: ExecutorError) -> None:
        if not self._is_failed:
            self._tell(f"{error}; {CONTINUE}")
        self._is_failed = True

    def _end(self) -> None:
        """Let every worker save and put its trial back into the queue."""
        self._is_told_to_stop = True
        while self._at_work:
            for trial in list(self._at_work):
                self._step(trial)
            time.sleep(POLL_SECONDS)
        with suppress(*storage_failures()):  # else its trial waits until this process is gone
            self._let_go_of_left()

    def _let_go_of_left(self) -> None:
        while self._left:
            self._queue.let_go(self._left[0])
            del self._left[0]

    def _give_up(self, trial: Any, reason: str) -> None:
        """Say in the trial's folder that nothing goes on with it; the tracker tells MLflow."""
        folder = CampaignFolder(self._study.folder)
        name = folder_name(trial)
        for seed in self._study.seeds:
            if (run := folder.run(name, seed)).path.exists():
                settle_run(run, Ending(how=reason, is_lost=True))
        self._runs.give_up(folder.path / name, reason)

    def _saved(self, name: str) -> int:
        """When the checkpoints of a trial were written, in one number that any new one changes [ns]."""
        runs = (CampaignFolder(self._study.folder).run(name, seed) for seed in self._study.seeds)
        return sum(run.checkpoint_path.stat().st_mtime_ns for run in runs if run.checkpoint_path.exists())

    def _work(self, claim: Claim, crew: Crew) -> Generator[None, None, None]:
        with Heartbeat(self._storage, claim) as heartbeat:
            trial = self._queue.trial(claim)
            with self._storage.alone(self._optuna):  # some samplers learn from a part of a trial's parameters
                params = suggest(trial, self._study.config.space)
            try:
                ending = yield from self._train(trial, params, heartbeat, crew)
            except ConfigError as error:  # each of its parameters is valid, and together they are not
                self._queue.fail(claim, one_line(error))
                self._give_up(self._storage.get_trial(claim.trial_id), one_line(error))
                return
            if ending.state == "stopped":
                self._queue.let_go(claim)
            elif ending.state == "failed":
                self._queue.fail(claim, ending.reason)
            else:
                self._queue.close(claim, lambda: self._write(trial, ending))

    def _train(
        self, trial: Any, params: Params, heartbeat: Heartbeat, crew: Crew
    ) -> Generator[None, None, TrialEnding]:
        def interrupted() -> str:
            if heartbeat.is_lost:
                return "another worker continues the trial"
            return "told to stop" if self._is_told_to_stop else ""

        frozen = self._storage.get_trial(trial._trial_id)
        name = folder_name(frozen)
        trained = TrainedTrial(
            self._study,
            trial,
            params,
            name,
            crew=crew,
            interrupted=interrupted,
            reported=frozen.intermediate_values,
        )
        trial.set_user_attr(FOLDER, name)
        trial.set_user_attr(SAVED, self._saved(name))
        if self._study.config.simulation is not None:
            values = judge(self._study, [params])[0].values
            trial.set_user_attr(PREDICTED, [value if isfinite(value) else None for value in values])
        attributes = frozen.user_attrs
        self._runs.begin(trained.path, trial, params, attributes.get(RANK), attributes.get(CONFIRMS))
        ending = yield from trained.run()
        if not heartbeat.is_lost:  # else another says how it ended
            self._runs.end(trained.path, ending, self._study)
        return ending

    def _write(self, trial: Any, ending: TrialEnding) -> None:
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
