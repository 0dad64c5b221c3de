"""The script without a scheduler: ranks that are lost are started again, and go on from the last checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from tests.elsewhere import python_path

SCRIPT = Path(__file__).parents[3] / "configs/launch/torchrun.sh"
SETTINGS = {
    "learner.iterations": 20,
    "learner.devices": 2,
    "learner.checkpoint_every": 2,
    "evaluation.every": 100,
    "evaluation.num_problems": 2,
}


def second_rank(torchrun: int) -> int:
    """The process of it that torchrun started last."""
    children = Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()
    environments = {child: Path(f"/proc/{child}/environ").read_bytes().split(b"\0") for child in children}
    return next(int(child) for child, lines in environments.items() if b"RANK=1" in lines)


@pytest.mark.trains
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_rank_that_is_killed_is_started_again(write_campaign, tmp_path):
    folder = prepare(read_campaign(write_campaign(dict(SETTINGS)))).run("held", 0)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": python_path(),
        "HEAD": "127.0.0.1",
        "PORT": str(20000 + os.getpid() % 20000),
        "NODES": "1",
        "DEVICES": "2",
    }
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            ["sh", str(SCRIPT), str(folder.path)],
            env={name: value for name, value in environment.items() if name != "RANK"},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        while not folder.checkpoint_path.exists():
            assert process.poll() is None, output.read_text()
            time.sleep(0.02)
        os.kill(second_rank(process.pid), signal.SIGKILL)
        assert process.wait() == 0, output.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (
        "Restoring states from the checkpoint" in output.read_text()
    )  # said by the ranks of the second start
    assert folder.read_status().status == "done"
    assert [record.step for record in folder.records() if record.kind == "train"] == list(range(20))
