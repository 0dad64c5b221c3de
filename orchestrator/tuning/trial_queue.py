"""The trials of an Optuna study, for workers side by side: they are taken, ended and put back, each once.

Every change is one transaction in which no other worker changes the same study.  So a worker that is killed has done
all of it or nothing, and of two workers at the same trial one comes second and finds that it is another's by now.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from orchestrator.execution.identity import is_gone, own_identity
from orchestrator.tuning.storage import storage_failures
from orchestrator.tuning.study_storage import StudyStorage
from orchestrator.tuning.trial_notes import (
    ATTEMPTS,
    DIED,
    DIED_LATER,
    FAILED,
    FIXED,
    LET_GO,
    OUTCOME,
    PROCESS,
    REASON,
    counted,
    has_begun,
    num_deaths,
    stands_for_none,
    unfinished,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial in the hands of one worker, until it ends or is put back."""

    trial_id: int
    attempt: int
    """Attempts at the trial before this one."""

    @classmethod
    def at(cls, trial: FrozenTrial) -> Claim:
        """The claim of the worker that is at a trial."""
        return cls(trial._trial_id, len(trial.user_attrs.get(ATTEMPTS, ())))

    def holds(self, storage: StudyStorage) -> bool:
        """Whether the trial runs and is this one's yet."""
        trial = storage.get_trial(self.trial_id)
        return trial.state == TrialState.RUNNING and Claim.at(trial) == self


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

    @property
    def left_out(self) -> list[Any]:
        """Trials that were begun under a higher budget and wait until it is as high again."""
        trials = self.trials
        waiting = [trial for trial in trials if trial.state.name == "WAITING" and has_begun(trial)]
        going_on = unfinished(trials, self._budget)
        return [trial for trial in waiting if trial not in going_on]

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
                    waiting = create_trial(
                        state=TrialState.WAITING,
                        system_attrs={FIXED: dict(params)},
                        user_attrs={mark: number},
                    )
                    self._storage.create_new_trial(self._study._study_id, waiting)

    def take(self) -> Claim | None:
        """Begin the trial whose turn it is, or draw a new one where the budget has room."""
        with self._storage.alone(self._study):
            chosen, has_room = self._in_turn(self.trials)
            if chosen is not None:
                claim = Claim.at(chosen)
                self._storage.set_trial_state_values(claim.trial_id, state=TrialState.RUNNING)
            elif has_room:
                claim = Claim(self._storage.create_new_trial(self._study._study_id), attempt=0)
            else:
                return None
            self._storage.record_heartbeat(claim.trial_id)  # without one Optuna never holds it for stale
            self._storage.set_trial_user_attr(claim.trial_id, PROCESS, own_identity())
        return claim

    def trial(self, claim: Claim) -> Trial:
        """The trial of a claim, to draw parameters for it."""
        self._study.get_trials(deepcopy=False)  # Optuna draws for trials that it has read
        return Trial(
            copy(self._study), claim.trial_id
        )  # the study itself keeps what it read for the last one

    def close(self, claim: Claim, write: Callable[[], Any]) -> bool:
        """Let ``write`` end a trial or put it back: all that it writes is there, or nothing where it fails.

        Whether it did: a trial that another worker has ended or put back is left alone.
        """
        with self._storage.alone(self._study):
            if is_held := claim.holds(self._storage):
                write()
        return is_held

    def fail(self, claim: Claim, reason: str) -> bool:
        """Tell a trial as failed, with why; whether it was this worker's to tell."""

        def write() -> None:
            self._storage.set_trial_user_attr(claim.trial_id, OUTCOME, FAILED)
            self._storage.set_trial_user_attr(claim.trial_id, REASON, reason)
            self._storage.set_trial_state_values(claim.trial_id, state=TrialState.FAIL)

        return self.close(claim, write)

    def let_go(self, claim: Claim, reason: str = LET_GO) -> bool:
        """Let a trial wait for the next worker, with all that is known of it; whether it was this worker's yet."""

        def write() -> None:
            before = self._storage.get_trial(claim.trial_id).user_attrs.get(ATTEMPTS, [])
            self._storage.set_trial_user_attr(claim.trial_id, ATTEMPTS, [*before, reason])
            self._storage.set_trial_state_values(claim.trial_id, state=TrialState.WAITING)

        return self.close(claim, write)

    def tidy(
        self, retries: int, has_saved: Callable[[Any], bool] = lambda _: False
    ) -> Iterator[tuple[Any, str]]:
        """Let trials whose worker died wait for the next.

        Args:
            retries: how often in a row a trial is continued after a death without a new checkpoint.
            has_saved: tells of a trial whether its present attempt has written one.

        Yields:
            The trials that nothing goes on with, each with why, as soon as it is closed: a storage that fails at
            the next one takes back none of them.
        """
        for trial in self._left():
            num = num_deaths(trial) + 1
            if has_saved(trial):
                self.let_go(Claim.at(trial), DIED_LATER)
            elif num <= retries:
                self.let_go(Claim.at(trial), DIED)
            else:
                reason = DIED if num == 1 else f"{num} workers died at it"
                if self.fail(Claim.at(trial), reason):
                    yield trial, reason

    def _in_turn(self, trials: Sequence[Any]) -> tuple[Any | None, bool]:
        """The trial of the queue that is next, and whether a new one can be drawn where there is none."""
        has_room = self._budget is not None and counted(trials) < self._budget
        # Each of those that go on has its place in the budget.
        candidates = trials if has_room or self._budget is None else unfinished(trials, self._budget)
        return next((trial for trial in candidates if trial.state.name == "WAITING"), None), has_room

    def _left(self) -> list[Any]:
        """Trials that run whose worker is gone, or gives no sign of life."""
        stale = set(self._storage.stale_trials(self._study))
        return [
            trial
            for trial in self.trials
            if trial.state.name == "RUNNING"
            and (trial._trial_id in stale or is_gone(trial.user_attrs.get(PROCESS, "")))
        ]


class Heartbeat:
    """Signs of life of this process at one trial, while entered.

    Args:
        storage: whose interval it keeps.
        claim: of a trial that runs.
    """

    def __init__(self, storage: StudyStorage, claim: Claim) -> None:
        self._storage = storage
        self._claim = claim
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether another worker has closed the trial, or put it back."""
        return self._lost.is_set()

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self.is_lost:  # from then on the signs would be another worker's
            with suppress(*storage_failures()):  # a storage that does not answer now may answer the next time
                if self._claim.holds(self._storage):
                    self._storage.record_heartbeat(self._claim.trial_id)
                else:
                    self._lost.set()
            if self._stop.wait(self._storage.get_heartbeat_interval()):
                break
        self._storage.remove_session()
