"""The trials of an Optuna study, for workers side by side: they are taken, ended and put back, each once.

Every change is one transaction in which no other worker changes the same study.  So a worker that is killed has done
all of it or nothing, and of two workers at the same trial one comes second and finds that it has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState, create_trial

from orchestrator.execution.identity import is_gone, own_identity
from orchestrator.tuning.attempts import (
    FAILED,
    FIXED,
    HISTORY,
    MARKS,
    OUTCOME,
    PROCESS,
    REASON,
    REPLACED,
    RETRY_OF,
    ROOT,
    SURPLUS,
    counted,
    is_attempt,
    root,
    stands_for_none,
)
from orchestrator.tuning.storage import storage_failures
from orchestrator.tuning.study_storage import StudyStorage

DIED, LET_GO = "its worker died", "its worker let go of it"
OVER_BUDGET = "the budget is used up"


class TrialQueue:
    """The trials of one Optuna study in its storage.

    Args:
        study: an Optuna study.
        storage: where that is.
        budget: number of its trials; None for a study that trains what is in the queue and nothing else.
    """

    def __init__(self, study: Any, storage: StudyStorage, budget: int | None = None) -> None:
        self._study = study
        self._storage = storage
        self._budget = budget

    @property
    def trials(self) -> list[Any]:
        """All trials, as Optuna gives them."""
        trials: list[Any] = self._study.get_trials(deepcopy=False)
        return trials

    @property
    def has_next(self) -> bool:
        """Whether a trial can be taken now."""
        chosen, has_room = self._in_turn(self.trials)
        return chosen is not None or has_room

    def enqueue(self, mark: str, candidates: Mapping[int, Mapping[str, Any]]) -> None:
        """Put candidates into the queue, each once.

        Args:
            mark: name of the user attribute that tells them apart.
            candidates: parameters by the value of that attribute.
        """
        with self._storage.alone(self._study):
            known = {trial.user_attrs.get(mark) for trial in self.trials if not stands_for_none(trial)}
            for number, params in candidates.items():
                if number not in known:
                    self._add({FIXED: dict(params)}, {mark: number})

    def take(self) -> int | None:
        """Begin the trial whose turn it is, or draw a new one where the budget has room; give its id, or None."""
        with self._storage.alone(self._study):
            chosen, has_room = self._in_turn(self.trials)
            if chosen is None and not has_room:
                return None
            if chosen is None:
                trial_id = self._storage.create_new_trial(self._study._study_id)
            else:
                trial_id = chosen._trial_id
                self._storage.set_trial_state_values(trial_id, state=TrialState.RUNNING)
            self._storage.record_heartbeat(trial_id)  # without one Optuna never holds it for stale
            self._storage.set_trial_user_attr(trial_id, PROCESS, own_identity())
        return int(trial_id)

    def trial(self, trial_id: int) -> Trial:
        """The trial of an id, to draw parameters for it."""
        self._study.get_trials(deepcopy=False)  # Optuna draws for trials that it has read
        return Trial(copy(self._study), trial_id)  # the study itself keeps what it read for the last one

    @contextmanager
    def ending(self) -> Iterator[None]:
        """What is written of a trial at its end: all of it, or nothing where another worker has closed it already."""
        with suppress(UpdateFinishedTrialError), self._storage.alone(self._study):
            yield

    def still_open(self, trial_id: int) -> Any:
        """A trial as it is in the storage.

        Raises:
            UpdateFinishedTrialError: it has ended.
        """
        trial = self._storage.get_trial(trial_id)
        if trial.state.is_finished():
            raise UpdateFinishedTrialError
        return trial

    def end(self, trial_id: int, outcome: str, reason: str) -> None:
        """Tell a trial as failed, with why; does nothing where another worker has closed it already."""
        with self.ending():
            self._fail(trial_id, outcome, reason)

    def let_go(self, trial_id: int) -> None:
        """Put a trial of this worker back into the queue, which uses up no retry."""
        with self.ending():
            self._put_back(self.still_open(trial_id), LET_GO)

    def tidy(self, retries: int) -> Iterator[tuple[Any, str]]:
        """Put trials whose worker died back into the queue, and close those that a lower budget has no room for.

        Args:
            retries: how often a trial is continued after a death.

        Yields:
            The trials that nothing goes on with, each with why, as soon as it is closed: a storage that fails at
            the next one takes back none of them.
        """
        for trial_id in self._left():
            given_up = []
            with self.ending():
                trial = self.still_open(trial_id)
                num_deaths = len(trial.system_attrs.get(HISTORY, [])) + 1
                if num_deaths <= retries:
                    self._put_back(trial, DIED)
                else:
                    reason = DIED if num_deaths == 1 else f"{num_deaths} workers died at it"
                    self._fail(trial_id, FAILED, reason)
                    given_up.append((trial, reason))
            yield from given_up
        for trial in self._surplus():
            given_up = []
            with self.ending():
                if self.still_open(trial._trial_id).state == TrialState.WAITING:
                    self._fail(trial._trial_id, SURPLUS, OVER_BUDGET)
                    given_up.append((trial, OVER_BUDGET))
            yield from given_up

    def _in_turn(self, trials: Sequence[Any]) -> tuple[Any | None, bool]:
        """The trial of the queue that is next, and whether a new one can be drawn where there is none."""
        waiting = [trial for trial in trials if trial.state.name == "WAITING"]
        has_room = self._budget is not None and counted(trials) < self._budget
        if self._budget is not None and not has_room:
            waiting = [trial for trial in waiting if is_attempt(trial)]  # each has its place in the budget
        return next(iter(waiting), None), has_room

    def _left(self) -> set[int]:
        """Ids of the trials that run whose worker is gone, or gives no sign of life."""
        gone = {
            trial._trial_id
            for trial in self.trials
            if trial.state.name == "RUNNING" and is_gone(trial.user_attrs.get(PROCESS, ""))
        }
        return gone.union(self._storage.stale_trials(self._study))

    def _surplus(self) -> list[Any]:
        """Trials that were begun under a higher budget and wait to go on."""
        if self._budget is None:
            return []
        trials = self.trials
        waiting = [trial for trial in trials if trial.state.name == "WAITING" and is_attempt(trial)]
        return [trial for trial in waiting if counted(trials, before=root(trial)) >= self._budget]

    def _put_back(self, trial: Any, reason: str) -> None:
        """Close a trial and put the next attempt at it into the queue."""
        history = trial.system_attrs.get(HISTORY, [])
        # Those that were fixed too: its worker may have died before it had asked for all of them.
        params = {**trial.system_attrs.get(FIXED, {}), **trial.params}
        kept = {key: value for key, value in trial.user_attrs.items() if key in MARKS}
        self._fail(trial._trial_id, REPLACED, reason)
        self._add(
            {
                FIXED: params,
                RETRY_OF: trial.number,
                HISTORY: [*history, trial.number] if reason == DIED else history,
            },
            kept | {ROOT: root(trial)},
        )

    def _fail(self, trial_id: int, outcome: str, reason: str) -> None:
        self._storage.set_trial_user_attr(trial_id, OUTCOME, outcome)
        self._storage.set_trial_user_attr(trial_id, REASON, reason)
        self._storage.set_trial_state_values(trial_id, state=TrialState.FAIL)

    def _add(self, system_attrs: Mapping[str, Any], user_attrs: Mapping[str, Any]) -> None:
        waiting = create_trial(
            state=TrialState.WAITING, system_attrs=dict(system_attrs), user_attrs=dict(user_attrs)
        )
        self._storage.create_new_trial(self._study._study_id, waiting)


class Heartbeat:
    """Signs of life of this process at one trial, while entered.

    Args:
        storage: whose interval it keeps.
        trial_id: of a trial that runs.
    """

    def __init__(self, storage: StudyStorage, trial_id: int) -> None:
        self._storage = storage
        self._trial_id = trial_id
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether another worker has closed the trial."""
        return self._lost.is_set()

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while True:
            with suppress(*storage_failures()):  # a storage that does not answer now may answer the next time
                self._storage.record_heartbeat(self._trial_id)
                if self._storage.get_trial(self._trial_id).state.is_finished():
                    self._lost.set()
            if self._stop.wait(self._storage.get_heartbeat_interval()):
                break
        self._storage.remove_session()
