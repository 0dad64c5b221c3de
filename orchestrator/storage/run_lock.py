"""The lock of a run: one process works on it at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RunBusyError(RuntimeError):
    """Another process is working on this run."""


@contextmanager
def hold(folder: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the run in a folder exclusively; the kernel frees it when this process ends, however it ends.

    Raises:
        RunBusyError: another process still holds it after `wait_seconds`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    _held.add(descriptor)
    try:
        _acquire(descriptor, folder, time.monotonic() + wait_seconds)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        if descriptor in _held:  # not in a forked worker, which has closed it already
            _held.remove(descriptor)
            os.close(descriptor)


def _acquire(descriptor: int, folder: Path, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 32, 0).decode() or "unknown"
                raise RunBusyError(
                    f"{folder}: process {holder} is working on this run; wait for it to end, or end it"
                ) from None
            time.sleep(0.05)


_held: set[int] = set()


def _drop_inherited() -> None:
    """A forked worker must not keep its parent's lock alive after the parent was killed."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_drop_inherited)
