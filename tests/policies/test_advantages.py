"""Advantages: hand values, an independent loop, and what must hold for every kind."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch

from policies.advantages import ADVANTAGES, Quantile, dr_grpo, grpo, quantile, rloo


def loop(kind: str, rewards: list[float], group: list[int]) -> list[float]:
    """The definitions, one response at a time, with Python's statistics."""
    result = []
    for i, (reward, g) in enumerate(zip(rewards, group, strict=True)):
        siblings = [r for r, other in zip(rewards, group, strict=True) if other == g]
        others = [r for j, (r, other) in enumerate(zip(rewards, group, strict=True)) if other == g and j != i]
        if len(siblings) == 1:
            result.append(0.0)
        elif kind == "grpo":
            result.append((reward - statistics.mean(siblings)) / (statistics.stdev(siblings) + 1e-6))
        elif kind == "quantile":
            ranked = sorted(siblings)  # the least that 40 % of the group do not exceed
            baseline = next(r for k, r in enumerate(ranked, 1) if k >= 0.4 * len(ranked) - 1e-9)
            result.append((reward - baseline) / (statistics.stdev(siblings) + 1e-6))
        elif kind == "dr_grpo":
            result.append(reward - statistics.mean(siblings))
        else:
            result.append(reward - statistics.mean(others))
    return result


def test_one_success_in_eight_by_hand():
    rewards, group = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0]), torch.zeros(8, dtype=torch.int64)
    # mean 1/8; unbiased variance (0.875² + 7 · 0.125²) / 7 = (0.765625 + 0.109375) / 7 = 0.125
    # std 0.353553; GRPO: 0.875 / 0.353554 = 2.474867 and -0.125 / 0.353554 = -0.353552
    assert grpo(rewards, group)[:2].tolist() == pytest.approx([2.474867, -0.353552], abs=2e-6)
    # Dr. GRPO: 1 - 1/8 and 0 - 1/8
    assert dr_grpo(rewards, group)[:2].tolist() == pytest.approx([0.875, -0.125])
    # RLOO: 1 - mean of seven zeros; 0 - mean of (1, 0, 0, 0, 0, 0, 0) = -1/7
    assert rloo(rewards, group)[:2].tolist() == pytest.approx([1.0, -1 / 7])


def test_groups_are_apart_whatever_their_order():
    # group 7: 1, 0; group 2: 0, 1, 0.5
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.5])
    group = torch.tensor([7, 2, 7, 2, 2])
    assert dr_grpo(rewards, group).tolist() == pytest.approx([0.5, -0.5, -0.5, 0.5, 0.0])
    # 1 - 0;  0 - (1 + 0.5) / 2;  0 - 1;  1 - (0 + 0.5) / 2;  0.5 - (0 + 1) / 2
    assert rloo(rewards, group).tolist() == pytest.approx([1.0, -0.75, -1.0, 0.75, 0.0])


@pytest.mark.parametrize("kind", ADVANTAGES)
def test_equals_the_loop_on_random_ragged_groups(kind):
    generator = torch.Generator().manual_seed(3)
    group = torch.randint(9, (40,), generator=generator)
    rewards = torch.rand(40, dtype=torch.float64, generator=generator)
    expected = loop(kind, rewards.tolist(), group.tolist())
    assert ADVANTAGES[kind]()(rewards, group).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ADVANTAGES)
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1 / 3, 1e6 + 0.1])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_equal_rewards_give_exact_zeros(kind, reward, size):
    advantages = ADVANTAGES[kind]()(torch.full((size,), reward), torch.zeros(size, dtype=torch.int64))
    assert advantages.tolist() == [0.0] * size


@pytest.mark.parametrize("kind", ADVANTAGES)
def test_sum_to_zero_over_a_group_and_keep_the_order_of_rewards(kind):
    rewards, group = torch.tensor([0.0, 0.3, 1.0, 0.9]), torch.zeros(4, dtype=torch.int64)
    advantages = ADVANTAGES[kind]()(rewards, group)
    if kind != "quantile":
        assert math.isclose(advantages.sum().item(), 0.0, abs_tol=1e-6)
    assert advantages.argsort().tolist() == rewards.argsort().tolist()
    assert advantages[0] < 0 < advantages[2]


