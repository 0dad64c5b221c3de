"""The executor for this machine: each run is a process, at most ``execution.workers`` at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from orchestrator.execution.base import Crew, Executor, Job
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

    def begin(self, folder: RunFolder) -> Job:
        return RunProcess(folder, self._threads)


def shared_cores(num_workers: int) -> int:
    """CPU threads of each of some workers that share the cores of this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // num_workers)
