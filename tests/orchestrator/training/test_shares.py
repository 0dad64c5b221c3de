"""Two ranks with shares of a policy: memory, adapters, a start that the first decides, and one that hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from orchestrator.configuration.models import RunConfig
from orchestrator.training import run, start
from tests.elsewhere import python_path
from tests.orchestrator.training import hanging_rank, share_memory, start_of_ranks
from tests.orchestrator.training.test_two_processes import assert_alike, interrupt_alone, runs_of, train

SIZES = {"small": (32, 64, 1, 64), "large": (512, 2048, 8, 8000)}
ADAPTERS = {"policy.lora": {"rank": 2, "alpha": 8.0}, "learner.learning_rate": 1e-2}
SETTINGS = {
    "learner.iterations": 3,
    "learner.minibatches": 2,
    "learner.micro_batch_size": 3,
    "learner.checkpoint_every": 100,
    "evaluation.every": 100,
    "evaluation.num_problems": 4,
}

pytestmark = [pytest.mark.trains, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def make_run(write_campaign):
    return runs_of(write_campaign, SETTINGS)


@pytest.fixture
def on_two_ranks(tmp_path):
    """Run a script as two ranks; what the first one says."""

    def act(script, *arguments):
        environment = os.environ | {
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(20000 + os.getpid() % 20000),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": python_path(),
        }
        ranks = [
            subprocess.Popen(
                [sys.executable, "-P", script.__file__, *map(str, arguments)],
                env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(2)
        ]
        said = [rank.communicate()[0] for rank in ranks]
        assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)
        return said[0]

    return act


def test_no_rank_has_more_than_its_share_and_one_tensor(on_two_ranks, tmp_path):
    for name, (hidden, intermediate, layers, vocabulary) in SIZES.items():
        config = LlamaConfig(
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_hidden_layers=layers,
            num_attention_heads=2,
            vocab_size=vocabulary,
        )
        LlamaForCausalLM(config).save_pretrained(tmp_path / name, max_shard_size="20MB")
    said = on_two_ranks(share_memory, tmp_path / "small", tmp_path / "large", tmp_path)
    assert "rank 0 is through" in said
    one, other = (
        {
            name: weight
            for file in (tmp_path / folder).glob("*.safetensors")
            for name, weight in load_file(file).items()
        }
        for folder in ("large", "large-0")
    )
    assert one.keys() == other.keys()
    again = LlamaForCausalLM.from_pretrained(tmp_path / "large-0").state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in other.items())
    moved = torch.stack([(other[name] - weight).abs().max() for name, weight in one.items()])
    torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=0.02, atol=0)  # one step of AdamW


def test_adapters_over_shares_are_as_in_one(make_run, monkeypatch):
    merged = {**ADAPTERS, "policy.lora": {**ADAPTERS["policy.lora"], "merge": True}}
    alone = make_run("alone", **merged)
    assert run.main(str(alone.path)) == run.EXIT_DONE, alone.read_status().reason
    two = {"devices": 2, "learner.strategy": "fsdp2", **merged}
    one_then_two = make_run("one_then_two", **merged)
    interrupt_alone(one_then_two, 1, monkeypatch)
    make_run("one_then_two", **two)
    train(one_then_two)
    assert_alike(alone, one_then_two)

    kept = {**two, **ADAPTERS, "learner.iterations": 3}
    together = make_run("together", **kept)
    train(together)
    saved = load_file(together.policy_path / "adapter_model.safetensors")
    assert saved
    assert all("lora_" in name for name in saved)
    state = torch.load(together.checkpoint_path, weights_only=True)
    assert not any("base_layer" in key for _, key in state["shares"]["keys"])  # what is frozen is not stored
    beside = start.load_policy(RunConfig(**alone.read_info().config)).model
    for name, weight in load_file(alone.policy_path / "model.safetensors").items():
        owner, _, own = name.rpartition(".")
        pair = [saved.get(f"base_model.model.{owner}.lora_{side}.{own}") for side in "AB"]
        if pair[0] is not None:
            base = beside.get_submodule(owner).get_base_layer().weight
            torch.testing.assert_close(base + 8.0 / 2 * pair[1] @ pair[0], weight, rtol=0, atol=1e-5)


def test_the_first_rank_decides_about_the_start(make_run, on_two_ranks):
    floor = {"floor_nats": 1.9, "action": "recalibrate"}
    alone = make_run("alone", **{"policy.initialisation": floor})
    config, _ = start.load_start(RunConfig(**alone.read_info().config), 0, alone)
    together = make_run(
        "together", devices=2, **{"policy.initialisation": floor, "learner.strategy": "fsdp2"}
    )
    on_two_ranks(start_of_ranks, together.path)
    decided = [json.loads((together.path / f"decided-{rank}.json").read_text()) for rank in range(2)]
    assert decided[0] == decided[1]
    assert decided[0]["temperature"] == config.rollout.temperature > 1.0
    one, other = (json.loads(folder.start_path.read_text()) for folder in (alone, together))
    assert other["entropy_nats"] == pytest.approx(one["entropy_nats"], abs=1e-5)


def test_a_rank_that_hangs_is_named(on_two_ranks, tmp_path):
    said = on_two_ranks(hanging_rank, tmp_path / "go on")
    assert "RankLostError: another rank has died or has not answered for 0:00:02; " in said
