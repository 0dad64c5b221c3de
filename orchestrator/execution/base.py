"""The interface of an executor: it takes run folders and reports how the work on them ended.

Everything else about a run is in its folder, which the worker process and the campaign's own
process share.  An executor schedules nothing and knows no results.  It starts the command
``python -m orchestrator.training.worker RUN_FOLDER`` somewhere and passes on requests to stop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from orchestrator.storage.run_folder import RunFolder


class ExecutorError(RuntimeError):
    """The executor cannot take runs, or cannot follow them any more; says what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the work on a run ended; its results are in the run's folder."""

    how: str
    """Such as ``the process was killed by SIGKILL``."""
    is_lost: bool = False
    """It was taken away from the run, by a signal or with its machine, and did not end by itself."""


class Job(ABC):
    """A run that an executor has been given."""

    @abstractmethod
    def ended(self) -> Ending | None:
        """How it ended; None while it waits or works.

        Raises:
            ExecutorError: nothing can be known of it any more.
        """

    @abstractmethod
    def ask(self) -> None:
        """Tell the run to save and stop; nothing where it has ended."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once; nothing where it has ended."""


class Crew(ABC):
    """The machines that an executor reached."""

    @abstractmethod
    def begin(self, folder: RunFolder) -> Job:
        """Begin a run, or continue it.

        Raises:
            ExecutorError: the run cannot be handed over.
        """

    def find(self, folder: RunFolder) -> Job | None:
        """The job that an earlier command left behind with a run, if it waits or works yet.

        Most leave none: their workers save and end with the command that began them.
        """
        return None


class Executor(ABC):
    """A place that executes runs; its fields are the resources that it requests for each run."""

    kind: ClassVar[str]

    @abstractmethod
    def connect(self, home: Path, threads: int) -> AbstractContextManager[Crew]:
        """Reach the machines.

        Args:
            home: the campaign's folder; room for what the executor writes itself.
            threads: CPU threads of each run.

        Raises:
            ExecutorError: they cannot be reached.
        """

    @abstractmethod
    def threads(self, num_workers: int) -> int:
        """CPU threads of each run where the campaign does not say; so many run at the same time."""

    def check(self) -> None:  # noqa: B027 - most need nothing that is not there
        """See that what it takes is installed.

        Raises:
            ConfigError: a package is missing; with the command that installs it.
        """
