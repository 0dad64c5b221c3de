"""Whole runs with vLLM in the learner's process: from the command line, stopped, and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training import run as worker
from tests.elsewhere import python_path

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1800)]

CLOCKS = ("seconds/", "rollout/tokens_per_second")
CHANGES = {
    "rollout.engine": {"kind": "vllm", "cache_gib": 0.25},
    "learner.iterations": 8,
    "learner.checkpoint_every": 1,
    "learner.learning_rate": 3.0e-3,
}


def column(folder, metric):
    return [record.metrics[metric] for record in folder.records() if record.kind == "train"]


def results(folder):
    """Everything measured but for the clocks."""
    return [
        (record.step, record.kind, {k: v for k, v in record.metrics.items() if not k.startswith(CLOCKS)})
        for record in folder.records()
    ]


def wait_for_iteration(folder, process, iteration):
    deadline = time.monotonic() + 1200
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended too soon"
        if folder.metrics_path.exists() and len(column(folder, "loss")) > iteration:
            return
        time.sleep(0.02)
    raise AssertionError("the run did not get that far")


def test_a_campaign_learns_with_vllm_and_continues_to_the_same_end(write_campaign, tmp_path):
    path = write_campaign({**CHANGES, "arms": [{"name": "grpo", "method": "grpo"}]})
    run = RunFolder(tmp_path / "runs" / "small" / "grpo" / "seed-0")
    command = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", "run", str(path)],
        env=os.environ | {"PYTHONPATH": python_path()}, start_new_session=True,
    )  # fmt: skip
    wait_for_iteration(run, command, 2)
    command.send_signal(signal.SIGTERM)
    assert command.wait() == worker.EXIT_INTERRUPTED
    assert run.read_status().status == "interrupted"
    done = len(column(run, "loss"))
    assert 3 <= done < 8

    torch.set_num_threads(1)
    assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
    assert max(column(run, "rollout/logprob_gap")) < 1e-4  # every push arrived
    assert column(run, "rollout/staleness/max") == [0.0] * 8
    assert sum(norm > 0 for norm in column(run, "grad_norm")) >= 3  # the weights moved

    straight = prepare(read_campaign(write_campaign({"tracking.folder": "straight"}))).run("grpo", 0)
    assert worker.main(str(straight.path)) == worker.EXIT_DONE, straight.read_status().reason
    assert results(run) == results(straight)
