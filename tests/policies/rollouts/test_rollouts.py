"""Rollouts: sampled from the policy's own distribution, all of it, and with the log-probs to prove it."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig
from transformers.cache_utils import DynamicLayer

from policies.rollouts import growing_cache, transformers_engine
from policies.rollouts.base import Sampling
from policies.rollouts.growing_cache import GrowingLayer
from policies.rollouts.transformers_engine import TransformersEngine
from policies.statistics.response_statistics import View, observe
from policies.statistics.sequences import pack

pytestmark = pytest.mark.trains

PROMPTS = ["1+2=", "3", "4+5=", "7+", "8+9="]
PAD, EOS = 0, 2


def engine_of(model, **settings):
    return TransformersEngine(model, pad_id=PAD, stop_ids=[EOS], **settings)


@pytest.fixture
def prompts(policy):
    return [policy.encode(text) for text in PROMPTS]


@pytest.fixture
def engine(policy):
    return engine_of(policy.model)


def sampling(**changes):
    return Sampling(**({"temperature": 1.0, "max_tokens": 6, "seed": 0} | changes))


def as_lists(groups):
    return [[completion.tokens.tolist() for completion in group] for group in groups]


def recomputed(model, prompts, groups, temperature):
    """Log-probs of the sampled tokens by the learner's own path."""
    rows = [prompt for prompt, group in zip(prompts, groups) for _ in group]
    responses = [completion.tokens for group in groups for completion in group]
    view = View(temperature=temperature)
    return observe(model, pack(rows, responses, PAD), view, micro_batch_size=4).logprobs


def behaviour(groups):
    return torch.cat([completion.logprobs for group in groups for completion in group])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_behaviour_logprobs_are_those_of_the_learner(policy, engine, prompts, temperature, monkeypatch):
    monkeypatch.setattr(growing_cache, "ROOM", 1)
    groups = engine.generate(prompts, 4, sampling(temperature=temperature))
    expected = recomputed(policy.model, prompts, groups, temperature)
    torch.testing.assert_close(behaviour(groups), expected, atol=1e-4, rtol=0)


