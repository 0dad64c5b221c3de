"""Statistics of responses: hand values, a loop in Python, responses of one token and of none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from policies.statistics.responses import response_means, response_sums, standard_error, top_means, top_tokens

LENGTHS = [3, 0, 1, 11, 4]
RESPONSE = torch.repeat_interleave(torch.tensor(LENGTHS))


def values(seed=0):
    return torch.rand(len(RESPONSE), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_by_hand():
    response = torch.tensor([0, 0, 0, 2])
    x = torch.tensor([1.0, 4.0, 2.5, 7.0])
    assert response_sums(x, response, 3).tolist() == [7.5, 0.0, 7.0]
    means = response_means(x, response, 3).tolist()
    assert (means[0], means[2]) == (2.5, 7.0)
    assert math.isnan(means[1])
    # 0.2 · 3 = 0.6: at least one; 0.7 · 3 = 2.1: two
    assert top_tokens(x, response, 3).tolist() == [False, True, False, True]
    assert top_tokens(x, response, 3, share=0.7).tolist() == [False, True, True, True]
    assert top_means(x, response, 3, share=0.7).tolist()[0] == 3.25  # (4 + 2.5) / 2


def test_equals_take_the_earlier():
    x = torch.tensor([1.0, 3.0, 3.0, 3.0, 2.0])
    assert top_tokens(x, torch.zeros(5, dtype=torch.int64), 1, share=0.4).tolist() == [
        False,
        True,
        True,
        False,
        False,
    ]
    # a sort that is not stable keeps the order of a few, not of many
    many = top_tokens(torch.ones(200), torch.zeros(200, dtype=torch.int64), 1)
    assert torch.equal(many, torch.arange(200) < 40)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.29, 0.5, 1.0])
def test_equals_a_loop(share):
    x = values()
    chosen, means = top_tokens(x, RESPONSE, 5, share), top_means(x, RESPONSE, 5, share)
    for i, length in enumerate(LENGTHS):
        ranked = sorted(x[i == RESPONSE].tolist(), reverse=True)[: max(1, math.floor(share * length + 1e-9))]
        assert sorted(x[(i == RESPONSE) & chosen].tolist(), reverse=True) == ranked
        if length:
            assert means[i].item() == pytest.approx(sum(ranked) / len(ranked))
        else:
            assert means[i].isnan()


def test_a_share_that_is_a_whole_count_is_not_lost_to_rounding():
    # 0.29 · 100 is 28.999999999999996 in floating point
    x = torch.rand(100, generator=torch.Generator().manual_seed(0))
    assert top_tokens(x, torch.zeros(100, dtype=torch.int64), 1, share=0.29).sum() == 29


def test_no_tokens():
    empty = torch.zeros(0)
    assert top_tokens(empty, empty.long(), 2).shape == (0,)
    assert top_means(empty, empty.long(), 2).isnan().all()


def test_the_standard_error_by_hand():
    # prompts of tokens (1, 2) and (4), mean 7/3: off by 3 − 2 · 7/3 = −5/3 and 4 − 7/3 = 5/3
    x, response = torch.tensor([1.0, 2.0, 4.0]).double(), torch.tensor([0, 1, 2])
    by_hand = math.sqrt(2 / 1 * 2 * (5 / 3) ** 2) / 3
    assert standard_error(x, response, torch.tensor([0, 0, 1])) == pytest.approx(by_hand)
    assert standard_error(x, response, torch.tensor([0, 0, 2])) == pytest.approx(
        by_hand
    )  # prompt 1 said nothing
    assert math.isnan(standard_error(x, response, torch.zeros(3, dtype=torch.int64)))
    assert math.isnan(standard_error(x[:0], response[:0], torch.tensor([0, 0, 1])))


def test_the_standard_error_is_how_far_means_of_new_prompts_are_apart():
    """Responses to a prompt resemble each other: taken for independent, they would tell a third of it."""
    rng = np.random.default_rng(0)
    means, told = [], []
    for _ in range(400):
        group = torch.arange(16).repeat_interleave(8)
        response = torch.repeat_interleave(torch.as_tensor(rng.integers(1, 9, 128)))
        of_prompt, of_response = rng.normal(1.0, 0.3, 16), rng.normal(0.0, 0.1, 128)
        x = (
            of_prompt[group[response].numpy()]
            + of_response[response.numpy()]
            + rng.normal(0, 0.1, len(response))
        )
        means.append(x.mean())
        told.append(standard_error(torch.as_tensor(x), response, group))
    assert np.mean(told) == pytest.approx(np.std(means), rel=0.08)
