"""Runs on a device that refuses what a GPU refuses: they train, and as on a CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn.attention import SDPBackend, sdpa_kernel

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.guardrail_files import read_rollbacks
from orchestrator.training import run as worker
from tests.orchestrator.training.test_resume import crash, results
from tests.pretend_device import FORCED

pytestmark = [pytest.mark.trains, pytest.mark.timeout(1800)]

ZOO = yaml.safe_load((Path(__file__).parents[3] / "configs/method_zoo.yaml").read_text())["arms"]
VARIED = ["siren"]
"""A loop, a part of the vocabulary, and tokens chosen over the whole minibatch."""
LORA = {
    "name": "lora",
    "method": "grpo",
    "policy": {"lora": {"rank": 4}},
    "learner": {"iterations": 4, "checkpoint_every": 2},
}
KL = {
    "name": "kl",
    "loops": {"kl": {"law": {"kind": "open_loop", "value": 0.5}, "actuator": {"kind": "kl_coefficient"}}},
    "learner": {"truncated": "mask", "uniform_groups": "drop", "overlong": {"buffer_tokens": 2}},
}
"""A frozen copy of the start on the device, and an update that is given a part of the responses."""
PACKED = {"name": "packed", "method": "grpo", "learner": {"tokens_per_micro_batch": 200}}
BACK = {
    "name": FORCED,
    "method": "grpo",
    "learner": {"iterations": 6, "checkpoint_every": 1},
    "guardrails": {"explosion": {"threshold": 1.6, "patience": 1, "action": "rollback"}, "max_rollbacks": 1},
}
"""It is shown an explosion in iteration 4, goes back to what it has saved on the device, and is stopped there again."""


@pytest.fixture
def make_runs(write_campaign, monkeypatch):
    """The folders of all runs of a campaign whose arms are given, by their names."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

    def make(folder, arms, **changes):
        changes = {"learner.iterations": 2, "evaluation.every": 2, "tracking.folder": folder} | changes
        campaign = read_campaign(write_campaign(changes | {"arms": arms}))
        prepared = prepare(campaign)
        return {arm["name"]: prepared.run(arm["name"], 0) for arm in arms}

    return make


def train_on_the_device(*runs):
    done = subprocess.run(
        [sys.executable, "-m", "tests.pretend_device", *(str(run.path) for run in runs)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    reasons = {run.path.parent.name: run.read_status().reason for run in runs if run.read_status().reason}
    assert not done.returncode, f"{reasons}\n{done.stderr[-4000:]}"
    assert int(done.stdout.split()[-5]) > 50, done.stdout  # operations that the device has run


def train_here(*runs):
    with sdpa_kernel(SDPBackend.MATH):  # which the device has; another kernel adds up in another order
        for run in runs:
            assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason


def crash_here(run, monkeypatch):
    """Train on a CPU up to the end of iteration 3, of which nothing is saved."""
    with sdpa_kernel(SDPBackend.MATH):
        crash(run, monkeypatch)
    assert torch.load(run.checkpoint_path, weights_only=True)["learner"]["iteration"] == 2


def assert_alike(run, other):
    assert [row[:2] for row in results(run)] == [row[:2] for row in results(other)]
    for (step, kind, metrics), (_, _, expected) in zip(results(run), results(other), strict=True):
        assert metrics == pytest.approx(expected, rel=1e-3, abs=1e-4, nan_ok=True), (step, kind)


def of_zoo(names):
    return [arm for arm in ZOO if arm["name"] in names]


def test_runs_train_on_a_device_as_on_a_cpu(make_runs, monkeypatch):
    arms = [*of_zoo(VARIED), LORA, KL, PACKED, BACK]
    assert len(arms) == len(VARIED) + 4
    here, there = make_runs("here", arms), make_runs("there", arms)
    train_here(*(run for name, run in here.items() if name != FORCED))
    crash_here(there["lora"], monkeypatch)
    train_on_the_device(*there.values())
    for name in [*VARIED, "lora", "kl", "packed"]:
        assert_alike(there[name], here[name])
    assert [rollback.to for rollback in read_rollbacks(there[FORCED].rollbacks_path)] == [3]
    assert there[FORCED].read_status().status == "stopped"


SMALL = {
    "learner.group_size": 8,
    "learner.prompts_per_iteration": 4,
    "rollout.max_tokens": 4,
    "evaluation.num_problems": 2,
    "evaluation.num_samples": 4,
}
"""Every operation of the device goes through Python, so a preset at the usual size takes a minute."""


@pytest.mark.slow
def test_all_presets_train_on_a_device(make_runs):
    train_on_the_device(*make_runs("there", ZOO, **SMALL).values())