def test_a_prompt_that_was_read_once_is_read_as_the_learner_reads_it_in_every_layer():
    """Only from the second layer on do keys and values show what the tokens before were attended to."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=14, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
        initializer_range=0.3,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    prompts = [torch.tensor([4, 5, 6, 7, 8]), torch.tensor([9]), torch.tensor([10, 11, 12])]
    groups = engine_of(model).generate(prompts, 4, sampling())
    torch.testing.assert_close(behaviour(groups), recomputed(model, prompts, groups, 1.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("room", [1, 64])
def test_a_cache_grows_by_many_tokens_at_once_and_holds_what_one_of_transformers_does(monkeypatch, room):
    monkeypatch.setattr(growing_cache, "ROOM", room)
    torch.manual_seed(0)
    theirs = DynamicLayer()
    theirs.update(torch.randn(3, 2, 5, 4), torch.randn(3, 2, 5, 6))
    ours = GrowingLayer(theirs)
    rooms = [ours.rooms]
    for step in range(9):
        if step == 6:
            for layer in (ours, theirs):
                layer.batch_select_indices(torch.tensor([2, 0]))
        rows = len(theirs.keys)
        new = torch.randn(rows, 2, 1, 4), torch.randn(rows, 2, 1, 6)
        for mine, other in zip(ours.update(*new), theirs.update(*new), strict=True):
            assert torch.equal(mine, other)
        assert ours.get_seq_length() == theirs.get_seq_length() == 6 + step
        if ours.rooms is not rooms[-1]:
            rooms.append(ours.rooms)
    assert len(rooms) - 1 == (2 if room == 64 else 5)  # where there is none left, and where rows are chosen


def test_dropout_does_not_part_sampler_and_learner():
    config = GPT2Config(
        vocab_size=14, n_embd=32, n_layer=1, n_head=1, n_positions=32,
        resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5, bos_token_id=1, eos_token_id=EOS,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    prompts = [torch.tensor([4, 5, 6]), torch.tensor([7])]
    groups = engine_of(model).generate(prompts, 3, sampling())
    torch.testing.assert_close(behaviour(groups), recomputed(model, prompts, groups, 1.0), atol=1e-4, rtol=0)


def test_those_who_watch_are_told_of_each_batch(policy, prompts):
    engine, told = engine_of(policy.model, max_batch_size=4), []
    with engine.told_to(told.append):
        engine.generate(prompts, 2, sampling())
    engine.generate(prompts, 2, sampling())
    assert told == [4, 4, 2]


def test_greedy_takes_the_likeliest_token(policy, engine, prompts):
    for prompt, (completion,) in zip(prompts, engine.generate(prompts, 1, sampling(temperature=0.0))):
        ids = prompt
        for token in completion.tokens:
            logits = policy.model(input_ids=ids[None]).logits[0, -1]
            assert token == logits.argmax()
            ids = torch.cat([ids, token[None]])


@pytest.mark.parametrize("max_batch_size", [1, 4, 100])
def test_greedy_and_sampled_responses_side_by_side_are_those_of_two_passes(policy, prompts, max_batch_size):
    engine = engine_of(policy.model, max_batch_size=max_batch_size)
    changes = {"temperature": 1.5, "max_tokens": 40, "seed": 4, "first_prompt": 7}
    greedy = engine.generate(prompts, 1, sampling(**changes | {"temperature": 0.0}))
    sampled = engine.generate(prompts, 11, sampling(**changes))
    both = engine.generate(prompts, 12, sampling(**changes, greedy_first=True))
    assert as_lists(both) == as_lists([one + others for one, others in zip(greedy, sampled)])
    expected = [one + others for one, others in zip(greedy, sampled)]
    torch.testing.assert_close(behaviour(both), behaviour(expected), atol=1e-5, rtol=0)
    assert any(
        one.tokens.tolist() != other.tokens.tolist() for one, other, *_ in both
    )  # so the test can tell


def test_some_prompts_start_greedily(policy, engine, prompts):
    which = (True, False, True, False, False)
    mixed = as_lists(engine.generate(prompts, 2, sampling(greedy_first=which)))
    greedy, sampled = (as_lists(engine.generate(prompts, 2, sampling(temperature=t))) for t in (0.0, 1.0))
    assert mixed == [[g[0], s[0]] if first else s for first, g, s in zip(which, greedy, sampled)]


def test_same_seed_same_responses_and_the_callers_chance_is_left_alone(engine, prompts):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = engine.generate(prompts, 3, sampling(seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert as_lists(engine.generate(prompts, 3, sampling(seed=5))) == as_lists(one)
    assert as_lists(engine.generate(prompts, 3, sampling(seed=6))) != as_lists(one)


def test_responses_of_a_prompt_differ(engine, prompts):
    groups = as_lists(engine.generate(prompts, 8, sampling(temperature=2.0)))
    assert all(len({tuple(tokens) for tokens in group}) > 1 for group in groups)


@pytest.mark.parametrize("max_batch_size", [1, 3, 100])
def test_completions_come_in_the_order_of_the_prompts(policy, prompts, max_batch_size):
    alone = [
        engine_of(policy.model).generate([prompt], 2, sampling(temperature=0.0))[0] for prompt in prompts
    ]
    together = engine_of(policy.model, max_batch_size=max_batch_size).generate(
        prompts, 2, sampling(temperature=0.0)
    )
    assert as_lists(together) == as_lists(alone)
    assert len({tuple(group[0].tokens.tolist()) for group in together}) > 1  # or the order would not show


def test_batches_are_no_larger_than_allowed_and_of_like_length(policy, prompts, monkeypatch):
    shapes, real = [], policy.model.generate
    monkeypatch.setattr(
        policy.model, "generate", lambda ids, **rest: (shapes.append(tuple(ids.shape)), real(ids, **rest))[1]
    )
    engine_of(policy.model, max_batch_size=4).generate(prompts, 3, sampling())
    # 15 rows of widths 1·3, 2·3, 4·9, four at a time
    assert shapes == [(4, 2), (4, 4), (4, 4), (3, 4)]


def test_a_prompt_is_read_once_for_all_its_samples(policy, engine, prompts, monkeypatch):
    shapes = []
    hook = policy.model.get_decoder().register_forward_pre_hook(
        lambda _, __, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    shared = engine.generate(prompts, 4, sampling(max_tokens=3))
    hook.remove()
    assert shapes == [(5, 3), (20, 1), (20, 1), (20, 1)]  # five prompts of up to 4 tokens, then all 20 rows
    monkeypatch.setattr(TransformersEngine, "_read", lambda *_: None)
    apart = engine.generate(prompts, 4, sampling(max_tokens=3))
    assert as_lists(shared) == as_lists(apart)
    torch.testing.assert_close(behaviour(shared), behaviour(apart), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pad_id", [PAD, EOS], ids=["pad", "pad is the end"])
def test_rows_that_have_finished_leave_their_batch(policy, prompts, monkeypatch, pad_id):
    """Fewer rows are computed, and the responses are the same to the last bit."""
    engine = TransformersEngine(policy.model, pad_id=pad_id, stop_ids=[EOS])

    def rows_of_steps():
        rows = []
        hook = policy.model.get_decoder().register_forward_pre_hook(
            lambda _, __, given: rows.append(len(given["input_ids"])), with_kwargs=True
        )
        groups = engine.generate(prompts, 12, sampling(max_tokens=50))
        hook.remove()
        return groups, rows[1:]  # the first step reads the prompts

    cut, rows = rows_of_steps()
    assert rows == sorted(rows, reverse=True)
    assert transformers_engine.LEAST_ROWS <= rows[-1] < rows[0] == 60
    assert len(set(rows[-transformers_engine.LEAST_STEPS :])) == 1
    monkeypatch.setattr(transformers_engine, "LEAST_ROWS", 60)
    whole, all_rows = rows_of_steps()
    assert set(all_rows) == {60}
    assert len(all_rows) == len(rows)
    assert as_lists(cut) == as_lists(whole)
    assert torch.equal(behaviour(cut), behaviour(whole))


def test_end_and_truncation(policy, engine, prompts):
    short = engine.generate(prompts, 4, sampling(max_tokens=1, temperature=0.1))
    for completion in (completion for group in short for completion in group):
        assert len(completion.tokens) == len(completion.logprobs) == 1
        assert completion.finished == (completion.tokens[0] == EOS)
    assert not all(completion.finished for group in short for completion in group)
    ended = [c for group in engine.generate(prompts, 8, sampling(max_tokens=20)) for c in group if c.finished]
    assert ended
    for completion in ended:
        assert completion.tokens[-1] == EOS
        assert EOS not in completion.tokens[:-1]


def test_padding_with_the_end_token(policy, prompts):
    """Many hub tokenizers have pad == eos: what follows the first end is padding all the same."""
    groups = TransformersEngine(policy.model, pad_id=EOS, stop_ids=[EOS]).generate(prompts, 4, sampling())
    assert as_lists(groups) == as_lists(engine_of(policy.model).generate(prompts, 4, sampling()))


def test_any_stop_token_ends_a_response(policy, prompts):
    """A character that the policy is sure to write stops it; it is the response's last and a finish."""
    semicolon = policy.encode(";").item()
    assert policy.stop_ids == (EOS,)
    stopping = policy.stopping_at([";"])
    assert stopping.stop_ids == (EOS, semicolon)
    free = engine_of(policy.model).generate(prompts, 8, sampling())
    engine = TransformersEngine(policy.model, pad_id=PAD, stop_ids=stopping.stop_ids)
    stopped = engine.generate(prompts, 8, sampling())
    cut = [c for group in stopped for c in group if c.tokens[-1] == semicolon]
    assert cut
    assert any(semicolon in c.tokens[:-1] for group in free for c in group)  # so the test can tell
    for completion in (completion for group in stopped for completion in group):
        assert semicolon not in completion.tokens[:-1]
        assert len(completion.logprobs) == len(completion.tokens)
        assert completion.finished == (completion.tokens[-1].item() in stopping.stop_ids)


