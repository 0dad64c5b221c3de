"""What an engine of its own is given: every weight once, whole, and a configuration that says what it is."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Qwen3Config

from policies.model.loading import LoadedPolicy
from policies.model.trainable import Lora, add_adapters
from policies.rollouts.preserve_process_state import undisturbed
from policies.rollouts.weights import save_configuration, save_weights, whole_weights

pytestmark = pytest.mark.trains


def test_every_weight_comes_once_and_tied_ones_under_their_first_name(policy):
    weights = dict(whole_weights(policy))
    assert weights.keys() == dict(policy.model.named_parameters()).keys()
    assert "lm_head.weight" not in weights
    for name, weight in policy.model.named_parameters():
        assert torch.equal(weights[name], weight)


def test_adapters_are_added_in(policy):
    before = {name: weight.clone() for name, weight in whole_weights(policy)}
    add_adapters(policy.model, Lora(rank=2))
    assert all(torch.equal(weight, before[name]) for name, weight in whole_weights(policy))
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.add_(1.0)
    after = dict(whole_weights(policy))
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {name for name in before if ".self_attn." in name or ".mlp." in name}


def test_a_folder_is_what_transformers_loads(policy, tmp_path):
    save_weights(policy, tmp_path / "weights")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "weights")
    ids = torch.tensor([[4, 5, 6]])
    torch.testing.assert_close(loaded(ids).logits, policy.model(ids).logits)
    with torch.no_grad():
        policy.model.get_input_embeddings().weight.add_(1.0)
    save_weights(policy, tmp_path / "weights", write=False)  # another rank writes
    assert torch.equal(
        load_file(tmp_path / "weights" / "model.safetensors")["model.embed_tokens.weight"],
        loaded.get_input_embeddings().weight,
    )
    save_weights(policy, tmp_path / "weights")
    assert torch.equal(
        load_file(tmp_path / "weights" / "model.safetensors")["model.embed_tokens.weight"],
        policy.model.get_input_embeddings().weight,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_a_model_that_was_made_here_says_what_it_is(policy, tmp_path):
    config = Qwen3Config(
        vocab_size=18, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, head_dim=32,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    assert not model.config.architectures
    save_configuration(LoadedPolicy(model, policy.tokenizer), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["Qwen3ForCausalLM"]
    assert not model.config.architectures


def test_what_an_engine_does_to_the_process_is_undone_even_by_a_failure():
    torch.manual_seed(1)
    chance, threads, function = torch.get_rng_state(), torch.get_num_threads(), torch.set_num_threads

    def disturb():
        torch.manual_seed(2)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads = lambda _: None
        raise RuntimeError("as planned")

    with pytest.raises(RuntimeError, match="as planned"), undisturbed():
        disturb()
    assert torch.equal(torch.get_rng_state(), chance)
    assert torch.get_default_dtype() == torch.float32
    assert torch.set_num_threads is function
    assert torch.get_num_threads() == threads
