"""Chance by address, and tokens drawn with it."""

from __future__ import annotations

import torch

from policies.rollouts.addressed_sampling import draw, uniforms


def test_tokens_are_where_the_cumulative_probability_passes_the_number():
    logprobs = torch.tensor([0.2, 0.5, 0.0, 0.3]).log().expand(6, 4)  # cumulative 0.2, 0.7, 0.7, 1.0
    uniform = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, 0.9999999], dtype=torch.float64)
    assert draw(logprobs, uniform).tolist() == [0, 0, 1, 1, 3, 3]


def test_probabilities_count_by_their_share_of_what_they_add_up_to():
    halved = torch.tensor([0.1, 0.25, 0.0, 0.15]).log().expand(4, 4)  # the same shares of 0.5
    uniform = torch.tensor([0.19, 0.21, 0.69, 0.71], dtype=torch.float64)
    assert draw(halved, uniform).tolist() == [0, 1, 1, 3]


def test_an_impossible_token_is_never_drawn():
    first = torch.tensor([[0.0, 1.0]]).log()
    assert draw(first, torch.zeros(1, dtype=torch.float64)).tolist() == [1]


def test_every_address_has_numbers_of_its_own():
    one = uniforms(7, 0, 0, 5)
    assert torch.equal(one, uniforms(7, 0, 0, 9)[:5])  # a longer limit changes nothing before it
    for other in (uniforms(8, 0, 0, 5), uniforms(7, 1, 0, 5), uniforms(7, 0, 1, 5)):
        assert not torch.isclose(one, other).any()
    many = torch.stack([uniforms(2**62 + 1, i, 3, 50) for i in range(200)])
    assert many.dtype == torch.float64
    assert many.min() >= 0
    assert many.max() < 1
    assert abs(many.mean().item() - 0.5) < 0.015  # 10 000 numbers: standard error 0.003
