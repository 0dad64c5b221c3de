"""The worker's side of grading: a process that grades the problems it receives until its pipe closes.

Messages to the worker are pickled lists of (problem, response), graded in order.  Messages from it
(`tasks.grading.messages`) are ``Ready`` once, when the task has been prepared; for each list ``Started``
when it has been read; and for each response its ``GradedAnswer``.  So the parent knows at any time which
response is being graded and since when.

Every response finds the worker as the first one did: the random generators of Python and numpy start
from a seed of the response, the scratch folder is empty, the current folder is the one at the start,
and what an earlier grader has started is gone.  A worker in which a response has used up the memory or
the open files ends, and another takes its place.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import random
import resource
import signal
import socket
import sys
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from tasks.base import Problem, Task
from tasks.grading.confinement import MAX_OPEN_FILES, confine
from tasks.grading.messages import GradedAnswer, Message, Ready, Started, StartFailure, described, encode
from tasks.grading.scratch import empty
from tasks.own_code import take
from tasks.rewards import MOST_PARTS, Score

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

Job = tuple[Problem, str]


class Order(NamedTuple):
    """What a worker is started with."""

    pickled_task: bytes
    scratch: str
    memory_limit_megabytes: int | None
    own_code: Mapping[str, bytes] = {}
    """Text of the user's own files as the parent has read them, which may be others by now."""


def serve(connection: socket.socket, order: Order) -> None:
    """Body of the worker process."""
    _outlive_signals_but_not_the_parent()
    with suppress(OSError):  # what a grader prints is no output of the command that started it
        os.dup2(2, 1)
    try:
        take(order.own_code)
        task: Task = pickle.loads(order.pickled_task)  # nosec B301  # pickled by the process that started this one
        for reward in task.rewards().values():
            reward.load()
        task.prepare()
        with suppress(ImportError):
            import numpy.random  # noqa: F401 - before a grader does, which would draw from a seed of its own
        confinement = confine(
            task.grading_needs, scratch=order.scratch, memory_limit_megabytes=order.memory_limit_megabytes
        )
        worker = _Worker(connection, task, order.scratch)
    except BaseException as error:
        connection.sendall(encode(StartFailure(described(error))))
        return
    try:
        worker.say(Ready(confinement))
        jobs = connection.makefile("rb")
        while worker.grade(pickle.load(jobs)):  # nosec B301  # sent by the process that started this one
            pass
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has closed the pipe, or is gone


class _Worker:
    def __init__(self, connection: socket.socket, task: Task, scratch: str) -> None:
        self._connection = connection
        self._task = task
        self._scratch = scratch
        self._starts_processes = "processes" in task.grading_needs
        self._folder = Path.cwd()
        self._hint = (
            ""
            if set(task.grading_needs)
            else "; a reward may read and compute, and no more"
            if task.rewards()
            else "; what a grader may do beyond reading is named by the task's grading_needs"
        )

    def say(self, message: Message) -> None:
        self._connection.sendall(encode(message))

    def grade(self, jobs: list[Job]) -> bool:
        """Grade the jobs; give whether the worker is fit for more."""
        start = self._processor_seconds()
        self.say(Started(start))
        for problem, response in jobs:
            _seed(problem, response)
            (score, parts), error = self._score(problem, response)
            is_worn_out = not self._clean() or error.startswith(MemoryError.__name__)
            end = self._processor_seconds()
            self.say(GradedAnswer(score, error, end - start, end, is_worn_out, parts))
            if is_worn_out:
                return False
            start = end
        return True

    def _score(self, problem: Problem, response: str) -> tuple[Score, str]:
        nothing = Score(0.0, {})
        try:
            score = self._task.score(problem, response)
        except PermissionError as error:
            return nothing, described(error) + self._hint
        except BaseException as error:  # SystemExit too: no grader may end its worker by raising
            return nothing, described(error)
        if not 0 <= score.value <= 1:
            return nothing, f"score must be between 0 and 1, got {score.value}"
        if len(score.parts) > MOST_PARTS:
            return nothing, f"rewards must give at most {MOST_PARTS} numbers together, got {len(score.parts)}"
        return score, ""

    def _clean(self) -> bool:
        """Undo what a grader leaves behind; give whether that worked, with files left to open."""
        if self._starts_processes:
            _end_children()
        with suppress(OSError):  # removed by somebody else
            os.chdir(self._folder)
        try:
            empty(self._scratch)
            lowest = os.dup(self._connection.fileno())
            os.close(lowest)
        except OSError:
            return False
        return lowest < MAX_OPEN_FILES // 2

    def _processor_seconds(self) -> float:
        """Processor time of all threads of this process, and of the children that it has waited for."""
        seconds = time.process_time()
        if self._starts_processes:
            children = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds += children.ru_utime + children.ru_stime
        return seconds


def _seed(problem: Problem, response: str) -> None:
    seed = zlib.crc32(f"{problem.prompt}\0{response}".encode(errors="replace"))
    random.seed(seed)
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed(seed)


def _end_children() -> None:
    """Kill and wait for what a grader has left running, so that it neither goes on nor goes uncounted."""
    import psutil

    while children := psutil.Process().children(recursive=True):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children)


def _outlive_signals_but_not_the_parent() -> None:
    """Ctrl-C and a scheduler's SIGTERM reach the whole group, and it is the parent who answers them.

    A handler that does nothing, and not ``SIG_IGN``, which programs started by a grader would inherit.
    Should the parent be killed while a grader hangs, Linux kills the worker; an idle one sees its pipe
    close.  (Elsewhere than on Linux a hung grader outlives a parent that was killed by SIGKILL.)

    The worker has a session of its own, and what it starts is in it and is never handed to init: so the
    parent finds it all.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)
    os.setsid()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
