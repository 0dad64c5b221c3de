"""What a cluster executes for a run: it starts the worker, passes on that it is to stop, and says how it ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from orchestrator.execution import cluster_entry
from orchestrator.execution.base import Ending
from orchestrator.execution.cluster_entry import attend
from tests.orchestrator.execution.conftest import FAKE_WORKER, wait_for


def test_a_run_that_ends_by_itself(run_of):
    ending = attend(str(run_of("good").path), FAKE_WORKER, 1)
    assert ending == Ending(how=f"the process exited with status 0 on {socket.gethostname()}")
    assert run_of("good").read_status().status == "done"


def test_a_run_that_is_killed_is_lost(run_of):
    ending = attend(str(run_of("dies").path), FAKE_WORKER, 1)
    assert ending.is_lost
    assert "killed by SIGKILL on" in ending.how


def test_a_folder_that_this_machine_does_not_see(tmp_path):
    ending = attend(str(tmp_path / "elsewhere"), FAKE_WORKER, 1)
    assert not ending.is_lost  # it would not see it the next time either
    assert f"{socket.gethostname()} does not see {tmp_path / 'elsewhere'}" in ending.how
    assert "tracking.folder must be on a file system that all machines share" in ending.how


def test_an_exception_from_outside_stops_the_run_in_good_order(run_of, monkeypatch):
    """As Ray's cancellation is: a KeyboardInterrupt in the middle of the task."""
    folder = run_of("waits")
    is_running = lambda: folder.read_status().status == "running"  # noqa: E731

    def cancelled(_):
        if is_running() and not asked:
            asked.append(True)
            raise KeyboardInterrupt

    asked = []
    monkeypatch.setattr(cluster_entry.time, "sleep", cancelled)
    ending = attend(str(folder.path), FAKE_WORKER, 1)
    assert asked
    assert "exited with status 143" in ending.how
    assert folder.read_status().status == "interrupted"


PROGRAM = """
import signal, sys
from orchestrator.execution.cluster_entry import attend
print(attend(sys.argv[1], sys.argv[2:], 1, signal.SIGUSR2).how)
"""


def test_the_stop_signal_stops_the_run_which_is_deaf_to_it_itself(run_of):
    """SLURM gives it to every process of a job at the same time."""
    folder = run_of("waits")
    job = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder.path), *FAKE_WORKER], stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: folder.read_status().status == "running")
    os.kill(folder.read_status().pid, signal.SIGUSR2)
    threading.Event().wait(0.3)
    assert folder.read_status().status == "running"
    os.kill(job.pid, signal.SIGUSR2)
    assert "exited with status 143" in job.communicate(timeout=60)[0]
    assert folder.read_status().status == "interrupted"


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_reach_the_run(run_of, threads):
    command = ("-c", f"import os, sys; sys.exit(os.environ['OMP_NUM_THREADS'] != '{threads}')")
    assert "status 0" in attend(str(run_of("good").path), command, threads).how
