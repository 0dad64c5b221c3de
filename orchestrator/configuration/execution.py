"""The section ``execution``: place and manner in which the runs of a campaign are executed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from orchestrator.configuration.part_schema import Strict, one_of
from orchestrator.configuration.policy import PolicyConfig
from orchestrator.execution import EXECUTORS
from orchestrator.execution.base import Executor
from orchestrator.execution.local import Local

AnyExecutor = Annotated[Executor, one_of(EXECUTORS)]


class ExecutionConfig(Strict):
    """Place and manner of the execution of runs; it changes no result."""

    executor: AnyExecutor = Local()
    """Machines that execute the runs; on a cluster ``tracking.folder`` has to be one that all of them share."""
    workers: PositiveInt = 1
    """Runs at the same time, each a process of its own; on a cluster, tasks or jobs handed over at once."""
    threads: PositiveInt | None = None
    """CPU threads of each run; null shares the cores among the workers, or takes what a cluster gives, and is 1 for
    ``builtin:tiny`` of no more than 128 units, whose tensors are too small to be shared."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Times in a row that a run is continued after its worker was lost without having saved any further."""
    graders: PositiveInt = 1
    """Processes that grade the responses of a run."""
    grading_timeout_seconds: PositiveFloat = 2.0
    """Processor time of one response; a grader that waits has 20 times that on the wall clock, at least 60 s."""
    grading_memory_megabytes: PositiveInt | None = 4096
    """Address space of a process that grades; null sets no limit."""
    profile_iterations: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Training iterations of which torch's profiler writes a trace into the folder ``profile`` of the run."""

    def threads_of_a_run(self, policies: Iterable[PolicyConfig], num_workers: int) -> int:
        """CPU threads of each run, of so many at the same time, that train these policies."""
        if self.threads is not None:
            return self.threads
        if all(policy.is_tiny for policy in policies):
            return 1
        return self.executor.threads(num_workers)
