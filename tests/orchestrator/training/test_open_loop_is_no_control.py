"""Off is an arm, not an ``if``: a loop that commands the neutral value trains bit for bit like no loop."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.training import run as runs
from policies.actuators import ACTUATORS

pytestmark = pytest.mark.trains

CLOCKS = ("seconds/", "rollout/tokens_per_second")
OFF_POLICY = {"iterations": 2, "epochs": 2, "minibatches": 2, "prompts_per_iteration": 8}


def open_loop(kind, value):
    return {
        "law": {"kind": "open_loop", "value": value},
        "actuator": {"kind": kind},
        "reference": {"kind": "none"},
    }


@pytest.fixture
def train(write_campaign):
    """Train one arm with the given loops in this process; give its metrics and final weights."""
    torch.set_num_threads(1)

    def train(loops):
        changes = {f"learner.{name}": value for name, value in OFF_POLICY.items()}
        changes["evaluation"] = {"every": 2, "num_problems": 2, "num_samples": 1, "pass_at": []}
        changes["arms"] = [{"name": "arm", "loops": loops}]
        changes["tracking.folder"] = "-".join(loops) or "none"
        folder = prepare(read_campaign(write_campaign(changes))).run("arm", 0)
        assert runs.main(str(folder.path)) == runs.EXIT_DONE, folder.read_status().reason
        metrics = [
            {name: x for name, x in record.metrics.items() if not name.startswith((*CLOCKS, "loop/"))}
            for record in folder.records()
        ]
        return metrics, load_file(folder.policy_path / "model.safetensors")

    return train


_baseline = []


@pytest.fixture
def baseline(train):
    """No loop at all."""
    if not _baseline:
        _baseline.append(train({}))
    return _baseline[0]


def same_weights(one, other):
    return all(torch.equal(values, other[name]) for name, values in one.items())


@pytest.mark.parametrize("kind", sorted(ACTUATORS))
def test_neutral_open_loop_is_bit_identical_to_no_loop(train, baseline, kind):
    metrics, weights = train({"entropy": open_loop(kind, ACTUATORS[kind].command.neutral)})
    for record, expected in zip(metrics, baseline[0], strict=True):
        assert {name: record[name] for name in expected} == expected
    assert same_weights(weights, baseline[1])


def test_training_without_a_loop_does_learn(train, baseline):
    """Or being identical to it would say nothing."""
    assert all(record["grad_norm"] > 0 for record in baseline[0] if "grad_norm" in record)


@pytest.mark.parametrize("kind", ["bonus", "sign_weights", "temperature"])
def test_a_command_off_neutral_changes_the_outcome(train, baseline, kind):
    _, weights = train({"entropy": open_loop(kind, ACTUATORS[kind].command.neutral + 0.3)})
    assert not same_weights(weights, baseline[1])
