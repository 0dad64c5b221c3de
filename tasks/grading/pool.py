"""Grades in worker processes, so a failing grader harms only its own response."""

from __future__ import annotations

import logging
import math
import pickle
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from tasks.base import Problem, Task
from tasks.grading.batch import Batch, Fate, Grades
from tasks.grading.messages import GradedAnswer, Message, Ready, StartFailure
from tasks.grading.process import START_SECONDS, GradingProcess, Phase, WorkerGoneError, signal_name
from tasks.grading.scratch import Scratch
from tasks.own_code import sources

__all__ = ["Grades", "GradingPool"]

START_TRIES = 3
"""How often in a row a worker may fail to start before the pool gives up."""

WALL_FACTOR, MIN_WALL_SECONDS = 20.0, 60.0
"""The limit on the wall clock, for graders that sleep: so many times the limit on processor time, or this."""

log = logging.getLogger(__name__)


class GradingPool:
    """Workers that grade responses to one task, each response within a limit of processor time.

    A worker is sent a chunk of the batch in one message and answers response by response.  When a
    response takes too long its worker is killed, a new one takes its place, and the rest of the chunk
    goes back to the queue.  A response whose worker is killed from outside is graded again.  Workers start
    at once and live until ``close``, which kills them with all that they have started; they do not outlive
    this process, however it ends.

    Before it grades, a worker gives up what its task does not need (`tasks.grading.confinement`).

    Workers are spawned, not forked, so a script that makes a pool needs ``if __name__ == "__main__"``,
    and the task's class must be importable.

    Args:
        task: its ``grade`` is called in the workers; it is pickled.
        num_workers: processes that grade side by side.
        timeout_seconds: processor time of one response, in the worker and in what it starts.  The grade
            is the same on a machine that is busy with other things.
        wall_limit_seconds: limit of one response by the clock on the wall, for a grader that waits; None is
            20 times the processor time, and at least 60 s.
        memory_limit_megabytes: address space of a worker (RLIMIT_AS), or none.  A grader that asks for
            more gets a ``MemoryError``, an error like any other.  Address space is more than the memory
            in use: allow a few hundred megabytes for Python itself, and more where libraries are loaded.
        warn: whether the first fault of a grader is logged.
    """

    def __init__(
        self,
        task: Task,
        *,
        num_workers: int = 1,
        timeout_seconds: float = 2.0,
        wall_limit_seconds: float | None = None,
        memory_limit_megabytes: int | None = None,
        warn: bool = True,
    ) -> None:
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        if not 0 < timeout_seconds < math.inf:
            raise ValueError(f"timeout_seconds must be above 0 and finite, got {timeout_seconds}")
        if wall_limit_seconds is not None and not wall_limit_seconds > 0:
            raise ValueError(f"wall_limit_seconds must be above 0, got {wall_limit_seconds}")
        if memory_limit_megabytes is not None and memory_limit_megabytes < 1:
            raise ValueError(f"memory_limit_megabytes must be at least 1, got {memory_limit_megabytes}")
        self.task = task
        self.confinement: dict[str, str] = {}
        """What the graders are held to, by rule; what is not held says so (`tasks.grading.confinement`)."""
        self._timeout_seconds = timeout_seconds
        self._names: set[str] = set()
        self._told_error = not warn
        for reward in task.rewards().values():
            reward.load()  # here too, so that every worker is sent the same text
        scratch = Scratch()
        pickled_task = pickle.dumps(task)
        self._workers = [
            GradingProcess(
                pickled_task,
                scratch,
                timeout_seconds=timeout_seconds,
                wall_limit_seconds=wall_limit_seconds or max(WALL_FACTOR * timeout_seconds, MIN_WALL_SECONDS),
                memory_limit_megabytes=memory_limit_megabytes,
                own_code=sources(),
            )
            for _ in range(num_workers)
        ]
        # Runs at exit before multiprocessing's own handler, which would wait for the workers to end.
        self._end = Finalize(self, _close, (self._workers, scratch), exitpriority=10)
        try:
            self._start_workers()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the workers.  The pool cannot be used afterwards; closing twice does no harm."""
        self._end()

    def grade(self, problems: Sequence[Problem], responses: Sequence[str]) -> Grades:
        """Score each response to its problem.

        Raises:
            RuntimeError: the pool is closed, or a worker in place of a killed one cannot be started.
        """
        if len(problems) != len(responses):
            raise ValueError(f"responses must be as many as problems ({len(problems)}), got {len(responses)}")
        if not self._end.still_active():
            raise RuntimeError("the grading pool is closed; make a new one")
        batch = Batch(
            list(zip(problems, responses)),
            num_chunks=len(self._workers),
            limit_seconds=self._timeout_seconds,
            names=self._names,
        )
        try:
            while batch.num_left:
                self._hand_out(batch)
                self._collect(batch)
        except BaseException:
            _kill_all([worker for worker in self._workers if worker.phase is Phase.BUSY])
            raise
        grades = batch.grades()
        if grades.first_error and not self._told_error:
            self._told_error = True
            log.warning("a grader went wrong; such responses score 0 and are counted: %s", grades.first_error)
        return grades

    def _start_workers(self) -> None:
        for worker in self._workers:
            self._start(worker)
        nothing = Batch([], num_chunks=1)
        while any(worker.phase is Phase.STARTING for worker in self._workers):
            self._collect(nothing)

    def _hand_out(self, batch: Batch) -> None:
        """Give the waiting chunks to idle workers; a worker that died while idle is replaced."""
        for worker in self._workers:
            if worker.phase in (Phase.STOPPED, Phase.IDLE) and not worker.is_alive:
                self._start(worker)
            if batch.chunks and worker.phase is Phase.IDLE:
                places = batch.chunks.popleft()
                try:
                    worker.submit(places, [batch.jobs[place] for place in places])
                except WorkerGoneError:
                    batch.chunks.appendleft(places)
                    self._start(worker)

    def _collect(self, batch: Batch) -> None:
        """Wait for messages, or until a worker must be looked at.  A message that is there beats a deadline."""
        waiting = [worker for worker in self._workers if worker.phase in (Phase.STARTING, Phase.BUSY)]
        patience = min(worker.deadline for worker in waiting) - monotonic()
        speaking = wait([worker.connection for worker in waiting], max(0.0, patience))
        for worker in waiting:
            if worker.connection in speaking:
                self._listen(worker, batch)
            elif worker.deadline <= monotonic() and worker.is_overdue():
                self._give_up(worker, batch)

    def _listen(self, worker: GradingProcess, batch: Batch) -> None:
        """Take every message that is there."""
        try:
            for message in worker.receive():
                self._take(message, worker, batch)
        except WorkerGoneError:
            self._mourn(worker, batch)

    def _take(self, message: Message, worker: GradingProcess, batch: Batch) -> None:
        if isinstance(message, StartFailure):
            self._start_again(
                worker, f"could not load the task: {message.reason}", hopeless=not worker.was_ready
            )
        elif isinstance(message, Ready):
            self.confinement = message.confinement
            worker.ready()
        else:
            if isinstance(message, GradedAnswer):
                batch.settle(worker.owed.popleft(), message)
                if message.worn_out:
                    self._replace(worker, batch, worker.kill())
                    return
            worker.next_job_begins(message)

    def _give_up(self, worker: GradingProcess, batch: Batch) -> None:
        """Settle the response that took too long, or start again what did not come as far as one."""
        if worker.phase is Phase.STARTING:
            self._start_again(worker, f"did not start within {START_SECONDS:g} s")
            return
        has_begun = worker.has_begun
        first, *others = worker.kill()
        if has_begun:
            batch.lose(first, Fate.TIMEOUT)
        else:
            batch.interrupted(first, f"its worker did not read it within {START_SECONDS:g} s")
        self._replace(worker, batch, others)

    def _mourn(self, worker: GradingProcess, batch: Batch) -> None:
        """Settle the response that a worker was at when it ended, or have it graded again where it is not to blame."""
        code, killed_by = worker.exit_code, worker.killed_by
        if worker.phase is Phase.STARTING:
            reason = f"was killed by {killed_by}" if killed_by else f"ended with exit code {code}"
            hint = '; its error is above, and a script that makes a GradingPool must do so under: if __name__ == "__main__"'
            self._start_again(
                worker, f"did not start: it {reason}{hint}", hopeless=not (killed_by or worker.was_ready)
            )
            return
        for place in (owed := worker.kill())[:1]:  # none where it had answered all it was sent
            if killed_by:
                batch.interrupted(place, f"its worker was killed by {killed_by}")
            else:
                batch.lose(place, Fate.CRASH, f"its worker {_ending(code)}")
        self._replace(worker, batch, owed[1:])

    def _replace(self, worker: GradingProcess, batch: Batch, others: list[int]) -> None:
        if others:
            batch.chunks.append(others)
        self._start(worker)

    def _start(self, worker: GradingProcess) -> None:
        try:
            worker.start()
        except OSError as error:
            self._start_again(worker, f"could not be launched: {error}")

    def _start_again(self, worker: GradingProcess, reason: str, *, hopeless: bool = False) -> None:
        """A start that fails is tried again, more slowly each time, unless it would fail in the same way."""
        worker.num_failed_starts += 1
        num_failed = worker.num_failed_starts
        worker.kill()
        if hopeless or num_failed >= START_TRIES:
            tries = "" if num_failed == 1 else f", {num_failed} times in a row"
            raise RuntimeError(f"a grading worker {reason}{tries}")
        log.warning("a grading worker %s; it is started again", reason)
        sleep(num_failed)
        self._start(worker)


def _ending(code: int | None) -> str:
    if code is None:
        return "wrote what no worker writes"
    return f"ended with exit code {code}" if code >= 0 else f"ended by {signal_name(-code)}"


def _close(workers: list[GradingProcess], scratch: Scratch) -> None:
    _kill_all(workers)
    scratch.close()


def _kill_all(workers: list[GradingProcess]) -> None:
    for worker in workers:
        worker.kill()
