"""The executor for this machine: each run is a process, at most ``execution.workers`` at the same time.

On a machine with GPUs a run sees only those that are lent to it: ``learner.devices`` of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from orchestrator.execution.base import Crew, Executor, Job
from orchestrator.execution.devices import GpuDesk, device_setting
from orchestrator.execution.process import RunProcess
from orchestrator.storage.run_folder import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(Executor):
    """Processes of this machine."""

    kind: ClassVar[str] = "local"

    @contextmanager
    def connect(self, home: Path, threads: int) -> Iterator[Crew]:
        yield _Processes(threads)

    def threads(self, num_workers: int) -> int:
        return shared_cores(num_workers)


class _Processes(Crew):
    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._desk = GpuDesk()

    def begin(self, folder: RunFolder) -> Job:
        learner = folder.read_info().config.get("learner", {})
        number = 0 if learner.get("accelerator") == "cpu" else int(learner.get("devices", 1))
        gpus = self._desk.choose(number)
        job = RunProcess(folder, self._threads, environment=device_setting(gpus))
        self._desk.lend(gpus, job)
        return job


def shared_cores(num_workers: int) -> int:
    """CPU threads of each of some workers that share the cores of this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // num_workers)
