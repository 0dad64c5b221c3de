"""vLLM in this process: the real one, with the policy's weights, answering as transformers does."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from policies.model.loading import LoadedPolicy
from policies.rollouts.base import Sampling
from policies.rollouts.open_engine import open_engine
from policies.rollouts.settings import Transformers, Vllm
from policies.rollouts.transformers_engine import TransformersEngine
from policies.statistics.response_statistics import View, observe
from policies.statistics.sequences import pack

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

PROMPTS = ["1+2=", "3", "4+5=", "7+", "8+9="]
CLOSE = 1e-3  # nats


@pytest.fixture(scope="module")
def tied(make_policy):
    """A Llama with tied embeddings."""
    policy = make_policy()
    assert policy.model.config.tie_word_embeddings
    return policy


@pytest.fixture(scope="module")
def untied(tied):
    """A Qwen3 with a head of its own, and two query heads on one of keys and values."""
    config = Qwen3Config(
        vocab_size=len(tied.tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, head_dim=32,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=False,
        eos_token_id=tied.eos_id, bos_token_id=1, pad_token_id=tied.pad_id,
    )  # fmt: skip
    torch.manual_seed(0)
    return LoadedPolicy(AutoModelForCausalLM.from_config(config).eval(), tied.tokenizer)


@pytest.fixture(scope="module", params=["tied", "untied"])
def both(request):
    """A policy and an engine that is started once for all tests of it."""
    policy = request.getfixturevalue(request.param)
    engine = open_engine(Vllm(cache_gib=0.25), policy, max_batch_size=64, scratch=None)
    yield policy, engine
    engine.close()


def sampling(**changes):
    return Sampling(**({"temperature": 1.0, "max_tokens": 6, "seed": 5} | changes))


def prompts_of(policy):
    return [policy.encode(text) for text in PROMPTS]


def as_lists(groups):
    return [[completion.tokens.tolist() for completion in group] for group in groups]


def greedy_of_transformers(policy):
    engine = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids)
    return engine.generate(prompts_of(policy), 1, sampling(temperature=0.0))


def gap(policy, groups, temperature):
    """Largest difference between the engine's log-probs and the learner's of the same tokens."""
    rows = [prompt for prompt, group in zip(prompts_of(policy), groups) for _ in group]
    samples = [completion for group in groups for completion in group]
    packed = pack(rows, [sample.tokens for sample in samples], policy.pad_id)
    own = observe(
        policy.model, packed, View(temperature=temperature, masked_ids=policy.masked_ids), micro_batch_size=8
    ).logprobs
    return (own - torch.cat([sample.logprobs for sample in samples])).abs().max().item()


def moved(policy, seed):
    """Move all weights, as an update does but further; give those that were there."""
    generator = torch.Generator().manual_seed(seed)
    before = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return before


def test_greedy_is_that_of_transformers(both):
    policy, engine = both
    groups = engine.generate(prompts_of(policy), 1, sampling(temperature=0.0))
    expected = greedy_of_transformers(policy)
    assert as_lists(groups) == as_lists(expected)
    for (one,), (other,) in zip(groups, expected):
        assert one.finished == other.finished
        torch.testing.assert_close(one.logprobs, other.logprobs, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.8])
def test_logprobs_are_of_the_distribution_that_was_sampled_from(both, temperature):
    policy, engine = both
    groups = engine.generate(prompts_of(policy), 4, sampling(temperature=temperature))
    assert gap(policy, groups, temperature) < CLOSE
    if temperature != 1.0:
        assert gap(policy, groups, 1.0) > CLOSE  # so the test can tell


def test_same_seed_same_responses_which_differ_within_a_group(both):
    policy, engine = both
    one = as_lists(engine.generate(prompts_of(policy), 8, sampling(temperature=2.0)))
    assert as_lists(engine.generate(prompts_of(policy), 8, sampling(temperature=2.0))) == one
    assert as_lists(engine.generate(prompts_of(policy), 8, sampling(temperature=2.0, seed=6))) != one
    assert all(len({tuple(tokens) for tokens in group}) > 1 for group in one)


def test_a_share_of_a_batch_gets_what_the_whole_gets(both):
    policy, engine = both
    prompts = prompts_of(policy)
    whole = as_lists(engine.generate(prompts, 4, sampling()))
    share = as_lists(engine.generate(prompts[2:], 4, sampling(first_prompt=2)))
    assert share == whole[2:]


def test_pushed_weights_are_sampled_with_and_pushing_back_restores(both):
    policy, engine = both
    before = engine.generate(prompts_of(policy), 4, sampling())
    saved = moved(policy, seed=1)
    try:
        assert gap(policy, engine.generate(prompts_of(policy), 4, sampling()), 1.0) > 0.1  # not pushed yet
        engine.push(7)
        after = engine.generate(prompts_of(policy), 4, sampling())
        assert as_lists(after) != as_lists(before)
        assert gap(policy, after, 1.0) < CLOSE
        greedy = engine.generate(prompts_of(policy), 1, sampling(temperature=0.0))
        assert as_lists(greedy) == as_lists(greedy_of_transformers(policy))
        assert {version for group in after for c in group for version in c.versions.tolist()} == {7}
        assert all(len(c.versions) == len(c.tokens) for group in after for c in group)
    finally:
        policy.model.load_state_dict(saved)
    engine.push(8)
    assert as_lists(engine.generate(prompts_of(policy), 4, sampling())) == as_lists(before)


def test_ends_at_the_stop_tokens_and_nowhere_else(both):
    policy, engine = both
    groups = engine.generate(prompts_of(policy), 8, sampling(max_tokens=20))
    samples = [sample for group in groups for sample in group]
    assert any(sample.finished for sample in samples)
    for sample in samples:
        is_stop = [token in policy.stop_ids for token in sample.tokens.tolist()]
        assert sample.finished == is_stop[-1]
        assert not any(is_stop[:-1])
        assert sample.finished or len(sample.tokens) == 20


def test_prompt_that_does_not_fit_the_context(both):
    policy, engine = both
    with pytest.raises(ValueError, match="context of 64 tokens"):
        engine.generate(prompts_of(policy), 1, sampling(max_tokens=61))


def test_the_learners_process_is_left_as_it_was(tied):
    """Start, push, generate and close: chance, default dtype and threads of the caller stay."""
    engine = open_engine(Vllm(cache_gib=0.25), tied, max_batch_size=64, scratch=None)
    random.seed(1), np.random.seed(2), torch.manual_seed(3)  # noqa: NPY002
    torch.set_default_dtype(torch.float64)
    try:
        before = state()
        engine.generate(prompts_of(tied), 2, sampling())
        engine.push(1)
        engine.generate(prompts_of(tied), 2, sampling())
        engine.close()
        assert state() == before
    finally:
        torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
    assert torch.get_num_threads() == 1  # the function is torch's own again


def state():
    """Everything that must not change, as something that can be compared."""
    numpy = np.random.get_state()  # noqa: NPY002
    return (
        random.getstate(),
        numpy[1].tolist(),
        numpy[2:],
        torch.get_rng_state().tolist(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.set_num_threads,
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_sleep_gives_the_memory_back_between_rollouts(make_policy):
    policy = make_policy()
    policy.model.to("cuda")
    settings = Vllm(dtype="float32", sleep=True, memory_fraction=0.2)
    engine = open_engine(settings, policy, max_batch_size=64, scratch=None)
    first = as_lists(engine.generate(prompts_of(policy), 4, sampling()))
    free, total = torch.cuda.mem_get_info()
    assert free > 0.9 * total
    assert as_lists(engine.generate(prompts_of(policy), 4, sampling())) == first
    engine.close()


def test_ids_without_a_token_are_never_sampled(tied):
    """Ids of a padded vocabulary, whose padding would be the likeliest: masked for sampling and for log-probs, push after push."""
    config = Qwen3Config(
        vocab_size=len(tied.tokenizer) + 6, hidden_size=32, intermediate_size=64, num_hidden_layers=1, head_dim=32,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=False,
        eos_token_id=tied.eos_id, bos_token_id=1, pad_token_id=tied.pad_id,
    )  # fmt: skip
    torch.manual_seed(0)
    policy = LoadedPolicy(AutoModelForCausalLM.from_config(config).eval(), tied.tokenizer)
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(5.0)
        policy.model.lm_head.weight[list(policy.masked_ids)] *= 5.0
    assert len(policy.masked_ids) == 6
    engine = open_engine(Vllm(cache_gib=0.25), policy, max_batch_size=64, scratch=None)
    own = open_engine(Transformers(), policy, max_batch_size=64, scratch=None)
    try:
        for version in (0, 1):
            if version:
                moved(policy, seed=1)
                engine.push(version)
            for temperature in (0.0, 1.0):
                groups = engine.generate(prompts_of(policy), 4, sampling(temperature=temperature))
                tokens = torch.cat([sample.tokens for group in groups for sample in group])
                assert not torch.isin(tokens, torch.tensor(policy.masked_ids)).any()
                assert gap(policy, groups, temperature or 1.0) < CLOSE
            greedy = own.generate(prompts_of(policy), 1, sampling(temperature=0.0))
            assert as_lists(engine.generate(prompts_of(policy), 1, sampling(temperature=0.0))) == as_lists(
                greedy
            )
    finally:
        engine.close()


def test_weights_that_are_not_finite_are_called_that(make_policy):
    policy = make_policy()
    with torch.no_grad():
        policy.model.get_decoder().norm.weight[0] = float("nan")
    engine = open_engine(Vllm(cache_gib=0.25), policy, max_batch_size=64, scratch=None)
    try:
        with pytest.raises(RuntimeError, match=r"not finite: model\.norm\.weight \(1 of 32 numbers\)"):
            engine.generate(prompts_of(policy), 2, sampling())
    finally:
        engine.close()
