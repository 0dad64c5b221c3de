"""Notes at an Optuna trial, its heartbeat, and the next attempt at a trial that its worker left.

A worker signs for its trial with Optuna's heartbeat.  A trial whose worker died, or let go of it, is put into the
queue again under a new number, as Optuna's own retry does, and then told as failed.  Both can happen twice when two
workers notice at once, and the second step not at all when a worker dies in between.  So the worker that takes an
attempt from the queue makes sure that it is the first of its kind and that the trial before it is closed.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from orchestrator.tuning.storage import storage_failures
from orchestrator.tuning.study_storage import StudyStorage

ROOT = "entrostat.root"
"""Number of the first attempt at a trial: all of them share its runs and its draws."""
RANK = "entrostat.rank"
"""Place of a candidate in stage one's ranking, from 1."""
CONFIRMS = "entrostat.confirms"
"""Number of the trial that a confirmation trains again on fresh seeds."""
PREDICTED = "entrostat.predicted"
"""Stage one's prediction for a training trial, one value a criterion."""
FOLDER = "entrostat.folder"
"""Name of the folder of a trial's runs."""
OUTCOME, REASON = "entrostat.outcome", "entrostat.reason"
FAILED, DUPLICATE, SURPLUS, REPLACED = "failed", "duplicate", "surplus", "replaced"
UNTRAINED = "untrained"
"""Refused before training, which costs nothing."""
UNTRAINED_PER_TRIAL = 20
"""How many of those count as one trial, so that a space without a feasible point comes to an end."""
RETRY_OF, HISTORY, FIXED = "failed_trial", "retry_history", "fixed_params"
"""Optuna's own names: the attempt before, the attempts at which a worker died, and parameters from the queue."""
ONCE = (RANK, CONFIRMS)
"""Marks of a trial in the queue that is trained once: a candidate's rank, the trial that is confirmed."""
DIED, LET_GO = "its worker died", "its worker let go of it"


class Heartbeat:
    """Signs of life of this process at one trial, while entered.

    Args:
        storage: whose interval it keeps.
        trial: an Optuna trial that runs.
    """

    def __init__(self, storage: StudyStorage, trial: Any) -> None:
        self._storage = storage
        self._trial_id: int = trial._trial_id
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


def ask(study: Any) -> Any:
    """The next trial: of the queue, or a new one.  (Optuna warns that its own loop is to keep the heartbeat.)"""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage", category=UserWarning)
        return study.ask()


def take_over(study: Any, trial: Any, retries: int | None = None) -> str:
    """Put a trial that its worker left into the queue again, and close it.

    Args:
        study: its Optuna study.
        trial: as it is in the storage.
        retries: how often it may be taken over after a death; None where its worker let go of it, which is none.

    Returns:
        Why nothing goes on with it, or "".
    """
    trials = study.get_trials(deepcopy=False)
    trial = trials[trial.number]  # it may have ended since the caller looked
    if trial.state.is_finished():
        return ""
    history = [*trial.system_attrs.get(HISTORY, []), *([] if retries is None else [trial.number])]
    attempt = next((other for other in trials if _retry_of(other) == trial.number), None)
    if attempt is None and retries is not None and len(history) > retries:
        reason = DIED if len(history) == 1 else f"{len(history)} workers died at it"
        close(study, trial, FAILED, reason)
        return reason
    if attempt is None:
        attempt = _again(trial, history)
        study.add_trial(attempt)
    close(study, trial, REPLACED, _why_left(trial, attempt))
    return ""


def is_redundant(study: Any, trial: Any) -> bool:
    """Whether a trial from the queue is there a second time, or ended while it was taken over.

    Closes the attempt before it.  A worker may die before it has asked this, so the answer goes for every attempt
    before this one too: the next of a duplicate is one.
    """
    trials = study.get_trials(deepcopy=False)
    frozen = trials[trial.number]
    before = _retry_of(frozen)
    if before is not None:
        if not trials[before].state.is_finished():
            close(study, trials[before], REPLACED, _why_left(trials[before], frozen))
            trials = study.get_trials(deepcopy=False)  # its worker may have been faster
        if trials[before].user_attrs.get(OUTCOME) != REPLACED:
            return True
    while before is not None:
        if _is_second(frozen, trials):
            return True
        frozen = trials[before]
        before = _retry_of(frozen)
    return _is_second(frozen, trials)