def test_first_token_is_sampled_from_the_softmax(policy, engine):
    prompt, n, temperature = policy.encode("1+2="), 4000, 1.5
    groups = engine_of(policy.model, max_batch_size=n).generate(
        [prompt], n, sampling(max_tokens=1, temperature=temperature)
    )
    counts = torch.bincount(torch.tensor([c.tokens[0] for c in groups[0]]), minlength=18).double()
    p = (policy.model(input_ids=prompt[None]).logits[0, -1].double() / temperature).softmax(-1)
    chi_square = ((counts - n * p).square() / (n * p)).sum().item()
    assert chi_square < 50  # 17 degrees of freedom: mean 17, above 50 once in 30 000
    untempered = policy.model(input_ids=prompt[None]).logits[0, -1].double().softmax(-1)
    assert ((counts - n * untempered).square() / (n * untempered)).sum() > 100  # so the test can tell


@pytest.mark.parametrize(
    "inherited",
    [
        {"top_k": 1},
        {"top_p": 0.1},
        {"temperature": 0.1},
        {"min_p": 0.9},
        {"typical_p": 0.1},
        {"repetition_penalty": 5.0},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": [4, 5, 6, 7, 8, 9]},
        {"min_new_tokens": 6},
        {"num_beams": 3},
    ],
    ids=lambda inherited: next(iter(inherited)),
)
def test_generation_config_of_a_checkpoint_is_not_inherited(policy, engine, prompts, inherited):
    expected = [as_lists(engine.generate(prompts, 2, sampling(temperature=t))) for t in (1.0, 0.0)]
    policy.model.generation_config.update(do_sample=True, **inherited)
    mine = policy.model.generation_config
    assert [as_lists(engine.generate(prompts, 2, sampling(temperature=t))) for t in (1.0, 0.0)] == expected
    assert policy.model.generation_config is mine  # a saved policy keeps it


