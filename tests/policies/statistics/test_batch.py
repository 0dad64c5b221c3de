"""The flat batch: lengths, and sub-batches in any order."""

from __future__ import annotations

from dataclasses import replace

import torch

from policies.statistics.batch import TokenBatch, domain_code


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
        batch,
        domain=batch.group,
        turn=batch.response,
        old_entropy=batch.entropy,
        filtered_logprobs=batch.logprobs,
        filtered_entropy=batch.entropy,
        scale=batch.entropy,
        importance=batch.entropy,
        reference_logprobs=batch.logprobs,
    )
    moved = whole.to(torch.device("meta"))
    assert {getattr(moved, name).device.type for name in TokenBatch.__slots__} == {"meta"}
    assert batch.to(torch.device("meta")).scale is None


# Parts ------------------------------------------------------------------------------------------------


def of_domains(*names: str) -> TokenBatch:
    """The example with a domain for each of its four responses."""
    return replace(example(), domain=torch.tensor([domain_code(name) for name in names]))


def test_a_domain_has_one_number_whoever_asks():
    assert domain_code("add2") == 8393638652106713377  # the same on every rank, now and later
    codes = {domain_code(f"{operation}{n}") for operation in ("add", "sub", "mul") for n in range(100)}
    assert len(codes) == 300
    assert all(0 <= code < 2**63 for code in codes)


def test_select_carries_the_domain_along():
    batch, _ = of_domains("a", "a", "b", "c").select(torch.tensor([3, 0]))
    assert batch.domain.tolist() == [domain_code("c"), domain_code("a")]


def test_part_is_the_domain_alone_and_goes_back_to_its_place():
    batch = of_domains("a", "b", "b", "a")
    part = batch.part("a")
    assert part.responses.tolist() == [0, 3]
    assert part.tokens.tolist() == [0, 1, 3, 4, 5]
    assert part.batch.logprobs.tolist() == [0.0, -1.0, -30.0, -31.0, -32.0]
    assert part.batch.group.tolist() == [5, 8]
    assert part.put_tokens(torch.full((5,), 7.0), batch.logprobs).tolist() == [7.0, 7.0, -20.0, 7.0, 7.0, 7.0]
    assert part.put_responses(torch.tensor([8.0, 9.0]), batch.rewards).tolist() == [8.0, 0.25, 0.5, 9.0]
    assert batch.rewards.tolist() == [0.0, 0.25, 0.5, 0.75]  # a new tensor each time


def test_part_of_a_domain_that_is_not_there_or_is_all_there_is():
    assert of_domains("a", "a", "b", "b").part("c") is None
    alone = of_domains("a", "a", "a", "a")
    assert alone.part("a").batch is alone
    assert alone.part(None).batch is alone
    assert alone.part(None).put_tokens(torch.ones(6), torch.zeros(6)).tolist() == [1.0] * 6
    assert of_domains("a", "b", "a", "a").part("b").batch.lengths.tolist() == [0]  # there, without a token
