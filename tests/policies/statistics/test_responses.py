"""Statistics of responses: hand values, a loop in Python, responses of one token and of none."""

from __future__ import annotations

import math

import pytest
import torch

from policies.statistics.responses import response_means, response_sums, top_means, top_tokens

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
