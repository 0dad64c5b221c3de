"""Prompts that rows share are read once, and nothing but the work changes."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MistralConfig

from policies.model.recompute import recompute_activations
from policies.model.trainable import Lora, add_adapters
from policies.sharding import FORWARD, full, shard
from policies.statistics.hidden_states import hidden_states
from policies.statistics.response_statistics import View, observe, response_statistics, token_values
from tests.policies.statistics.small_models import CONFIGS, GROUPS, SMALL, model_of, rows_of

SLIDING = MistralConfig(**SMALL, sliding_window=4)
VIEW = View(temperature=0.8, entropy_gradient=True)


@pytest.fixture(params=CONFIGS, name="model")
def _model(request):
    return model_of(CONFIGS[request.param])


def alone(model, sequences, of):
    """What ``of`` gives of each row by itself, where nothing is shared."""
    return [of(model, sequences.select(torch.tensor([row]))) for row in range(len(sequences.prompt))]


def states(model, sequences):
    rows, columns = sequences.places()
    with torch.no_grad():
        return hidden_states(model, sequences, rows, columns - 1)


def gradient(model, sequences):
    model.zero_grad()
    seen = response_statistics(model, sequences, VIEW)
    (seen.logprobs.sum() - 0.5 * (seen.entropy**2).sum()).backward()
    found = [(p, full(p.grad) if p.grad is not None else torch.zeros_like(p)) for p in model.parameters()]
    return torch.cat([grad.flatten() for p, grad in found if p.requires_grad])


@pytest.fixture
def work():
    """Tokens of each run of the decoder."""
    return []


def count(model, work):
    model.get_decoder().register_forward_pre_hook(
        lambda _, args, kwargs: work.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )


def test_states_are_those_of_each_row_alone(model):
    sequences = rows_of(GROUPS)
    expected = torch.cat(alone(model, sequences, states))
    torch.testing.assert_close(states(model, sequences), expected, atol=1e-10, rtol=0)


def test_the_gradient_is_the_sum_of_those_of_the_rows(model):
    sequences = rows_of(GROUPS)
    expected = sum(alone(model, sequences, gradient))
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(gradient(model, sequences), expected, atol=1e-6, rtol=1e-5)


def test_each_prompt_is_read_once_and_no_last_token_at_all(work):
    model = model_of(CONFIGS["llama"])
    count(model, work)
    states(model, rows_of([(5, [3, 1, 6]), (2, [0, 4])]))
    assert work == [(2, 5), (5, 5)]


def test_rows_that_share_nothing_are_read_whole(work):
    model = model_of(CONFIGS["llama"])
    count(model, work)
    states(model, rows_of([(5, [3]), (2, [4])]))
    assert work == [(2, 8)]


def test_a_sliding_window_cannot_be_shared_and_is_read_whole(work):
    model, sequences = model_of(SLIDING), rows_of(GROUPS)
    expected = torch.cat(alone(model, sequences, states))
    count(model, work)
    torch.testing.assert_close(states(model, sequences), expected, atol=1e-10, rtol=0)
    assert work == [tuple(sequences.input_ids.shape)]


@pytest.mark.parametrize("groups", [[(3, [0, 0])], [(3, [1, 1, 1])], [(1, [1, 0])]])
def test_hardly_any_response(model, groups):
    sequences = rows_of(groups)
    expected = torch.cat(alone(model, sequences, states))
    assert len(expected) == sum(groups[0][1])
    torch.testing.assert_close(states(model, sequences), expected, atol=1e-10, rtol=0)
    assert gradient(model, sequences).isfinite().all()


def logprobs(model, sequences):
    return observe(model, sequences, VIEW, micro_batch_size=1).logprobs


@given(
    st.lists(st.tuples(st.integers(1, 5), st.lists(st.integers(0, 4), min_size=1, max_size=3)), min_size=1),
    st.integers(1, 6),
)
@settings(max_examples=15, deadline=None)
def test_any_groups_on_any_cut(groups, micro_batch_size):
    model, sequences = model_of(CONFIGS["llama"], torch.float32), rows_of(groups[:4])
    seen = observe(model, sequences, VIEW, micro_batch_size=micro_batch_size)
    expected = torch.cat(alone(model, sequences, logprobs))
    torch.testing.assert_close(seen.logprobs, expected, atol=1e-5, rtol=0)


def test_recomputed_activations_give_the_same_gradient(model):
    sequences = rows_of(GROUPS)
    expected = gradient(model, sequences)
    recompute_activations(model)
    torch.testing.assert_close(gradient(model, sequences), expected, atol=1e-10, rtol=1e-9)


def test_adapters_take_the_gradient_of_prompts_too():
    model, sequences = model_of(CONFIGS["llama"]), rows_of(GROUPS)
    add_adapters(model, Lora(rank=2))
    for name, weight in model.named_parameters():
        if ".lora_B." in name:
            weight.data.fill_(0.1)
    expected = sum(alone(model, sequences, gradient))
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(gradient(model, sequences), expected, atol=1e-6, rtol=1e-5)


def test_ranks_run_a_sharded_policy_as_often_whatever_their_rows_share(work):
    model = model_of(CONFIGS["llama"])
    setattr(model, FORWARD, None)  # the mark of a sharded one
    count(model, work)
    states(model, rows_of([(5, [3]), (2, [4])]))
    states(model, rows_of([(5, [3, 4])]))
    assert work == [(2, 5), (2, 3), (1, 5), (2, 3)]


@pytest.mark.parametrize("recompute", [False, True])
def test_a_sharded_policy_shares_prompts(mesh, recompute):
    model, sequences = model_of(CONFIGS["llama"], torch.float32), rows_of(GROUPS)
    expected = gradient(model, sequences)
    sharded = copy.deepcopy(model)
    if recompute:
        recompute_activations(sharded)
    shard(sharded, mesh, half=False, run=token_values)
    torch.testing.assert_close(gradient(sharded, sequences), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient(sharded, sequences), expected, atol=1e-5, rtol=1e-5)
