"""The worker's side of grading: a process that grades what it is sent until its pipe closes.

Messages to the worker are lists of (problem, response), graded in order.  Messages from it are
``READY`` once, when the task has been prepared; for each list ``STARTED`` when it has been read; and
for each response its ``Verdict``.  So the parent knows at any time which response is being graded
and since when.
"""

from __future__ import annotations

import ctypes
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from types import FrameType
from typing import NamedTuple

from tasks.base import Problem, Task

READY = "ready"
STARTED = "started"

_PR_SET_PDEATHSIG = 1


class Verdict(NamedTuple):
    """The score of one response; ``error`` says why there is none."""

    score: float
    error: str = ""


class StartFailure(NamedTuple):
    """Sent in place of ``READY`` when the task cannot be loaded or prepared."""

    reason: str


Job = tuple[Problem, str]


def serve(connection: Connection, pickled_task: bytes, memory_limit_megabytes: int | None) -> None:
    """Body of the worker process."""
    _outlive_signals_but_not_the_parent()
    try:
        task: Task = pickle.loads(pickled_task)  # nosec B301  # pickled by the process that started this one
        task.prepare()
        _limit_memory(memory_limit_megabytes)
    except BaseException as error:
        connection.send(StartFailure(_described(error)))
        return
    try:
        connection.send(READY)
        while True:
            jobs: list[Job] = connection.recv()
            connection.send(STARTED)
            for problem, response in jobs:
                connection.send(_verdict(task, problem, response))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has closed the pipe, or is gone


def _verdict(task: Task, problem: Problem, response: str) -> Verdict:
    try:
        score = float(task.grade(problem, response))
    except BaseException as error:  # SystemExit too: no grader may end its worker by raising
        return Verdict(0.0, _described(error))
    if not 0 <= score <= 1:
        return Verdict(0.0, f"score must be between 0 and 1, got {score}")
    return Verdict(score)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _outlive_signals_but_not_the_parent() -> None:
    """Ctrl-C and a scheduler's SIGTERM reach the whole group, and it is the parent who answers them.

    A handler that does nothing, and not ``SIG_IGN``, which programs started by a grader would inherit.
    Should the parent be killed while a grader hangs, Linux kills the worker; an idle one sees its pipe
    close.  (Elsewhere than on Linux a hung grader outlives a parent that was killed by SIGKILL.)
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


def _limit_memory(megabytes: int | None) -> None:
    if megabytes is not None:
        import resource

        size = megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
