"""Runs that train adapters or last layers: from start to finish, and continued bit for bit from small checkpoints."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.campaign import prepare
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.training import run as worker
from orchestrator.training.start import load_policy
from policies.model.loading import load_pretrained
from tests.orchestrator.training.test_resume import crash, results

pytestmark = pytest.mark.trains


@pytest.fixture
def make_run(write_campaign):
    """The folder of the controlled arm's run, of a campaign with these changes."""
    torch.set_num_threads(1)

    def make(folder, **changes):
        return prepare(read_campaign(write_campaign(changes | {"tracking.folder": folder}))).run("held", 0)

    return make


@pytest.mark.parametrize(
    "part", [{"policy.lora": {"rank": 4}}, {"policy.trainable_layers": 1}], ids=["lora", "last layer"]
)
def test_a_run_that_crashed_continues_bit_for_bit(make_run, monkeypatch, part):
    straight, broken = make_run("straight", **part), make_run("broken", **part)
    assert worker.main(str(straight.path)) == worker.EXIT_DONE, straight.read_status().reason
    crash(broken, monkeypatch)

    saved = torch.load(broken.checkpoint_path, weights_only=True)
    assert saved["learner"]["iteration"] == 2
    marks = ("lora_", "model.layers.1.")
    assert saved["state_dict"]
    assert all(any(mark in name for mark in marks) for name in saved["state_dict"])

    assert worker.main(str(broken.path)) == worker.EXIT_DONE, broken.read_status().reason
    assert results(broken) == results(straight)
    file = "adapter_model.safetensors" if "policy.lora" in part else "model.safetensors"
    first, second = (load_file(run.policy_path / file) for run in (straight, broken))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_a_run_has_learned_is_saved_merged_where_that_is_asked_for(make_run):
    merged, beside = (
        make_run(str(merge), **{"policy.lora": {"rank": 4, "merge": merge}, "learner.iterations": 2})
        for merge in (True, False)
    )
    for run in (merged, beside):
        assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
    assert (merged.policy_path / "config.json").exists()
    assert not (beside.policy_path / "config.json").exists()
    ids = torch.arange(4, 12)[None]
    one, other = (load_pretrained(str(run.policy_path)).model(ids).logits for run in (merged, beside))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    config = RunConfig(**merged.read_info().config)
    base = config.model_copy(update={"policy": config.policy.model_copy(update={"lora": None})})
    assert (one - load_policy(base).model(ids).logits).abs().max() > 1e-4  # so there was something to save


@pytest.fixture
def folder(make_run, tmp_path):
    """A model folder without a chat template."""
    run = make_run("made", **{"learner.iterations": 1})
    load_policy(RunConfig(**run.read_info().config)).save(tmp_path / "model")
    return tmp_path / "model"


def test_chat_with_a_folder_that_has_no_template(folder, write_campaign):
    path = write_campaign({"policy.source": str(folder), "policy.chat": {}})
    with pytest.raises(
        ConfigError, match=r"policy\.chat: the tokenizer in .*model has no chat template; remove"
    ):
        check_campaign(read_campaign(path))
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}=")
    check_campaign(read_campaign(path))
    policy = load_policy(read_campaign(path).arms[0].config)
    assert policy.encode("1+1").tolist() == policy.tokenizer("1+1=")["input_ids"]


def test_chat_without_a_template_ends_a_run_with_the_reason(folder, make_run):
    run = make_run("run", **{"policy.source": str(folder), "policy.chat": {}})
    assert worker.main(str(run.path)) == worker.EXIT_FAILED
    assert "policy.chat: the tokenizer has no chat template; remove policy.chat" in run.read_status().reason


def test_prompt_longer_than_the_context_ends_a_run_with_the_reason(folder, make_run):
    run = make_run("run", **{"policy.source": str(folder), "rollout.max_tokens": 300})
    assert worker.main(str(run.path)) == worker.EXIT_FAILED
    assert "rollout.max_tokens) do not fit the model's context of 256 tokens" in run.read_status().reason