def close(study: Any, trial: Any, outcome: str, reason: str) -> None:
    """Tell a trial as failed, with why; does nothing where another worker has closed it already."""
    from optuna.trial import Trial, TrialState

    with unless_closed():
        own = Trial(study, trial._trial_id)
        own.set_user_attr(OUTCOME, outcome)
        own.set_user_attr(REASON, reason)
        study.tell(trial.number, state=TrialState.FAIL)


@contextmanager
def unless_closed() -> Iterator[None]:
    """Another worker may be faster at closing a trial."""
    from optuna.exceptions import UpdateFinishedTrialError

    with suppress(UpdateFinishedTrialError, ValueError):
        yield


def counted(trials: Sequence[Any], before: int | None = None) -> int:
    """Trials that use up the budget, each once for all of its attempts; of those that began before a number.

    A trial counts from when it is first taken until it turns out to be surplus, untrained or a duplicate.  So one
    whose worker died keeps its place in the budget while it waits for the next.
    """
    last: dict[int, Any] = {}
    for trial in trials:
        if trial.user_attrs.get(OUTCOME) != DUPLICATE:
            last[root(trial)] = trial
    chosen = [trial for number, trial in last.items() if before is None or number < before]
    untrained: int = sum(trial.user_attrs.get(OUTCOME) == UNTRAINED for trial in chosen)
    used: int = sum(
        trial.user_attrs.get(OUTCOME) in (FAILED, REPLACED)
        or (OUTCOME not in trial.user_attrs and trial.state.name in ("COMPLETE", "PRUNED", "RUNNING"))
        or (trial.state.name == "WAITING" and is_attempt(trial))
        for trial in chosen
    )
    return used + untrained // UNTRAINED_PER_TRIAL


def num_open(trials: Sequence[Any]) -> int:
    """Trials that run, or that wait for the worker that continues them."""
    return sum(
        trial.state.name == "RUNNING" or (trial.state.name == "WAITING" and is_attempt(trial))
        for trial in trials
    )


def is_attempt(trial: Any) -> bool:
    """Whether a trial goes on with another that its worker left."""
    return _retry_of(trial) is not None


def root(trial: Any) -> int:
    """Number of the first attempt at a trial, which may be its own."""
    return int(trial.user_attrs.get(ROOT, trial.number))


def stands_for_none(trial: Any) -> bool:
    """Whether another trial stands in the place of this one."""
    return trial.user_attrs.get(OUTCOME) in (DUPLICATE, SURPLUS, REPLACED)


def trial_name(number: int, confirms: int | None) -> str:
    """The name of a trial in texts for people."""
    return f"trial {number}" if confirms is None else f"confirmation of trial {confirms}"


def folder_name(trial: Any) -> str:
    """Name of the folder of a trial's runs, which all of its attempts share."""
    confirms = trial.user_attrs.get(CONFIRMS)
    return f"trial-{root(trial):04d}" if confirms is None else f"confirm-{confirms:04d}"


def _again(trial: Any, history: list[int]) -> Any:
    from optuna.trial import TrialState, create_trial

    kept = {key: value for key, value in trial.user_attrs.items() if key in ONCE}
    # Those that were fixed too: its worker may have died before it had asked for all of them.
    params = {**trial.system_attrs.get(FIXED, {}), **trial.params}
    return create_trial(
        state=TrialState.WAITING,
        system_attrs={FIXED: params, RETRY_OF: trial.number, HISTORY: history},
        user_attrs=kept | {ROOT: root(trial)},
    )


def _why_left(trial: Any, attempt: Any) -> str:
    return DIED if trial.number in attempt.system_attrs.get(HISTORY, []) else LET_GO


def _is_second(trial: Any, trials: Sequence[Any]) -> bool:
    """Whether an earlier trial goes on with the same one, or is trained for the same mark."""
    earlier = trials[: trial.number]
    if is_attempt(trial):
        return any(_retry_of(other) == _retry_of(trial) for other in earlier)
    return any(
        key in trial.user_attrs
        and other.user_attrs.get(key) == trial.user_attrs[key]
        and other.user_attrs.get(OUTCOME) != SURPLUS
        and not is_attempt(other)
        for key in ONCE
        for other in earlier
    )


def _retry_of(trial: Any) -> int | None:
    number = trial.system_attrs.get(RETRY_OF)
    return None if number is None else int(number)
