"""The executor for a SLURM cluster, through submitit: each run is one job.

Jobs outlive the command that submitted them.  Their numbers are in the run folders, so the same command
follows the jobs that wait or work, and submits only runs without a job.  A command that is stopped in an
orderly way cancels its jobs.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from orchestrator.errors import ConfigError
from orchestrator.execution import process
from orchestrator.execution.base import Crew, Ending, Executor, ExecutorError, Job
from orchestrator.execution.cluster_entry import SHARE_IT, attend
from orchestrator.storage.files import read_json, write_json
from orchestrator.storage.run_folder import RunFolder

JOB_FILE = "job.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slurm(Executor):
    """Jobs of a SLURM cluster."""

    kind: ClassVar[str] = "slurm"

    partition: str | None = None
    """Partition to submit to; null is the cluster's default."""
    account: str | None = None
    """Account that is charged; null is the cluster's default."""
    qos: str | None = None
    """Quality of service; null is the cluster's default."""
    constraint: str | None = None
    """Features that a node must have, such as ``a100``."""
    cpus_per_task: int = 1
    """CPU cores of a run."""
    gpus_per_node: int | None = None
    """GPUs of a run; null asks for none."""
    memory_gib: float | None = None
    """Memory of a run [GiB]; null is the cluster's default."""
    time_minutes: int = 60
    """Time limit of a job; a run that takes longer is saved and goes on in another."""
    grace_seconds: int = 120
    """Seconds before the time limit at which a run is told to finish its iteration and to save."""
    cluster: Literal["slurm", "local"] = "slurm"
    """``local`` tries the same on this machine, without SLURM."""

    def __post_init__(self) -> None:
        for name in ("cpus_per_task", "time_minutes", "grace_seconds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.grace_seconds >= 60 * self.time_minutes:
            raise ValueError(
                f"grace_seconds must be below the {60 * self.time_minutes} seconds of time_minutes, "
                f"got {self.grace_seconds}; lower it"
            )

    def threads(self, num_workers: int) -> int:
        return self.cpus_per_task

    def check(self) -> None:
        if find_spec("submitit") is None:
            raise ConfigError(
                "execution.executor: kind 'slurm' needs the package submitit; pip install 'entrostat[slurm]'"
            )

    @contextmanager
    def connect(self, home: Path, threads: int) -> Iterator[Crew]:
        self.check()
        import submitit

        try:
            executor = submitit.AutoExecutor(home / "slurm", cluster=self.cluster)
        except RuntimeError as error:
            raise ExecutorError(
                "execution.executor: there is no srun on this machine; give the command on a login node of "
                "the cluster, or try it here with cluster: local"
            ) from error
        executor.update_parameters(**self.parameters())
        yield _Queue(executor, threads, self.cluster)

    def parameters(self) -> dict[str, Any]:
        """What submitit is asked for."""
        wishes = {
            "timeout_min": self.time_minutes,
            "nodes": 1,
            "tasks_per_node": 1,
            "cpus_per_task": self.cpus_per_task,
            "gpus_per_node": self.gpus_per_node,
            "mem_gb": self.memory_gib,
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_qos": self.qos,
            "slurm_constraint": self.constraint,
            "slurm_signal_delay_s": self.grace_seconds,
        }
        return {name: wish for name, wish in wishes.items() if wish is not None}


class _Queue(Crew):
    def __init__(self, executor: Any, threads: int, cluster: str) -> None:
        self._executor = executor
        self._threads = threads
        self._cluster = cluster

    def begin(self, folder: RunFolder) -> Job:
        info = folder.read_info()
        self._executor.update_parameters(name=f"{info.campaign}/{info.arm}/{info.seed}")
        try:
            job = self._executor.submit(
                attend, str(folder.path), process.WORKER, self._threads, self._stop_signal
            )
        except Exception as error:  # submitit does not separate its own errors from those of sbatch
            raise ExecutorError(
                f"execution.executor: SLURM did not take the job: {_one_line(error)}"
            ) from error
        write_json(folder.path / JOB_FILE, {"cluster": self._cluster, "id": job.job_id})
        return _SlurmJob(folder, job, self._cluster)

    def find(self, folder: RunFolder) -> Job | None:
        path = folder.path / JOB_FILE
        if not path.exists():
            return None
        known = read_json(path)
        if known["cluster"] != self._cluster:
            return None
        import submitit

        kind = submitit.SlurmJob if self._cluster == "slurm" else submitit.LocalJob
        job = _SlurmJob(folder, kind(self._executor.folder, known["id"]), self._cluster)
        return job if job.is_there() else None

    @property
    def _stop_signal(self) -> int:
        # SLURM gives the first before a time limit and submitit's local executor passes on the second.
        return signal.SIGUSR2 if self._cluster == "slurm" else signal.SIGTERM


class _SlurmJob(Job):
    def __init__(self, folder: RunFolder, job: Any, cluster: str) -> None:
        self._folder = folder
        self._job = job
        self._cluster = cluster

    def is_there(self) -> bool:
        """Whether it waits or works."""
        return self._folder.is_locked() or not self._job.done(force_check=True)

    def ended(self) -> Ending | None:
        # A node that is cut off may hold the folder for longer than SLURM has known its job to be over.
        if not self._job.done() or self._folder.is_locked():
            return None
        what = f"job {self._job.job_id}"
        if not self._job.paths.result_pickle.exists():
            state = self._job.state
            return Ending(
                how=f"{what} ended as {state} without a message, see {self._job.paths.stderr}; {SHARE_IT}",
                is_lost=not state.startswith("CANCELLED"),
            )
        error = self._job.exception()
        if error is not None:
            return Ending(how=f"{what} failed: {_one_line(error)[-300:]}")
        ending: Ending = self._job.result()
        return Ending(how=f"{ending.how}, {what}", is_lost=ending.is_lost)

    def ask(self) -> None:
        if self._cluster == "local":
            self._signal(signal.SIGTERM)
        elif self._job.watcher.get_state(self._job.job_id, mode="force") == "RUNNING":
            subprocess.run(["scancel", "--signal=USR2", self._job.job_id], check=False)  # nosec B603 B607  # a list of our own, no shell; the program that the user's PATH names
        else:
            self._job.cancel(check=False)

    def kill(self) -> None:
        if self._cluster == "local":
            self._signal(
                signal.SIGINT
            )  # which its controller passes on, and kills what is left after a second
        else:
            self._job.cancel(check=False)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(int(self._job.job_id), number)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
