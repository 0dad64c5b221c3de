"""Adapters and last layers: nothing changes at first, only what shall be trained has a gradient, saving loses nothing."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from policies.model.loading import LoadedPolicy, load_pretrained
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model
from policies.model.trainable import Lora, add_adapters, has_adapters, train_last_layers
from policies.rollouts.base import Sampling
from policies.rollouts.transformers_engine import TransformersEngine
from policies.statistics.response_statistics import View, observe, response_statistics
from policies.statistics.sequences import pack

pytestmark = pytest.mark.trains

ARCHITECTURE = TinyModel(hidden_size=32, intermediate_size=64, num_layers=2, num_heads=1, max_tokens=32)
IDS = torch.arange(4, 10)[None]


@pytest.fixture
def policy(tmp_path):
    """From a folder, so that adapters know where their base is."""
    tokenizer = character_tokenizer("0123456789+=", 32)
    LoadedPolicy(tiny_model(ARCHITECTURE, tokenizer, seed=0), tokenizer).save(tmp_path / "base")
    return load_pretrained(str(tmp_path / "base"))


def logits(policy):
    with torch.no_grad():
        return policy.model(IDS).logits


def trained(policy):
    return {name for name, weight in policy.model.named_parameters() if weight.requires_grad}


def learn_something(policy):
    torch.manual_seed(1)
    for weight in policy.model.parameters():
        if weight.requires_grad:
            weight.data.normal_(std=0.2)


def test_fresh_adapters_change_nothing(policy):
    before, chance = logits(policy), torch.get_rng_state()
    add_adapters(policy.model, Lora(rank=4))
    assert torch.equal(logits(policy), before)
    assert torch.equal(torch.get_rng_state(), chance)
    assert not policy.model.training


def test_only_adapters_are_trained(policy):
    base = dict(policy.model.named_parameters())
    add_adapters(policy.model, Lora(rank=4))
    # 2 layers of q, k, v, o (32 → 64 or back, as the heads have it), gate, up, down; A and B of each
    assert len(trained(policy)) == 2 * 7 * 2
    sequences = pack([IDS[0, :3]], [IDS[0, 3:]], pad_id=0)
    seen = response_statistics(policy.model, sequences, View(temperature=1.0, entropy_gradient=True))
    (seen.logprobs.sum() + seen.entropy.sum()).backward()
    for name, weight in policy.model.named_parameters():
        assert (weight.grad is not None) == (".lora_" in name), name
    # A's gradient is zero until B has moved
    moved = {name for name, w in policy.model.named_parameters() if w.grad is not None and w.grad.any()}
    assert moved == {name for name in trained(policy) if ".lora_B." in name}
    assert all(weight.grad is None for weight in base.values())


def test_chosen_layers_get_adapters_of_the_rank(policy):
    add_adapters(policy.model, Lora(rank=3, alpha=6.0, target_modules=("q_proj", "v_proj")))
    assert {name.split(".")[4] for name in trained(policy)} == {"q_proj", "v_proj"}
    layer = policy.model.model.layers[0].self_attn.q_proj
    assert layer.lora_A["default"].weight.shape == (3, 32)
    layer.lora_A["default"].weight.data.fill_(1.0)
    layer.lora_B["default"].weight.data.fill_(1.0)
    # alpha/rank = 2, and B A = 3 everywhere
    added = layer(torch.ones(1, 32)) - torch.nn.functional.linear(torch.ones(1, 32), layer.base_layer.weight)
    torch.testing.assert_close(added, torch.full_like(added, 2.0 * 3.0 * 32))


def test_the_reference_is_the_base(policy):
    before = logits(policy)
    with pytest.raises(ValueError, match=r"no reference inside it; set policy\.lora"):
        policy.reference()
    add_adapters(policy.model, Lora(rank=4))
    learn_something(policy)
    after, training = logits(policy), trained(policy)
    assert (after - before).abs().max() > 0.1
    with policy.reference():
        assert torch.equal(logits(policy), before)
    assert torch.equal(logits(policy), after)
    assert trained(policy) == training
    with pytest.raises(KeyError), policy.reference():
        raise KeyError
    assert torch.equal(logits(policy), after)


def test_engine_and_statistics_see_the_adapters(policy):
    add_adapters(policy.model, Lora(rank=4))
    learn_something(policy)
    engine = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids)
    prompt = policy.encode("1+2=")
    (group,) = engine.generate([prompt], 4, Sampling(temperature=1.0, max_tokens=6, seed=0))
    sequences = pack([prompt] * 4, [completion.tokens for completion in group], policy.pad_id)
    seen = observe(policy.model, sequences, View(temperature=1.0), micro_batch_size=4)
    behaviour = torch.cat([completion.logprobs for completion in group])
    torch.testing.assert_close(behaviour, seen.logprobs, atol=1e-4, rtol=0)
    with policy.reference():
        base = observe(policy.model, sequences, View(temperature=1.0), micro_batch_size=4)
    assert (base.logprobs - seen.logprobs).abs().max() > 0.05  # so the test can tell


@pytest.mark.parametrize("merge", [True, False])
def test_saved_with_adapters_merged_or_beside_their_base(policy, tmp_path, merge):
    add_adapters(policy.model, Lora(rank=4))
    learn_something(policy)
    expected = logits(policy)
    policy.save(tmp_path / "saved", merge=merge)
    assert (tmp_path / "saved" / "model.safetensors").exists() == merge
    again = load_pretrained(str(tmp_path / "saved"))
    torch.testing.assert_close(logits(again), expected, atol=1e-5, rtol=1e-4)
    assert not has_adapters(again.model)
    assert len(trained(again)) == len(dict(again.model.named_parameters()))
    assert again.stop_ids == policy.stop_ids
    assert torch.equal(logits(policy), expected)  # saving changes nothing
    if not merge:
        names = load_file(tmp_path / "saved" / "adapter_model.safetensors")
        assert all("lora_" in name for name in names)


def test_weights_have_the_names_of_the_base(policy):
    names = list(policy.model.state_dict())
    assert all(torch.equal(w, policy.model.state_dict()[name]) for name, w in policy.weights())
    add_adapters(policy.model, Lora(rank=4))
    learn_something(policy)
    weights = dict(policy.weights())
    assert list(weights) == names
    assert not any(weight.requires_grad for weight in weights.values())
    expected = logits(policy)
    again = tiny_model(ARCHITECTURE, policy.tokenizer, seed=5)
    again.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(again(IDS).logits, expected, atol=1e-5, rtol=1e-4)


def test_last_layers(policy):
    train_last_layers(policy.model, 1)
    assert trained(policy)
    assert all(name.startswith("model.layers.1.") for name in trained(policy))
    with pytest.raises(ValueError, match=r"trainable_layers: must be at most the 2 layers .* got 3"):
        train_last_layers(policy.model, 3)


@pytest.mark.parametrize(
    ("target", "rule"),
    [("qq_proj", "the model has no layer 'qq_proj'"), ("lm_head", "leave out the output head")],
)
def test_layers_that_cannot_have_adapters(policy, target, rule):
    with pytest.raises(ValueError, match=rf"policy\.lora\.target_modules: .*{rule}"):
        add_adapters(policy.model, Lora(target_modules=("q_proj", target)))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [({"rank": 0}, "rank must be >= 1, got 0"), ({"alpha": 0.0}, "alpha must be > 0 and finite, got 0")],
)
def test_settings_are_guarded(settings, rule):
    with pytest.raises(ValueError, match=rule):
        Lora(**settings)
