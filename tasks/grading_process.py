"""One grading worker as its parent sees it: starting, idle, busy with some jobs, or stopped."""

from __future__ import annotations

import math
import select
from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from time import monotonic
from typing import Any

from tasks.grading_worker import Job, serve

START_SECONDS = 120.0
"""Patience with a worker that starts, or that has yet to read its jobs: the machine may be busy."""

_SPAWN = get_context("spawn")


class Phase(Enum):
    """Where a worker is in its life."""

    STOPPED = auto()
    STARTING = auto()
    IDLE = auto()
    BUSY = auto()


class WorkerGoneError(Exception):
    """The process ended, or its pipe holds what no worker sends."""


class GradingProcess:
    """A worker process with its pipe, the jobs it still owes, and the time by which it must speak."""

    def __init__(
        self, pickled_task: bytes, timeout_seconds: float, memory_limit_megabytes: int | None
    ) -> None:
        self._arguments = (pickled_task, memory_limit_megabytes)
        self._timeout_seconds = timeout_seconds
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._poll = select.poll()
        self.phase = Phase.STOPPED
        self.deadline = math.inf
        self.owed: deque[int] = deque()
        """Places in the batch of the jobs not answered yet; the first is being graded."""

    @property
    def connection(self) -> Connection:
        assert self._connection is not None, "a stopped worker has no pipe"
        return self._connection

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    @property
    def exit_code(self) -> int | None:
        if self._process is None:
            return None
        self._process.join(timeout=1.0)
        return self._process.exitcode

    def start(self) -> None:
        """Launch a fresh process, without waiting for it to be ready."""
        self.kill()
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=serve, args=(theirs, *self._arguments), name="entrostat-grader", daemon=True
        )
        try:
            self._process.start()
        finally:
            theirs.close()  # so that our end sees the pipe close when the worker dies
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)
        self.phase = Phase.STARTING
        self.deadline = monotonic() + START_SECONDS

    def ready(self) -> None:
        self.phase = Phase.IDLE
        self.deadline = math.inf

    def submit(self, places: Sequence[int], jobs: Sequence[Job]) -> None:
        """Send jobs to an idle worker.  Raises `WorkerGoneError` when it died since, before it saw any."""
        assert self.phase is Phase.IDLE, "jobs are for idle workers"
        try:
            self.connection.send(list(jobs))
        except OSError as error:
            raise WorkerGoneError from error
        self.owed = deque(places)
        self.phase = Phase.BUSY
        self.deadline = monotonic() + START_SECONDS

    def receive(self) -> Any:
        """The next message.  Raises `WorkerGoneError` when there will be none."""
        try:
            return self.connection.recv()
        except Exception as error:  # what a dying or subverted process leaves in a pipe can be anything
            raise WorkerGoneError from error

    def has_more(self) -> bool:
        """Is another message waiting?  (Ten times as fast as ``Connection.poll``.)"""
        return bool(self._poll.poll(0))

    def next_job_begins(self) -> None:
        """Restart the clock, or stop it when all jobs are answered."""
        if self.owed:
            self.deadline = monotonic() + self._timeout_seconds
        else:
            self.ready()

    def kill(self) -> list[int]:
        """End the process at once; give the places it still owed."""
        owed = list(self.owed)
        if self._process is not None:
            if self._process.pid is not None:
                self._process.kill()
                self._process.join()
            self._process.close()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None
        self.phase, self.deadline, self.owed = Phase.STOPPED, math.inf, deque()
        return owed
