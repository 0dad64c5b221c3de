"""Advantages: hand values, an independent loop, and what must hold for every kind."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from policies.advantages import ADVANTAGES, dr_grpo, grpo, rloo


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
    assert ADVANTAGES[kind](rewards, group).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ADVANTAGES)
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1 / 3, 1e6 + 0.1])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_equal_rewards_give_exact_zeros(kind, reward, size):
    advantages = ADVANTAGES[kind](torch.full((size,), reward), torch.zeros(size, dtype=torch.int64))
    assert advantages.tolist() == [0.0] * size


@pytest.mark.parametrize("kind", ADVANTAGES)
def test_sum_to_zero_over_a_group_and_keep_the_order_of_rewards(kind):
    rewards, group = torch.tensor([0.0, 0.3, 1.0, 0.9]), torch.zeros(4, dtype=torch.int64)
    advantages = ADVANTAGES[kind](rewards, group)
    assert math.isclose(advantages.sum().item(), 0.0, abs_tol=1e-6)
    assert advantages.argsort().tolist() == rewards.argsort().tolist()
    assert advantages[0] < 0 < advantages[2]


@pytest.mark.parametrize("kind", ADVANTAGES)
def test_no_responses(kind):
    assert ADVANTAGES[kind](torch.zeros(0), torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("kind", ADVANTAGES)
def test_shapes_are_guarded(kind):
    with pytest.raises(ValueError, match=r"one length, got \(3,\) and \(2,\)"):
        ADVANTAGES[kind](torch.zeros(3), torch.zeros(2, dtype=torch.int64))
