"""Who works on which trial, and which trials nobody works on any more.

Optuna's own heartbeats work inside `Study.optimize` only.  Here a worker leaves signs of life in an
attribute of its trial; one that stays the same for long, or whose process is gone, is abandoned.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

LEASE = "entrostat.lease"
_RELEASED = "released"


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
        """Say that the trial waits for whoever comes first; whatever the storage raises, nobody knows it yet."""
        from optuna.exceptions import UpdateFinishedTrialError

        self._stop.set()
        self._thread.join()
        try:
            self._trial.set_user_attr(LEASE, self._holder | {_RELEASED: True})
        except UpdateFinishedTrialError:
            self._lost.set()

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
            if is_released(trial) or _is_gone(lease) or now - since > self._seconds:
                found.append(trial)
        return found


def is_released(trial: Any) -> bool:
    """Whether the worker at a trial has let go of it, rather than died."""
    lease = trial.user_attrs.get(LEASE)
    return isinstance(lease, dict) and bool(lease.get(_RELEASED))


def holder() -> dict[str, Any]:
    """This process: its machine, its number there, and when it began, as numbers are used again."""
    return {"machine": _machine(), "pid": os.getpid(), "began": _began(os.getpid())}


def _is_gone(lease: Any) -> bool:
    """Whether the holder is a process of this machine that has ended."""
    if not isinstance(lease, dict):
        return False
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
