"""A sharded policy gives the statistics and gradients of a whole one; here over one rank, in this process.

Over two it is in tests/orchestrator/training/test_two_processes.py.
"""

from __future__ import annotations

import copy

import pytest
import torch

from policies.model.loading import LoadedPolicy
from policies.rollouts.base import Sampling
from policies.rollouts.transformers_engine import TransformersEngine
from policies.sharding import blocks, full, is_sharded, own_class, shard, whole
from policies.statistics.response_statistics import View, response_statistics, token_values
from policies.statistics.sequences import pack

pytestmark = pytest.mark.trains

PROMPTS = [torch.tensor([4, 5, 6]), torch.tensor([7, 8])]


@pytest.fixture
def sharded(policy, mesh):
    model = copy.deepcopy(policy.model)
    shard(model, mesh, half=False, run=token_values)
    return model


@pytest.fixture
def sequences():
    return pack(PROMPTS, [torch.tensor([4, 9, 2]), torch.tensor([5])], pad_id=0)


def entropy_and_gradients(model, sequences):
    model.zero_grad()
    seen = response_statistics(model, sequences, View(temperature=0.9, entropy_gradient=True))
    (seen.entropy.sum() + seen.logprobs.sum()).backward()
    return seen.entropy.detach(), {name: full(p.grad) for name, p in model.named_parameters()}


def test_statistics_and_gradients_are_those_of_the_whole_model(policy, sharded, sequences):
    assert is_sharded(sharded)
    assert not is_sharded(policy.model)
    expected, gradients = entropy_and_gradients(policy.model, sequences)
    entropy, found = entropy_and_gradients(sharded, sequences)
    torch.testing.assert_close(entropy, expected)
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient)


def test_it_samples_as_the_whole_model_and_is_sharded_again(policy, sharded, sequences):
    sampling = Sampling(temperature=1.0, max_tokens=5, seed=3)
    one, other = (
        TransformersEngine(model, pad_id=0, stop_ids=[2]).generate(PROMPTS, 3, sampling)
        for model in (policy.model, sharded)
    )
    assert [[c.tokens.tolist() for c in g] for g in one] == [[c.tokens.tolist() for c in g] for g in other]
    with whole(sharded):
        assert not hasattr(sharded.get_output_embeddings().weight, "full_tensor")
    assert hasattr(sharded.get_output_embeddings().weight, "full_tensor")
    entropy_and_gradients(sharded, sequences)  # and it can train on


def test_what_is_saved_is_an_ordinary_checkpoint(policy, sharded, tmp_path):
    LoadedPolicy(sharded, policy.tokenizer).save(tmp_path, write=False)
    assert not list(tmp_path.iterdir())
    LoadedPolicy(sharded, policy.tokenizer).save(tmp_path)
    again = own_class(sharded).from_pretrained(tmp_path)
    assert type(again) is type(policy.model)
    for name, weight in policy.model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)


def test_half_precision_keeps_the_shares_in_full(policy, mesh, sequences):
    model = copy.deepcopy(policy.model)
    shard(model, mesh, half=True, run=token_values)
    expected, _ = entropy_and_gradients(policy.model, sequences)
    entropy, gradients = entropy_and_gradients(model, sequences)
    assert entropy.dtype == torch.float32
    assert not torch.equal(entropy, expected)
    torch.testing.assert_close(entropy, expected, atol=0.05, rtol=0)
    assert {gradient.dtype for gradient in gradients.values()} == {torch.float32}


def test_blocks(policy):
    assert len(blocks(policy.model)) == policy.model.config.num_hidden_layers
