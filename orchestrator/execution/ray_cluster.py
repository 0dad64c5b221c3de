"""The executor for an existing Ray cluster: each run is one task with its resources, and Ray places it.

A process that has joined a Ray cluster ends when the cluster goes away, and nothing can prevent that.
A separate process, `ray_driver`, joins the cluster, and the campaign's process talks to it in lines of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, ClassVar

from orchestrator.errors import ConfigError
from orchestrator.execution import process
from orchestrator.execution.base import Crew, Ending, Executor, ExecutorError, Job
from orchestrator.masking import mask_uri
from orchestrator.storage.run_folder import RunFolder

DRIVER = ("-P", "-m", "orchestrator.execution.ray_driver")
CONNECT_SECONDS = 120.0
LEAVE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster(Executor):
    """Tasks of a Ray cluster that exists."""

    kind: ClassVar[str] = "ray"

    address: str = "auto"
    """``HOST:PORT`` of the cluster's head; ``auto`` is the cluster that this machine belongs to."""
    num_cpus: float = 1.0
    """CPU cores that a run takes."""
    num_gpus: float = 0.0
    """GPUs that a run takes; a share such as 0.5 lets two runs use one."""
    memory_gib: float | None = None
    """Memory that a run takes [GiB]; null leaves it out of account."""
    resources: dict[str, float] = field(default_factory=dict)
    """Resources of the cluster's own naming, such as ``{a100: 1}``."""
    grows: bool = False
    """The cluster adds machines when they are asked for; what none of its present ones has is no error."""

    def __post_init__(self) -> None:
        if self.num_cpus < 0 or self.num_gpus < 0:
            raise ValueError(
                f"num_cpus and num_gpus must not be negative, got {self.num_cpus:g} and {self.num_gpus:g}"
            )
        if self.memory_gib is not None and self.memory_gib <= 0:
            raise ValueError(f"memory_gib must be positive, got {self.memory_gib:g}")

    def threads(self, num_workers: int) -> int:
        return max(1, int(self.num_cpus))

    def check(self) -> None:
        if find_spec("ray") is None:
            raise ConfigError(
                "execution.executor: kind 'ray' needs the package ray; pip install 'entrostat[ray]'"
            )

    @contextmanager
    def connect(self, home: Path, threads: int) -> Iterator[Crew]:
        self.check()
        home.mkdir(parents=True, exist_ok=True)
        driver = Driver(asdict(self) | {"threads": threads, "worker": process.WORKER}, home / "ray.txt")
        try:
            driver.wait_until_ready()
            yield driver
        finally:
            driver.close()


class Driver(Crew):
    """The process that has joined the cluster, as seen from this side.

    Args:
        settings: of the executor, with ``threads`` and the ``worker`` command.
        log_path: where what Ray says goes.
    """

    def __init__(self, settings: dict[str, Any], log_path: Path) -> None:
        self._log_path = log_path
        self._address = mask_uri(settings["address"])
        self._endings: dict[str, Ending] = {}
        self._answer: dict[str, Any] | None = None
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(  # nosec B603  # a list of our own, no shell
                [sys.executable, *DRIVER],
                # When this process is gone the pipe closes, and the driver stops the tasks and leaves.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._send(settings)
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> None:
        """Return when the driver has joined.

        Raises:
            ExecutorError: there is no such cluster, or none of its machines can take a run.
        """
        deadline = time.monotonic() + CONNECT_SECONDS
        while self._answer is None and self._reader.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        refusal = (self._answer or {}).get("refusal")
        if self._answer is None or refusal:
            reason = refusal or f"no answer, see {self._log_path}"
            raise ExecutorError(f"execution.executor: the Ray cluster {self._address!r}: {reason}")

    def begin(self, folder: RunFolder) -> Job:
        job = _Task(self, str(folder.path))
        self._endings.pop(job.path, None)
        self.tell("begin", job.path)
        return job

    def tell(self, order: str, path: str) -> None:
        """Send an order for a run.

        Raises:
            ExecutorError: the driver is gone, and so is the cluster.
        """
        self._send({"order": order, "path": path})

    def ending(self, path: str) -> Ending | None:
        """How a run ended, None while it has not.

        Raises:
            ExecutorError: the driver is gone, and so is the cluster.
        """
        is_there = self._reader.is_alive()  # asked first: its last words come before its end
        if path in self._endings:
            return self._endings[path]
        if not is_there:
            raise self._lost()
        return None

    def close(self) -> None:
        """Leave the cluster."""
        assert self.process.stdin is not None
        with suppress(OSError):  # it is gone already
            self.process.stdin.close()
        try:
            self.process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()

    def _read(self, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                said = json.loads(line)
                if "path" in said:
                    self._endings[said["path"]] = Ending(how=said["how"], is_lost=said["is_lost"])
                else:
                    self._answer = said

    def _send(self, line: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(line).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise self._lost() from error

    def _lost(self) -> ExecutorError:
        return ExecutorError(
            f"the Ray cluster {self._address!r} went away (see {self._log_path}); start it again with "
            "`ray start`, or name another in execution.executor.address"
        )


class _Task(Job):
    def __init__(self, driver: Driver, path: str) -> None:
        self._driver = driver
        self.path = path

    def ended(self) -> Ending | None:
        return self._driver.ending(self.path)

    def ask(self) -> None:
        self._driver.tell("ask", self.path)

    def kill(self) -> None:
        self._driver.tell("kill", self.path)
