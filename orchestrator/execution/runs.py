"""A run in the hands of an executor: how it ends, how it is stopped, when it is retried."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.execution.base import Crew, Ending, ExecutorError, Job
from orchestrator.storage.run_folder import RunFolder, RunState

STOP_SECONDS = 60.0
"""For a run to finish its iteration and to save."""
KILL_SECONDS = 60.0
"""For a cluster to have ended a run that it was told to kill."""
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Worker:
    """A job and the run that it works on."""

    folder: RunFolder
    job: Job


class Patience:
    """Counts how often in a row a run was lost without a new checkpoint.

    Args:
        retries: losses in a row after which it is retried.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._losses: dict[Path, tuple[int, int]] = {}

    def takes_up(self, run: RunFolder) -> bool:
        """Count one more loss; return whether to retry the run."""
        checkpoint = run.checkpoint_path
        saved = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        losses, known = self._losses.get(run.path, (0, saved))
        losses = losses + 1 if saved == known else 1
        self._losses[run.path] = losses, saved
        return losses <= self._retries


def start_run(folder: RunFolder, crew: Crew) -> Worker:
    """Begin a run, or continue it, or follow the job that is at it already."""
    return Worker(folder, crew.find(folder) or crew.begin(folder))


def is_lost(folder: RunFolder, ending: Ending) -> bool:
    """Whether a run lost its worker without a request to stop."""
    status = folder.read_status().status
    is_open = status in ("running", "pending")
    # Cut off from us, a worker may go on for a while; the next one finds the folder locked, and ends.
    return status == "interrupted" or (is_open and (ending.is_lost or folder.is_locked()))


def settle_run(folder: RunFolder, ending: Ending, state: RunState = "failed") -> None:
    """Take leave of a run; where the worker ended without a word its ending is written for it."""
    status = folder.read_status()
    if status.status in ("running", "pending") and not folder.is_locked():
        reason = f"{ending.how}; see {folder.log_path}"
        with suppress(OSError):  # on a full disk the old status stays; the other runs go on
            folder.write_status(replace(status, status=state, reason=reason, pid=None))


def stop_runs(workers: Sequence[Worker]) -> None:
    """Tell the workers to save and stop, and wait; kill those that take too long."""
    for worker in workers:
        with suppress(ExecutorError):
            worker.job.ask()
    deadline = time.monotonic() + STOP_SECONDS
    for worker in workers:
        settle_run(worker.folder, _last_ending(worker, deadline), "interrupted")


def _last_ending(worker: Worker, deadline: float) -> Ending:
    is_killed = False
    try:
        while (ending := worker.job.ended()) is None:
            if time.monotonic() >= deadline:
                if is_killed:
                    return Ending(how="it was told to end and has not ended yet", is_lost=True)
                worker.job.kill()
                is_killed, deadline = True, time.monotonic() + KILL_SECONDS
            time.sleep(POLL_SECONDS)
    except ExecutorError as error:
        _wait_until_free(worker.folder, deadline)
        return Ending(how=str(error), is_lost=True)
    return ending


def _wait_until_free(folder: RunFolder, deadline: float) -> None:
    """Wait for an unreachable worker, which saves and ends by itself if its machine still works."""
    while folder.is_locked() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
