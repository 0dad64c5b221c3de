"""One grading worker as seen by its parent: starting, idle, busy with some jobs, or stopped."""

from __future__ import annotations

import math
import os
import pickle
import signal
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from threading import Lock
from time import monotonic, sleep

import psutil

from tasks.grading.messages import MAX_LINE_BYTES, GradedAnswer, Message, Ready, Started, StartFailure, decode
from tasks.grading.scratch import Scratch, remove
from tasks.grading.worker import Job, Order, serve

START_SECONDS = 300.0
"""Patience with a worker that starts, or that has yet to read its jobs: the machine may be busy."""

SLACK_SECONDS = 0.05
"""What a grader may use beyond its limit before it is killed; the system counts in ticks of 0.01 s."""

LOOK_SECONDS = 1.0
"""The parent looks at least so often at a response that is over its limit by the clock on the wall."""

EXIT_SECONDS = 1.0
"""Patience with a process whose pipe is closed and that must be about to end."""

WORKER_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # the order of a set is the same in every worker
    "OMP_NUM_THREADS": "1",  # a thread that starts before the worker gives up its rights would keep them
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

_OWN_FAULTS = {  # signals for what a process did itself; any other was sent to it
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS),
    *(signal.SIGTRAP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF),
}
_SPAWN = get_context("spawn")
_environment_lock = Lock()


class Phase(Enum):
    """The phase of a worker's life."""

    STOPPED = auto()
    STARTING = auto()
    IDLE = auto()
    BUSY = auto()


class WorkerGoneError(Exception):
    """The process ended, or its pipe holds what no worker sends."""


