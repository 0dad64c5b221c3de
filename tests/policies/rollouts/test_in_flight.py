"""Responses that go on: each token is sampled by the weights of its version, after all that was said before it."""

from __future__ import annotations

import pytest
import torch

from policies.rollouts.base import Sampling
from policies.rollouts.in_flight import InFlight, joined, sample_segments
from policies.rollouts.transformers_engine import TransformersEngine
from policies.statistics.response_statistics import View, observe
from policies.statistics.sequences import pack


def sampling(seed):
    return Sampling(temperature=1.0, max_tokens=3, seed=seed, numbers=tuple(range(4)))


def test_each_token_is_of_the_weights_of_its_version(policy):
    engine = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=[], max_batch_size=3)
    prompts = [policy.encode(text) for text in ("1+2=", "3", "4+5=", "1+2=")]

    def learners(responses):
        rows = pack(prompts, [response.tokens for response in responses], policy.pad_id)
        return observe(policy.model, rows, View(temperature=1.0), micro_batch_size=4).logprobs.reshape(4, 6)

    begun = sample_segments(engine, prompts, [None] * 4, sampling(1), version=4)
    saved = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    further = sample_segments(engine, prompts, begun, sampling(2), version=7)
    done = [joined(response, segment) for response, segment in zip(begun, further, strict=True)]
    new = learners(done)
    policy.model.load_state_dict(saved)
    old = learners(done)

    sampled = torch.stack([response.logprobs for response in done])
    torch.testing.assert_close(sampled[:, :3], old[:, :3], atol=1e-4, rtol=0)
    torch.testing.assert_close(sampled[:, 3:], new[:, 3:], atol=1e-4, rtol=0)
    assert (old - new).abs().max() > 0.1
    assert [response.versions.tolist() for response in done] == [[4, 4, 4, 7, 7, 7]] * 4
    assert [response.tokens[:3].tolist() for response in done] == [r.tokens.tolist() for r in begun]
    assert done[0].tokens.tolist() != done[3].tokens.tolist()  # their numbers tell siblings apart


def test_siblings_that_begin_read_their_prompt_once_and_are_sampled_as_if_alone(policy):
    engine = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids)
    first, second = policy.encode("1+2="), policy.encode("4+5+6=")
    read = []
    hook = policy.model.get_decoder().register_forward_pre_hook(
        lambda _, __, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    together = sample_segments(engine, [first, first, second, second], [None] * 4, sampling(1), version=0)
    hook.remove()
    assert read[0] == (2, len(second) - 1)  # all but the last token of each prompt
    apart = [prompt.clone() for prompt in (first, first, second, second)]
    alone = sample_segments(engine, apart, [None] * 4, sampling(1), version=0)
    assert [each.tokens.tolist() for each in together] == [each.tokens.tolist() for each in alone]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.logprobs, other.logprobs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["prompts", "round_tokens"])
def test_numbers_that_are_none(name):
    with pytest.raises(ValueError, match=rf"{name} must be at least 1, got 0"):
        InFlight(**{"prompts": 3, "round_tokens": 2} | {name: 0})
