"""Disturbances: what a phase changes, from when on, and that a run continues through one bit for bit."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training import run as worker
from orchestrator.training.entropy_control import EntropyControl

pytestmark = pytest.mark.trains

CLOCKS = ("seconds/", "rollout/tokens_per_second")
SHORT = {
    "task": {"kind": "arithmetic", "num_digits": [1, 2], "operations": ["+"]},
    "phases": [
        {"start": 0, "task": {"num_digits": 1}},
        {"start": 3, "learning_rate_factor": 2.0, "task": {"num_digits": 2}},
        {"start": 5},
    ],
    "learner.iterations": 7,
    "learner.learning_rate": 1.0e-3,
    "learner.warmup_iterations": 2,
    "learner.checkpoint_every": 100,
    "rollout.max_tokens": 12,
    "evaluation.every": 50,
}
READS_ITS_RATE = {
    "sensor": "learning_rate",
    "law": {"kind": "open_loop", "value": 0.0},
    "actuator": {"kind": "bonus"},
}


@pytest.fixture
def fresh_run(write_campaign):
    """Make the folder of an arm with a loop, in a runs folder of the given name."""
    torch.set_num_threads(1)

    def make(name: str) -> RunFolder:
        arm = {"name": "arm", "method": "entropic", "loops": {"rate": READS_ITS_RATE}}
        changes = SHORT | {"arms": [arm], "tracking.folder": name}
        return prepare(read_campaign(write_campaign(changes))).run("arm", 0)

    return make


def results(folder: RunFolder):
    """Everything measured but for the clocks."""
    return [
        (record.step, record.kind, {k: v for k, v in record.metrics.items() if not k.startswith(CLOCKS)})
        for record in folder.records()
    ]


def test_phases_act_when_they_should_and_a_run_continues_through_one(fresh_run, monkeypatch):
    straight = fresh_run("straight")
    assert worker.main(str(straight.path)) == worker.EXIT_DONE, straight.read_status().reason
    train = [record.metrics for record in straight.records() if record.kind == "train"]

    rates = [record["learning_rate"] for record in train]
    assert rates == pytest.approx([0.5e-3, 1e-3, 1e-3, 2e-3, 2e-3, 1e-3, 1e-3])
    # loops see the rate of the update that is coming, not of the last one
    assert [record["loop/rate/y"] for record in train] == rates
    domains = [
        sorted(name.rpartition("/")[2] for name in record if name.startswith("entropy/domain/"))
        for record in train
    ]
    assert domains[:5] == [["add1"]] * 3 + [["add2"]] * 2
    assert {name for names in domains[5:] for name in names} == {"add1", "add2"}  # the run's own again
    first_evaluation = next(record.metrics for record in straight.records() if record.kind == "eval")
    assert {"eval/domain/add1/pass_rate", "eval/domain/add2/pass_rate"} <= first_evaluation.keys()

    for boundary in (3, 5):
        cut = fresh_run(f"cut-{boundary}")
        with monkeypatch.context() as patch:
            patch.setattr(EntropyControl, "act", stopping(EntropyControl.act, at=boundary - 1))
            assert worker.main(str(cut.path)) == worker.EXIT_INTERRUPTED
        assert torch.load(cut.checkpoint_path, weights_only=True)["learner"]["iteration"] == boundary
        assert worker.main(str(cut.path)) == worker.EXIT_DONE, cut.read_status().reason
        assert results(cut) == results(straight)
        one, other = (load_file(folder.policy_path / "model.safetensors") for folder in (cut, straight))
        assert all(torch.equal(one[name], other[name]) for name in other)


def stopping(act, *, at):
    """``act``, with a SIGTERM to this process at one iteration; the run saves at the end of it."""

    def stop_and_act(control, telemetry, t):
        if t == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return act(control, telemetry, t)

    return stop_and_act
