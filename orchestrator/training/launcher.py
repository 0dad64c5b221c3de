"""Starts and stops the ranks of a run on this machine together.

The launcher describes the ranks to each other in the environment, as torchrun does.  Several machines need
torchrun itself or SLURM (``configs/launch``).  The launcher imports nothing heavy and waits.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from orchestrator.collected_signals import collected_signals
from orchestrator.storage.run_folder import RunFolder, RunState

EXIT_FAILED, EXIT_INTERRUPTED = 1, 143
POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0
"""What the other ranks have to end in after one has failed."""


def num_ranks(folder: RunFolder) -> int:
    """Number of processes to launch for the run; 1 within a process that is launched already.

    Raises:
        ValueError: they are on several machines and have not been launched there.
    """
    if "RANK" in os.environ:
        return 1
    learner = folder.read_info().config.get("learner", {})
    num_nodes = learner.get("num_nodes", 1)
    if num_nodes > 1:
        raise ValueError(
            f"learner.num_nodes: the run is for {num_nodes} machines, each of which has to start it; use "
            "configs/launch/torchrun.sh or configs/launch/slurm.sbatch, or set num_nodes to 1"
        )
    return int(learner.get("devices", 1))


def launch(folder: RunFolder, command: Sequence[str], size: int) -> int:
    """Run ``command`` as ranks 0..size-1 to their end; give the exit status.

    A signal is handed on, and the ranks end by themselves.  When one fails the others are ended, and the
    status says which it was where it could not say so itself.
    """
    with collected_signals() as received:
        ranks = [_start(command, environment) for environment in _environments(size)]
        first, deadline, told = None, float("inf"), False
        while any(rank.poll() is None for rank in ranks):
            if received and not told:
                _send(ranks, signal.SIGTERM)
                told = True
            if first is None and (first := _failed(ranks, told)) is not None:
                _send(ranks, signal.SIGTERM)
                deadline = time.monotonic() + GRACE_SECONDS
            if time.monotonic() > deadline:
                _send(ranks, signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        if first is None:
            first = _failed(ranks, told)
        for rank in ranks:
            if rank.stdin is not None:
                rank.stdin.close()
    if told:
        _settle(folder, "interrupted", "told to stop")
        return EXIT_INTERRUPTED if any(rank.returncode for rank in ranks) else 0
    if first is None:
        return max(rank.returncode for rank in ranks)
    code = ranks[first].returncode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
    _settle(folder, "failed", f"rank {first} of {size} {how}; see {folder.log_path}", override=code < 0)
    return EXIT_FAILED


def _environments(size: int) -> Iterator[dict[str, str]]:
    """The environment of each rank; the CPU threads of the run are shared out."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", size)) // size)
    for rank in range(size):
        yield os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": str(threads),
        }


def _start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # In the process group of this one, so that killing the group leaves no rank behind; and each lives as
    # long as its pipe, for when this one alone is killed.
    return subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, env=environment)  # nosec B603  # a list of our own, no shell


def _failed(ranks: Sequence[subprocess.Popen[bytes]], told: bool) -> int | None:
    """The first rank that ended as it should not; to stop when told is as it should be."""
    for number, rank in enumerate(ranks):
        orderly = {0, EXIT_INTERRUPTED} | ({-signal.SIGTERM} if told else set())
        if rank.poll() not in {None, *orderly}:
            return number
    return None


def _send(ranks: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for rank in ranks:
        if rank.poll() is None:
            with suppress(ProcessLookupError):
                rank.send_signal(number)


def _settle(folder: RunFolder, state: RunState, reason: str, *, override: bool = False) -> None:
    """Write how the run ended where no rank has; ``override`` what the others say about the one that died."""
    status = folder.read_status()
    if status.status in ("running", "pending") or (override and status.status != "done"):
        with suppress(OSError):  # on a full disk the old status stays
            folder.write_status(dataclasses.replace(status, status=state, reason=reason, pid=None))