@pytest.mark.parametrize("kind", ADVANTAGES)
def test_no_responses(kind):
    assert ADVANTAGES[kind]()(torch.zeros(0), torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("kind", ADVANTAGES)
def test_shapes_are_guarded(kind):
    with pytest.raises(ValueError, match=r"one length, got \(3,\) and \(2,\)"):
        ADVANTAGES[kind]()(torch.zeros(3), torch.zeros(2, dtype=torch.int64))


# Quantile ---------------------------------------------------------------------------------------------


def one_group(rewards, share, interpolation="inverted_cdf"):
    rewards = torch.tensor(rewards, dtype=torch.float64)
    return quantile(rewards, torch.zeros(len(rewards), dtype=torch.int64), share, interpolation).tolist()


def test_quantile_by_hand():
    # one right of four, K = 0.4: ceil(1.6) = 2nd lowest is 0, std 0.5: only the success is rewarded
    assert one_group([0, 1, 0, 0], 0.4) == pytest.approx([0, 1 / 0.500001, 0, 0])
    # three right of four: the 2nd lowest is 1: only the failure is penalised
    assert one_group([1, 0, 1, 1], 0.4) == pytest.approx([0, -1 / 0.500001, 0, 0])


def test_quantile_linear_is_torchs_by_hand():
    # two right of four, K = 0.4: rank 0.4 · 3 = 1.2 between 0 and 1: baseline 0.2; std sqrt(1/3) = 0.577350
    expected = [0.8 / 0.577351, 0.8 / 0.577351, -0.2 / 0.577351, -0.2 / 0.577351]
    assert one_group([1, 1, 0, 0], 0.4, "linear") == pytest.approx(expected)
    # where the exact rule has p = 0.5 <= 0.6, so a baseline of 0 and nothing for the wrong ones
    assert one_group([1, 1, 0, 0], 0.4) == pytest.approx([1 / 0.577351, 1 / 0.577351, 0, 0])


@pytest.mark.parametrize("size", [2, 3, 5, 8, 10, 16])
@pytest.mark.parametrize("tenths", [1, 3, 4, 5, 6, 7, 9])
def test_quantile_has_the_papers_two_regimes(size, tenths):
    """p <= 1 - K: only successes have an advantage, a positive one; else only failures, a negative one."""
    for right in range(1, size):
        advantages = one_group([1] * right + [0] * (size - right), tenths / 10)
        if 10 * right <= (10 - tenths) * size:
            assert min(advantages[:right]) > 0
            assert advantages[right:] == [0.0] * (size - right)
        else:
            assert advantages[:right] == [0.0] * right
            assert max(advantages[right:]) < 0


def test_a_rank_that_is_a_whole_number_is_not_lost_to_rounding():
    # 0.07 · 100 is 7.000000000000001; of 100 responses 7 are wrong, and p = 0.93 = 1 - K: the baseline is 0
    assert one_group([1] * 93 + [0] * 7, 0.07)[-1] == 0.0


@pytest.mark.parametrize("interpolation", ["inverted_cdf", "linear"])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.99])
def test_quantile_equals_numpy_on_ragged_groups(interpolation, share):
    generator = torch.Generator().manual_seed(5)
    group = torch.randint(7, (60,), generator=generator) * 2  # numbers with gaps
    rewards = torch.rand(60, dtype=torch.float64, generator=generator)
    expected = torch.empty_like(rewards)
    for g in group.unique():
        own = rewards[group == g].numpy()
        baseline = np.quantile(own, share, method=interpolation)
        expected[group == g] = torch.from_numpy((own - baseline) / (own.std(ddof=1) + 1e-6))
    torch.testing.assert_close(quantile(rewards, group, share, interpolation), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        Quantile(quantile=share, interpolation=interpolation)(rewards, group), expected, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantile": 0.0}, r"quantile must be in \(0, 1\), got 0.0"),
        ({"quantile": 1.0}, r"quantile must be in \(0, 1\), got 1.0"),
        ({"interpolation": "nearest"}, "interpolation must be 'inverted_cdf' or 'linear', got 'nearest'"),
    ],
)
def test_quantile_guards(settings, message):
    with pytest.raises(ValueError, match=message):
        Quantile(**settings)
