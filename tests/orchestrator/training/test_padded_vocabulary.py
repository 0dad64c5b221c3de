"""A run from a checkpoint with more logits than tokens, whose tokenizer begins texts with a token."""

from __future__ import annotations

import math

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.training import run as worker
from orchestrator.training.batches import Batches
from policies.model.loading import LoadedPolicy
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model
from tasks.kinds.arithmetic import Arithmetic
from tests.test_metrics_doc import is_documented

pytestmark = pytest.mark.trains

NUM_TOKENS, NUM_LOGITS = 4 + len(set(Arithmetic(num_digits=1).alphabet())), 40


class Padded:
    """As much of a tokenizer as the tiny model is made from."""

    bos_token_id, eos_token_id, pad_token_id = 1, 2, 0

    def __len__(self):
        return NUM_LOGITS


@pytest.fixture
def source(tmp_path):
    """A model folder; nothing has trained it, so all of its logits are about as likely."""
    tokenizer = character_tokenizer(Arithmetic(num_digits=1).alphabet(), 64)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    architecture = TinyModel(hidden_size=32, intermediate_size=64, num_layers=1, num_heads=1, max_tokens=64)
    LoadedPolicy(tiny_model(architecture, Padded(), seed=0), tokenizer).save(tmp_path / "model")
    return str(tmp_path / "model")


def test_only_tokens_are_sampled_and_entropy_is_of_them(write_campaign, source, monkeypatch):
    torch.set_num_threads(1)
    changes = {"policy": {"source": source}, "learner.iterations": 2, "task.num_digits": 1}
    seen = []
    collect = Batches.collect
    monkeypatch.setattr(Batches, "collect", lambda *given: (seen.append(collect(*given)), seen[-1])[1])
    run = prepare(read_campaign(write_campaign(changes))).run("grpo", 0)
    assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
    records = [record.metrics for record in run.records() if record.kind == "train"]
    assert len(records) == len(seen) == 2
    for metrics, rollouts in zip(records, seen, strict=True):
        assert all(tokens.max() < NUM_TOKENS for tokens in rollouts.responses)
        assert all(prompt[0] == 1 for prompt in rollouts.prompts)
        assert metrics["rollout/masked_ids"] == NUM_LOGITS - NUM_TOKENS
        assert metrics["rollout/logprob_gap"] < 1e-4
        assert metrics["entropy"] <= math.log(NUM_TOKENS)
    # all but uniform at the start: with the padding it would be near ln 40 = 3.69
    assert records[0]["entropy"] == pytest.approx(math.log(NUM_TOKENS), abs=0.05)
    assert is_documented("rollout/masked_ids")
