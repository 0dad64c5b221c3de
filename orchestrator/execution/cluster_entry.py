"""Executes a run on a cluster: starts its worker process on the allotted machine, and attends it.

The campaign's process and this one share only the run's folder, so this one first checks that it sees the
folder.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.execution.base import Ending
from orchestrator.execution.process import RunProcess
from orchestrator.storage.run_folder import RunFolder

POLL_SECONDS = 0.2


def attend(
    path: str,
    command: Sequence[str],
    threads: int,
    stop_signal: int | None = None,
    confidential: Mapping[str, str] | None = None,
) -> Ending:
    """Work on a run until it ends; an exception from outside, such as a cancellation, stops it in good order.

    Args:
        path: the run's folder.
        command: of the worker, after the name of the interpreter.
        threads: CPU threads of the run.
        stop_signal: means that the run is to save and stop; on its way to this process it may reach the
            run's too, which has to stay deaf to it.
        confidential: variables for the run's process, where the cluster does not pass on those of the command.
    """
    folder = RunFolder(Path(path))
    host = socket.gethostname()
    if not (folder.path / "run.json").exists():
        return Ending(how=f"the machine {host} does not see {path}; {SHARE_IT}")
    if stop_signal is not None and stop_signal != signal.SIGTERM:
        signal.signal(stop_signal, signal.SIG_IGN)  # which a process passes on to those that it starts
    process = RunProcess(folder, threads, command, confidential)
    if stop_signal is not None:
        signal.signal(stop_signal, lambda *_: process.ask())
    try:
        ending = _wait(process)
    except BaseException:
        process.ask()
        ending = _wait(process)
    return replace(ending, how=f"{ending.how} on {host}")


SHARE_IT = "tracking.folder must be on a file system that all machines share, under the same path"


def _wait(process: RunProcess) -> Ending:
    while (ending := process.ended()) is None:
        time.sleep(POLL_SECONDS)
    return ending
