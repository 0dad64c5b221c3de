"""Grading in worker processes, where a grader may hang, crash or raise and harm only its own response."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from time import monotonic
from types import TracebackType
from typing import Self

from tasks.base import Problem, Task
from tasks.grading_batch import Batch, Fate, Grades
from tasks.grading_process import GradingProcess, Phase, WorkerGoneError
from tasks.grading_worker import READY, StartFailure, Verdict

__all__ = ["Grades", "GradingPool"]


class GradingPool:
    """Workers that grade responses to one task, each response within a time limit.

    A worker is sent a chunk of the batch in one message and answers response by response.  When a
    response takes too long its worker is killed, a new one takes its place, and the rest of the chunk
    goes back to the queue.  Workers start at once and live until ``close``, which kills them; they do
    not outlive this process, however it ends.

    Workers are spawned, not forked, so a script that makes a pool needs ``if __name__ == "__main__"``,
    and the task's class must be importable.

    Args:
        task: its ``grade`` is called in the workers; it is pickled.
        num_workers: processes that grade side by side.
        timeout_seconds: wall-clock limit of one response, counted from when its own grading starts.
        memory_limit_megabytes: address space of a worker (RLIMIT_AS), or none.  A grader that asks for
            more gets a ``MemoryError``, an error like any other.  Address space is more than the memory
            in use: allow a few hundred megabytes for Python itself, and more where libraries are loaded.
    """

    def __init__(
        self,
        task: Task,
        *,
        num_workers: int = 1,
        timeout_seconds: float = 2.0,
        memory_limit_megabytes: int | None = None,
    ) -> None:
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        if not 0 < timeout_seconds < math.inf:
            raise ValueError(f"timeout_seconds must be above 0 and finite, got {timeout_seconds}")
        if memory_limit_megabytes is not None and memory_limit_megabytes < 1:
            raise ValueError(f"memory_limit_megabytes must be at least 1, got {memory_limit_megabytes}")
        self.task = task
        pickled_task = pickle.dumps(task)
        self._workers = [
            GradingProcess(pickled_task, timeout_seconds, memory_limit_megabytes) for _ in range(num_workers)
        ]
        # Runs at exit before multiprocessing's own handler, which would wait for the workers to end.
        self._end = Finalize(self, _kill_all, (self._workers,), exitpriority=10)
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
            RuntimeError: the pool is closed, or a worker in place of a killed one does not start.
        """
        if len(problems) != len(responses):
            raise ValueError(f"responses must be as many as problems ({len(problems)}), got {len(responses)}")
        if not self._end.still_active():
            raise RuntimeError("the grading pool is closed; make a new one")
        batch = Batch(list(zip(problems, responses)), num_chunks=len(self._workers))
        try:
            while batch.num_left:
                self._hand_out(batch)
                self._collect(batch)
        except BaseException:
            _kill_all([worker for worker in self._workers if worker.phase is Phase.BUSY])
            raise
        return batch.grades()

    def _start_workers(self) -> None:
        for worker in self._workers:
            worker.start()
        nothing = Batch([], num_chunks=1)
        while any(worker.phase is Phase.STARTING for worker in self._workers):
            self._collect(nothing)

    def _hand_out(self, batch: Batch) -> None:
        """Give the waiting chunks to idle workers; a worker that died while idle is replaced."""
        for worker in self._workers:
            if worker.phase in (Phase.STOPPED, Phase.IDLE) and not worker.is_alive:
                worker.start()
            if batch.chunks and worker.phase is Phase.IDLE:
                places = batch.chunks.popleft()
                try:
                    worker.submit(places, [batch.jobs[place] for place in places])
                except WorkerGoneError:
                    batch.chunks.appendleft(places)
                    worker.start()

    def _collect(self, batch: Batch) -> None:
        """Wait for messages, or for a deadline to pass.  A message that is there beats a deadline."""
        waiting = [worker for worker in self._workers if worker.phase in (Phase.STARTING, Phase.BUSY)]
        patience = min(worker.deadline for worker in waiting) - monotonic()
        speaking = wait([worker.connection for worker in waiting], max(0.0, patience))
        for worker in waiting:
            if worker.connection in speaking:
                self._listen(worker, batch)
            elif worker.deadline <= monotonic():
                self._give_up(worker, batch, Fate.TIMEOUT)

    def _listen(self, worker: GradingProcess, batch: Batch) -> None:
        """Take every message that is there."""
        try:
            self._take(worker.receive(), worker, batch)
            while worker.has_more():
                self._take(worker.receive(), worker, batch)
        except WorkerGoneError:
            self._give_up(worker, batch, Fate.CRASH)

    def _take(self, message: object, worker: GradingProcess, batch: Batch) -> None:
        if isinstance(message, StartFailure):
            raise RuntimeError(f"a grading worker could not load the task: {message.reason}")
        if isinstance(message, Verdict):
            batch.settle(worker.owed.popleft(), message)
        if message == READY:
            worker.ready()
        else:
            worker.next_job_begins()

    def _give_up(self, worker: GradingProcess, batch: Batch, fate: Fate) -> None:
        """Settle the job that a lost worker was at, put the others back, and replace the worker."""
        if worker.phase is Phase.STARTING:
            raise RuntimeError(
                f"a grading worker did not start (exit code {worker.exit_code}); its error is above, and "
                'a script that makes a GradingPool must do so under: if __name__ == "__main__"'
            )
        owed = worker.kill()
        lost, others = owed[:1], owed[1:]
        for place in lost:  # none where it had answered all it was sent
            batch.lose(place, fate)
        if others:
            batch.chunks.append(others)
        worker.start()


def _kill_all(workers: list[GradingProcess]) -> None:
    for worker in workers:
        worker.kill()
