"""The script for several nodes: it requeues in time, and starts a step again whose ranks were lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "configs/launch/slurm.sbatch"
COMMANDS = {
    "scontrol": 'if [ "$1" = show ]; then echo node1; else echo "$@" >> calls; fi',
    "entrostat": '[ "$1" != prepare ] || echo run-folder',
}
STUBBORN = "trap '' TERM; touch started; for _ in $(seq 300); do sleep 0.1; done"
UNLUCKY = "echo step >> calls; touch started; [ $(grep -c step calls) -ge %d ]"
OBEDIENT = "trap 'echo saved >> calls; exit 143' TERM; touch started; for _ in $(seq 300); do sleep 0.1; done"


@pytest.fixture
def job(tmp_path):
    """`job(srun)`: the script at work, with a step that does as the given lines say."""
    started = []

    def start(srun):
        for name, lines in (COMMANDS | {"srun": srun}).items():
            file = tmp_path / name
            file.write_text(f"#!/bin/bash\n{lines}\n")
            file.chmod(0o755)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "PATIENCE": "2"}
        process = subprocess.Popen(
            ["bash", SCRIPT, "campaign.yaml"],
            cwd=tmp_path,
            env=os.environ | environment | {"SLURM_JOB_NODELIST": "node1"},
            start_new_session=True,
        )
        started.append(process)
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("srun", "calls"), [(STUBBORN, ["requeue 7"]), (OBEDIENT, ["saved", "requeue 7"])], ids=["long", "short"]
)
def test_a_job_that_is_told_to_stop_is_requeued(job, tmp_path, srun, calls):
    process = job(srun)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    assert (tmp_path / "calls").read_text().split("\n")[:-1] == calls


@pytest.mark.parametrize(
    ("works_at", "steps"), [(1, 1), (2, 2), (9, 3)], ids=["at once", "when tried again", "never"]
)
def test_a_step_that_fails_is_started_again(job, tmp_path, works_at, steps):
    process = job(UNLUCKY % works_at)
    assert process.wait(timeout=20) == 0  # that of `entrostat run`, which tries what is left
    assert (tmp_path / "calls").read_text().split("\n")[:-1] == ["step"] * steps
