"""A run in a process of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from orchestrator.execution.base import Ending, Job
from orchestrator.storage.run_folder import RunFolder

# -P: a folder of the user's that is called "tasks" or "policies" must not hide ours.
WORKER: tuple[str, ...] = ("-P", "-m", "orchestrator.training.worker")


class RunProcess(Job):
    """The worker process of a run, with all that it starts; it stops and saves when this process is gone.

    ``environment`` are further variables of its environment; ``confidential`` those that this process must not have.
    """

    def __init__(
        self,
        folder: RunFolder,
        threads: int,
        command: Sequence[str] | None = None,
        confidential: Mapping[str, str] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        variables = {**os.environ, **(environment or {}), **(confidential or {})} | {
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        with folder.log_path.open("ab") as log:
            self.process = subprocess.Popen(  # nosec B603  # a list of our own, no shell
                [sys.executable, *(command or WORKER), str(folder.path), "--with-parent"],
                # The worker lives as long as this pipe: it stops, and saves, when this process is gone.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=variables,
                # A Ctrl-C reaches this process only, which tells the workers in its own time.
                start_new_session=True,
            )

    def ended(self) -> Ending | None:
        code = self.process.poll()
        if code is None:
            return None
        if self.process.stdin is not None:
            self.process.stdin.close()
        if code < 0:
            return Ending(how=f"the process was killed by {signal.Signals(-code).name}", is_lost=True)
        return Ending(how=f"the process exited with status {code}")

    def ask(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