class GradingProcess:
    """A worker process with its pipe, the jobs it still owes, and the time when its parent must look at it."""

    def __init__(
        self,
        pickled_task: bytes,
        scratch: Scratch,
        *,
        timeout_seconds: float,
        wall_limit_seconds: float,
        memory_limit_megabytes: int | None,
        own_code: Mapping[str, bytes] | None = None,
    ) -> None:
        self._pickled_task = pickled_task
        self._own_code = dict(own_code or {})
        self._scratch = scratch
        self._timeout_seconds = timeout_seconds
        self._wall_limit_seconds = wall_limit_seconds
        self._memory_limit_megabytes = memory_limit_megabytes
        self._process: SpawnProcess | None = None
        self._connection: socket.socket | None = None
        self._folder: str | None = None
        self._unread = b""
        self._began = math.inf  # monotonic; when the response that is being graded was begun
        self._spent_before = 0.0  # processor seconds of the worker when it was begun
        self.phase = Phase.STOPPED
        self.deadline = math.inf
        self.num_failed_starts = 0
        """In a row."""
        self.was_ready = False
        self.owed: deque[int] = deque()
        """Places in the batch of the jobs not answered yet; the first is being graded."""

    @property
    def connection(self) -> socket.socket:
        assert self._connection is not None, "a stopped worker has no pipe"
        return self._connection

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    @property
    def has_begun(self) -> bool:
        """Whether it has said that it is at the first of the jobs that it owes."""
        return self._began < math.inf

    @property
    def exit_code(self) -> int | None:
        """How the process ended, as subprocess has it; None while it runs on.  It is not reaped yet: until then
        no other process can have its number, so what it has started can be killed by that."""
        if self._process is None or self._process.pid is None:
            return None
        if hasattr(os, "waitid"):
            end = monotonic() + EXIT_SECONDS
            with suppress(ChildProcessError):  # reaped already
                while monotonic() < end:
                    ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                    if ended is not None:
                        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                    sleep(0.001)
                return None
        self._process.join(timeout=EXIT_SECONDS)
        return self._process.exitcode

    @property
    def killed_by(self) -> str:
        """Name of the signal that ended it, if that is none that a program brings upon itself; or nothing."""
        code = self.exit_code
        if code is None or code >= 0 or -code in _OWN_FAULTS:
            return ""
        return signal_name(-code)

    def start(self) -> None:
        """Launch a fresh process, without waiting for it to be ready.

        Raises:
            OSError: the system has no room for another process.
        """
        self.kill()
        self._folder = self._scratch.fresh()
        self._connection, theirs = socket.socketpair()
        order = Order(self._pickled_task, self._folder, self._memory_limit_megabytes, self._own_code)
        self._process = _SPAWN.Process(
            target=serve, args=(theirs, order), name="entrostat-grader", daemon=True
        )
        try:
            with _environment(WORKER_ENVIRONMENT):
                self._process.start()
        finally:
            theirs.close()  # so that our end sees the pipe close when the worker dies
        self._unread = b""
        self.phase = Phase.STARTING
        self.deadline = monotonic() + START_SECONDS

    def submit(self, places: Sequence[int], jobs: Sequence[Job]) -> None:
        """Send jobs to an idle worker.  Raises `WorkerGoneError` when it died since, before it saw any."""
        assert self.phase is Phase.IDLE, "jobs are for idle workers"
        try:
            self.connection.settimeout(START_SECONDS)
            self.connection.sendall(pickle.dumps(list(jobs)))
        except OSError as error:
            raise WorkerGoneError from error
        self.owed = deque(places)
        self.phase, self._began = Phase.BUSY, math.inf
        self.deadline = monotonic() + START_SECONDS

    def receive(self) -> Iterator[Message]:
        """The messages that are there, and that make sense now.

        Raises:
            WorkerGoneError: there will be no more, or what there is no worker of ours has written.
        """
        connection = self.connection
        try:
            connection.settimeout(0.0)
            received = connection.recv(MAX_LINE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise WorkerGoneError from error
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            try:
                message = decode(line)
            except ValueError as error:
                raise WorkerGoneError from error
            if not self._expects(message):
                raise WorkerGoneError(f"a {type(message).__name__} out of turn")
            yield message
            if self._connection is not connection:
                return  # replaced for what it said
        if not received or len(self._unread) > MAX_LINE_BYTES:
            raise WorkerGoneError

    def _expects(self, message: Message) -> bool:
        if isinstance(message, Ready | StartFailure):
            return self.phase is Phase.STARTING
        return self.phase is Phase.BUSY and self.has_begun == isinstance(message, GradedAnswer)

    def ready(self) -> None:
        """Its task is prepared, or its last job is answered."""
        self.phase, self._began, self.deadline = Phase.IDLE, math.inf, math.inf
        self.num_failed_starts, self.was_ready = 0, True

    def next_job_begins(self, message: Started | GradedAnswer) -> None:
        """Restart the clock, or stop it when all jobs are answered."""
        if self.owed:
            self._began, self._spent_before = monotonic(), message.processor_seconds
            self.deadline = self._began + min(self._timeout_seconds, self._wall_limit_seconds)
        else:
            self.ready()

    def is_overdue(self) -> bool:
        """Whether its time is up: what a response has used of processors, else the deadline, which this moves on."""
        if self.phase is not Phase.BUSY or not self.has_begun:
            return self.deadline <= monotonic()
        now = monotonic()
        left = self._timeout_seconds + SLACK_SECONDS - self._spent_seconds()
        wall_left = self._began + self._wall_limit_seconds - now
        self.deadline = now + min(max(left, SLACK_SECONDS), wall_left, LOOK_SECONDS)
        return left < 0 or wall_left <= 0

    def _spent_seconds(self) -> float:
        """Processor time of the response so far, with that of every process that it has started."""
        assert self._process is not None
        total = 0.0
        with suppress(psutil.NoSuchProcess):
            worker = psutil.Process(self._process.pid)
            for process in (worker, *worker.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    total += times.user + times.system + times.children_user + times.children_system
        return total - self._spent_before

    def kill(self) -> list[int]:
        """End the process at once, with all that it has started; give the places it still owed."""
        owed = list(self.owed)
        if self._process is not None:
            if self._process.pid is not None:
                _kill_tree(self._process.pid)
                self._process.kill()
                self._process.join()
            self._process.close()
        if self._connection is not None:
            self._connection.close()
        if self._folder is not None:
            remove(self._folder)
        self._process = self._connection = self._folder = None
        self.phase, self._began, self.deadline, self.owed = Phase.STOPPED, math.inf, math.inf, deque()
        return owed


def signal_name(number: int) -> str:
    """SIGKILL for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _kill_tree(pid: int) -> None:
    """Kill children first: once a worker is gone, only those of its session can still be found."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:  # it has come as far as its session
            os.killpg(pid, signal.SIGKILL)


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """The environment of a process is that of its parent when it is started, so it is lent for that long."""
    with _environment_lock:
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