def test_mode_of_the_model_is_left_as_it_was_even_by_a_failure(policy, engine, prompts):
    policy.model.train()
    engine.generate(prompts[:1], 1, sampling())
    assert policy.model.training
    with pytest.raises(ValueError, match="context"):
        engine.generate(prompts, 1, sampling(max_tokens=1000))
    assert policy.model.training


def test_prompt_that_does_not_fit_the_context(engine, prompts):
    engine.generate(prompts, 1, sampling(max_tokens=60))  # 4 + 60 = 64 tokens
    with pytest.raises(ValueError, match=r"4 tokens and .* 61 \(rollout.max_tokens\).*context of 64 tokens"):
        engine.generate(prompts, 1, sampling(max_tokens=61))


def test_logprobs_are_log_probabilities(engine, prompts):
    logprobs = behaviour(engine.generate(prompts, 4, sampling()))
    assert logprobs.dtype == torch.float32
    assert (logprobs <= 0).all()
    assert logprobs.exp().mean() > 1 / math.exp(5)


@pytest.mark.parametrize("max_batch_size", [1, 4, 100])
def test_a_response_does_not_depend_on_what_is_sampled_beside_it(policy, engine, prompts, max_batch_size):
    whole = as_lists(engine.generate(prompts, 3, sampling()))
    assert (
        as_lists(engine_of(policy.model, max_batch_size=max_batch_size).generate(prompts, 3, sampling()))
        == whole
    )
    shares = [engine.generate(prompts[i : i + 2], 3, sampling(first_prompt=i)) for i in (0, 2, 4)]
    assert [tokens for share in shares for tokens in as_lists(share)] == whole
    assert as_lists(engine.generate(prompts, 2, sampling())) == [group[:2] for group in whole]
