"""Who works on which trial: a trial whose worker died is taken up by another.

Optuna's own heartbeats work inside `Study.optimize` only.  Here a worker leaves signs of life in an
attribute of its trial; one that stays the same for long, or whose process is gone, is abandoned.  It is
put into the queue again under a new number (as Optuna's own retry does), then told as failed.  Both can
happen twice when two workers notice at once, or not at all when the one that noticed dies in between, so
whoever takes a retry from the queue makes sure that it is the first and that the old trial is closed.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LEASE = "entrostat.lease"
ROOT = "entrostat.root"
"""Number of the trial that a retry goes back to: its runs are continued."""
RANK = "entrostat.rank"
"""Place of a candidate in stage one's ranking, from 1."""
OUTCOME, REASON = "entrostat.outcome", "entrostat.reason"
FAILED, DUPLICATE, SURPLUS, REPLACED = "failed", "duplicate", "surplus", "replaced"
UNTRAINED = "untrained"
"""Refused before training, which costs nothing."""
UNTRAINED_PER_TRIAL = 20
"""How many of those count as one trial, so that a space without a feasible point comes to an end."""
RETRY_OF, HISTORY, FIXED = "failed_trial", "retry_history", "fixed_params"  # Optuna's own names


class LostTrialError(RuntimeError):
    """Another worker has taken this trial up: this one was silent for too long."""


class Lease:
    """Signs of life of this process at one trial, while entered.

    Args:
        trial: an Optuna trial that runs.
        seconds: after which others give it up; a sign is left four times as often.
    """

    def __init__(self, trial: Any, seconds: float) -> None:
        self._trial = trial
        self._seconds = seconds
        self._holder = holder()
        self._beat = 0
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="lease", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether another worker has closed the trial."""
        return self._lost.is_set()

    def __enter__(self) -> Lease:
        self._sign()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def release(self) -> None:
        """Say that the trial waits for whoever comes first."""
        self._stop.set()
        self._thread.join()
        with suppress(Exception):  # without it the others find out by themselves
            self._trial.set_user_attr(LEASE, self._holder | {"released": True})

    def _loop(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            self._sign()

    def _sign(self) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        self._beat += 1
        try:
            self._trial.set_user_attr(LEASE, self._holder | {"beat": self._beat})
        except UpdateFinishedTrialError:
            self._lost.set()
        except Exception:  # a storage that does not answer now may answer the next time
            return


class Watch:
    """Looks at the leases of running trials and says which are abandoned.

    Clocks of different machines are never compared: what counts is for how long this process has seen a
    sign of life unchanged.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[int, tuple[Any, float]] = {}

    def abandoned(self, trials: Iterable[Any]) -> list[Any]:
        """Those of the trials that run and that nobody works on."""
        now, found = self._clock(), []
        for trial in trials:
            if trial.state.name != "RUNNING":
                self._seen.pop(trial.number, None)
                continue
            lease = trial.user_attrs.get(LEASE)
            before, since = self._seen.get(trial.number, (None, now))
            if trial.number not in self._seen or lease != before:
                self._seen[trial.number] = (lease, now)
                since = now
            if _is_free(lease) or now - since > self._seconds:
                found.append(trial)
        return found


def holder() -> dict[str, Any]:
    """This process: its machine, its number there, and when it began, as numbers are used again."""
    return {"machine": _machine(), "pid": os.getpid(), "began": _began(os.getpid())}


def take_up(study: Any, trial: Any, retries: int) -> None:
    """Put an abandoned trial into the queue again and close it."""
    params = trial.params or trial.system_attrs.get(FIXED, {})
    history = [*trial.system_attrs.get(HISTORY, []), trial.number]
    outcome = REPLACED
    if params and len(history) <= retries:
        if not any(_retry_of(other) == trial.number for other in study.get_trials(deepcopy=False)):
            study.add_trial(_retry(trial, params, history))
    elif params:
        outcome = FAILED
    _close(
        study,
        trial,
        outcome,
        "its worker died" if outcome == REPLACED else f"{len(history)} workers died at it",
    )


def is_redundant(study: Any, trial: Any) -> bool:
    """Whether a trial from the queue is there a second time; closes the one that it takes up."""
    trials = study.get_trials(deepcopy=False)
    frozen = trials[trial.number]
    retried = _retry_of(frozen)
    if retried is not None:
        if trials[retried].state.name == "RUNNING":
            _close(study, trials[retried], REPLACED, "its worker died")
        return any(_retry_of(other) == retried for other in trials[: trial.number])
    rank = frozen.user_attrs.get(RANK)
    return rank is not None and any(
        other.user_attrs.get(RANK) == rank and _retry_of(other) is None for other in trials[: trial.number]
    )


def close(trial: Any, study: Any, outcome: str, reason: str) -> None:
    """Tell a trial of one's own as failed, with why."""
    _close(study, trial, outcome, reason)


def counted(trials: Sequence[Any], before: int | None = None) -> int:
    """Trials that use up the budget: finished, failed by themselves, or running; of the first ``before``."""
    used = untrained = 0
    for trial in trials[:before]:
        outcome = trial.user_attrs.get(OUTCOME)
        untrained += outcome == UNTRAINED
        used += outcome == FAILED or (
            outcome != UNTRAINED and trial.state.name in ("COMPLETE", "PRUNED", "RUNNING")
        )
    return used + untrained // UNTRAINED_PER_TRIAL


def root(trial: Any) -> int:
    """Number of the trial whose runs a trial continues, or its own."""
    return int(trial.user_attrs.get(ROOT, trial.number))


@contextmanager
def quietly() -> Iterator[None]:
    """Another worker may have been faster at closing a trial."""
    from optuna.exceptions import UpdateFinishedTrialError

    with suppress(UpdateFinishedTrialError, ValueError):
        yield


def _close(study: Any, trial: Any, outcome: str, reason: str) -> None:
    from optuna.trial import Trial, TrialState

    with quietly():
        own = Trial(study, trial._trial_id)
        own.set_user_attr(OUTCOME, outcome)
        own.set_user_attr(REASON, reason)
        study.tell(trial.number, state=TrialState.FAIL)


def _retry(trial: Any, params: dict[str, Any], history: list[int]) -> Any:
    from optuna.trial import TrialState, create_trial

    kept = {key: value for key, value in trial.user_attrs.items() if key == RANK}
    return create_trial(
        state=TrialState.WAITING,
        system_attrs={FIXED: params, RETRY_OF: trial.number, HISTORY: history},
        user_attrs=kept | {ROOT: root(trial)},
    )


def _retry_of(trial: Any) -> int | None:
    number = trial.system_attrs.get(RETRY_OF)
    return None if number is None else int(number)


def _is_free(lease: Any) -> bool:
    """Whether the holder has let go, or is a process of this machine that is gone."""
    if not isinstance(lease, dict):
        return False
    if lease.get("released"):
        return True
    return lease.get("machine") == _machine() and _began(int(lease["pid"])) != lease.get("began")


def _machine() -> str:
    """The same for processes that see each other's numbers, and for no others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()}/{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return f"{platform.node()}/{uuid.getnode():x}"


def _began(pid: int) -> str:
    """When a process of this machine began; "" where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]  # a zombie works on nothing
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return "alive" if isinstance(error, PermissionError) else ""
    return "alive"
