"""The flat batch: lengths, and sub-batches in any order."""

from __future__ import annotations

from dataclasses import replace

import torch

from policies.batch import TokenBatch


def example() -> TokenBatch:
    """Four responses with 2, 0, 1 and 3 tokens; a token's log-prob is -(10 · response + position)."""
    response = torch.tensor([0, 0, 2, 3, 3, 3])
    position = torch.tensor([0, 1, 0, 0, 1, 2])
    logprobs = -(10.0 * response + position)
    return TokenBatch(
        response=response,
        position=position,
        logprobs=logprobs,
        old_logprobs=logprobs - 0.5,
        entropy=-logprobs / 100,
        advantages=torch.ones(6),
        weights=torch.full((6,), 1 / 6),
        rewards=torch.tensor([0.0, 0.25, 0.5, 0.75]),
        group=torch.tensor([5, 5, 8, 8]),
    )


def test_lengths_count_empty_responses():
    assert example().num_responses == 4
    assert example().lengths.tolist() == [2, 0, 1, 3]


def test_select_takes_responses_in_the_order_given():
    batch = example()
    part, tokens = batch.select(torch.tensor([3, 1, 0]))
    assert tokens.tolist() == [3, 4, 5, 0, 1]
    assert part.response.tolist() == [0, 0, 0, 2, 2]  # response 3 is 0 now, 1 is empty, 0 is 2
    assert part.position.tolist() == [0, 1, 2, 0, 1]
    assert part.logprobs.tolist() == [-30.0, -31.0, -32.0, 0.0, -1.0]
    assert part.rewards.tolist() == [0.75, 0.25, 0.0]
    assert part.group.tolist() == [8, 5, 5]
    assert part.lengths.tolist() == [3, 0, 2]
    assert part.old_logprobs.tolist() == batch.old_logprobs[tokens].tolist()


def test_select_of_everything_and_of_nothing():
    batch = example()
    whole, tokens = batch.select(torch.arange(4))
    assert tokens.tolist() == list(range(6))
    assert whole.response.tolist() == batch.response.tolist()
    nothing, tokens = batch.select(torch.tensor([], dtype=torch.int64))
    assert len(tokens) == len(nothing.response) == nothing.num_responses == 0


def test_select_keeps_the_gradient():
    batch = example()
    batch.logprobs.requires_grad_()
    part, _ = batch.select(torch.tensor([2]))
    part.logprobs.sum().backward()
    assert batch.logprobs.grad.tolist() == [0, 0, 1, 0, 0, 0]


def test_to_moves_every_field():
    batch = example()
    whole = replace(
        batch, filtered_logprobs=batch.logprobs, filtered_entropy=batch.entropy, scale=batch.entropy
    )
    moved = whole.to(torch.device("meta"))
    assert {getattr(moved, name).device.type for name in TokenBatch.__slots__} == {"meta"}
    assert batch.to(torch.device("meta")).scale is None
