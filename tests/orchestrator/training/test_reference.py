"""Runs whose loops compare the policy with a reference: the start as a copy, inside adapters, and a model by its path."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.campaign import prepare
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.best_file import read_best
from orchestrator.training import run as worker
from orchestrator.training.start import load_policy, load_reference
from policies.statistics.packed_attention import is_packed
from tests.elsewhere import python_path
from tests.orchestrator.training.test_resume import crash, results

pytestmark = pytest.mark.trains

KL = {
    "kl": {"law": {"kind": "open_loop", "value": 1.0}, "actuator": {"kind": "kl_coefficient"}},
}
SHORT = {
    "learner.iterations": 6,
    "learner.checkpoint_every": 2,
    "learner.learning_rate": 0.002,
    "evaluation": {"every": 4, "num_problems": 2, "num_samples": 1, "pass_at": []},
}


@pytest.fixture
def make_run(write_campaign):
    torch.set_num_threads(1)

    def make(folder, loops, **changes):
        changes = {
            **SHORT,
            **changes,
            "tracking.folder": folder,
            "arms": [{"name": "arm", "method": "grpo", "loops": loops}],
        }
        return prepare(read_campaign(write_campaign(changes))).run("arm", 0)

    return make


def trained(run):
    assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
    return run


def kl_of(run):
    return [record.metrics["reference_kl"] for record in run.records() if record.kind == "train"]


def open_loop(value):
    return {"kl": KL["kl"] | {"law": {"kind": "open_loop", "value": value}}}


@pytest.mark.parametrize("lora", [None, {"rank": 4}], ids=["copy", "adapters off"])
def test_the_policy_leaves_its_start_and_is_held_by_the_coefficient(make_run, lora):
    free, held = (
        trained(make_run(f"u{value:g}", open_loop(value), **{"policy.lora": lora})) for value in (0.0, 3.0)
    )
    assert kl_of(free)[0] == kl_of(held)[0] == 0.0  # the start is the reference, to the bit
    assert kl_of(free)[-1] > 0.0
    assert kl_of(held)[-1] < kl_of(free)[-1]
    last = held.records()[-2].metrics
    assert last["reference_kl/nearness"] == pytest.approx(1.0 - last["reference_kl"], abs=1e-3)
    assert "loss/kl_coefficient" in last


def test_the_reference_of_packed_rows_is_packed_too(make_run):
    """Read padded it would take more memory than the budget allows."""
    run = make_run("packed", KL, **{"learner.tokens_per_micro_batch": 200})
    config = RunConfig(**run.read_info().config)
    reference = load_reference(config, load_policy(config))
    assert reference is not None
    assert is_packed(reference.policy.model)
    assert kl_of(trained(run))[-1] > 0.0


def test_a_run_that_crashed_continues_with_the_same_reference(make_run, monkeypatch):
    straight, broken = trained(make_run("straight", KL)), make_run("broken", KL)
    crash(broken, monkeypatch)
    assert results(trained(broken)) == results(straight)
    assert kl_of(straight)[-1] > 0.0
    first, second = (load_file(run.policy_path / "model.safetensors") for run in (straight, broken))
    assert all(torch.equal(first[name], second[name]) for name in first)
    saved = torch.load(straight.checkpoint_path, weights_only=True)["state_dict"]
    assert set(saved) == {f"model.{name}" for name in first} | {
        "model.lm_head.weight"
    }  # none of the reference


def test_another_model_by_its_path(make_run, tmp_path):
    """The distance to a policy that was trained, which the start has already."""
    other = trained(make_run("other", {}))
    run = trained(make_run("compared", KL, **{"policy.reference": str(other.policy_path)}))
    assert kl_of(run)[0] > 1e-6
    assert any(name.startswith("policy.reference: ") for name in run.read_info().inputs)


def test_tokens_of_another_model_are_refused(make_run):
    other = trained(
        make_run("other", {}, **{"task": {"kind": "arithmetic", "num_digits": 1, "operations": ["-"]}})
    )
    run = make_run("compared", KL, **{"task": {"kind": "arithmetic", "num_digits": 1}})
    config = RunConfig(**run.read_info().config)
    policy = config.policy.model_copy(update={"reference": str(other.policy_path)})
    with pytest.raises(
        ValueError, match=r"policy\.reference: its tokenizer must have the tokens of policy\.source"
    ):
        load_reference(config.model_copy(update={"policy": policy}), load_policy(config))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_are_as_one(make_run, strategy):
    """What is compared with the reference, and the best policy, which all ranks gather and the first one writes."""
    best = {"evaluation.keep_best": "eval/pass_at_1"}
    alone = trained(make_run("alone", KL, **best))
    together = make_run("together", KL, **best, **{"learner.devices": 2, "learner.strategy": strategy})
    done = subprocess.run(
        [sys.executable, "-P", "-m", "orchestrator.training.worker", str(together.path)],
        env=os.environ | {"PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert kl_of(together) == pytest.approx(kl_of(alone), rel=1e-3, abs=1e-6)
    assert read_best(together) == read_best(alone)
    first, second = (load_file(run.best_path / "model.safetensors") for run in (alone, together))
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)
