"""Advantages: hand values, an independent loop, and what must hold for every kind."""

from __future__ import annotations

import math
import statistics
from itertools import combinations, product

import numpy as np
import pytest
import torch

from policies.advantages import ADVANTAGES, MaxRL, PassK, Quantile, dr_grpo, grpo, maxrl, quantile, rloo
from policies.best_of_k import best_of_k, pass_k


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
        elif kind == "maxrl":
            result.append((reward - statistics.mean(siblings)) / statistics.mean(siblings))
        elif kind == "pass_k":
            result.append(by_enumeration(rewards, group, i, min(4, len(siblings) - 1)))
        else:
            result.append(reward - statistics.mean(others))
    return result


def by_enumeration(rewards: list[float], group: list[int], i: int, k: int) -> float:
    """Mean best of the teams of k with i, minus that of the teams without i."""
    others = [r for j, (r, g) in enumerate(zip(rewards, group, strict=True)) if g == group[i] and j != i]
    with_i = [max(rewards[i], *team) if team else rewards[i] for team in combinations(others, k - 1)]
    without = [max(team) for team in combinations(others, k)]
    return statistics.mean(with_i) - statistics.mean(without)


def test_one_success_in_eight_by_hand():
    rewards, group = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0]), torch.zeros(8, dtype=torch.int64)
    # mean 1/8; unbiased variance (0.875² + 7 · 0.125²) / 7 = (0.765625 + 0.109375) / 7 = 0.125
    # std 0.353553; GRPO: 0.875 / 0.353554 = 2.474867 and -0.125 / 0.353554 = -0.353552
    assert grpo(rewards, group)[:2].tolist() == pytest.approx([2.474867, -0.353552], abs=2e-6)
    # Dr. GRPO: 1 - 1/8 and 0 - 1/8
    assert dr_grpo(rewards, group)[:2].tolist() == pytest.approx([0.875, -0.125])
    # RLOO: 1 - mean of seven zeros; 0 - mean of (1, 0, 0, 0, 0, 0, 0) = -1/7
    assert rloo(rewards, group)[:2].tolist() == pytest.approx([1.0, -1 / 7])
    # MaxRL: 0.875 / 0.125 and -0.125 / 0.125
    assert maxrl(rewards, group)[:2].tolist() == pytest.approx([7.0, -1.0])
    # half way: divided by the root of 0.353554 · 0.125 = 0.0441943, which is 0.2102244
    assert maxrl(rewards, group, 0.5)[:2].tolist() == pytest.approx([4.162219, -0.594603], abs=2e-6)
    # best of 4: the success makes every team of its own right, R = 1; a failure is in 35 teams, of which
    # C(6, 2) = 15 have the success, R = 15/35; pass@4 = 1 - C(7, 4) / C(8, 4) = 1/2; 8 / (8 - 4) = 2
    assert pass_k(rewards, group, 4)[:2].tolist() == pytest.approx([2 * (1 - 0.5), 2 * (15 / 35 - 0.5)])
    # the deviation of a coin is 1/2: twice the distance too
    assert pass_k(rewards, group, 4, "deviation")[:2].tolist() == pytest.approx([1.0, -1 / 7], abs=1e-5)


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
    ordered = advantages[rewards.argsort()]
    if kind == "pass_k":  # a team of 3 of 4 is never as bad as its worst or second worst
        assert (ordered.diff() >= -1e-6).all()
    else:
        assert (ordered.diff() > 0).all()
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


# MaxRL ------------------------------------------------------------------------------------------------


def test_maxrl_is_grpo_at_0_and_between_them_a_geometric_mean():
    generator = torch.Generator().manual_seed(8)
    group = torch.randint(6, (48,), generator=generator)
    rewards = torch.rand(48, dtype=torch.float64, generator=generator)
    assert torch.equal(maxrl(rewards, group, 0.0), grpo(rewards, group))
    both = grpo(rewards, group).abs() ** 0.7 * maxrl(rewards, group).abs() ** 0.3
    torch.testing.assert_close(maxrl(rewards, group, 0.3).abs(), both)
    assert torch.equal(maxrl(rewards, group, 0.3).sign(), grpo(rewards, group).sign())


def test_maxrl_of_a_mean_that_is_not_above_0_is_0():
    group = torch.zeros(2, dtype=torch.int64)
    assert maxrl(torch.tensor([-1.0, 1.0]), group).tolist() == [0.0, 0.0]
    assert maxrl(torch.tensor([-1.0, 0.5]), group).tolist() == [0.0, 0.0]
    # so for rewards below 0 the exponent 0 is not GRPO: (0.5 + 0.25) / (1.5 / √2) is
    assert maxrl(torch.tensor([-1.0, 0.5]), group, 0.0).tolist() == [0.0, 0.0]
    assert grpo(torch.tensor([-1.0, 0.5]), group).tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5], abs=1e-5)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_maxrl_in_expectation_is_the_gradient_of_the_truncated_log_likelihood(p):
    """Over all groups of five bits, each right with p = sigmoid(z).

    A right bit has ∂ log π / ∂z = 1 - p, a wrong one -p.  Without a baseline the mean of Σ r_i / (n mean r) · ∇ log π
    is that of the first n terms of ∇ log p = ∇p Σ (1 - p)^(k - 1).  The baseline -1 has the mean 0 over all groups;
    groups without a success have no advantage, so what it would have had there, (1 - p)^n · p, is missing.
    """
    n = 5
    mean = 0.0
    for bits in product([0.0, 1.0], repeat=n):
        chance = math.prod(p if bit else 1 - p for bit in bits)
        advantages = maxrl(torch.tensor(bits, dtype=torch.float64), torch.zeros(n, dtype=torch.int64))
        scores = [(1 - p) if bit else -p for bit in bits]
        mean += chance * sum(a * s for a, s in zip(advantages.tolist(), scores, strict=True)) / n
    slope = p * (1 - p)  # ∂p / ∂z
    expected = slope * sum((1 - p) ** (k - 1) for k in range(1, n + 1)) - (1 - p) ** n * p
    assert mean == pytest.approx(expected, rel=1e-12)


def test_maxrl_guards():
    with pytest.raises(ValueError, match=r"exponent must be in \[0, 1\], got 1.5"):
        MaxRL(exponent=1.5)


# Best of k --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6])
def test_best_of_k_and_its_advantage_equal_all_teams(k):
    generator = torch.Generator().manual_seed(k)
    n = 7
    rewards = torch.rand(n, dtype=torch.float64, generator=generator)
    rewards[3] = rewards[5]
    group = torch.zeros(n, dtype=torch.int64)
    teams = list(combinations(range(n), k))
    best = {team: max(rewards[list(team)].tolist()) for team in teams}
    expected = [statistics.mean(best[team] for team in teams if i in team) for i in range(n)]
    assert best_of_k(rewards, group, k).tolist() == pytest.approx(expected, abs=1e-14)
    without = [statistics.mean(best[team] for team in teams if i not in team) for i in range(n)]
    advantages = [a - b for a, b in zip(expected, without, strict=True)]
    assert pass_k(rewards, group, k).tolist() == pytest.approx(advantages, abs=1e-13)
    spread = statistics.pstdev(best.values()) + 1e-6
    scaled = [(a - statistics.mean(best.values())) / spread for a in expected]
    assert pass_k(rewards, group, k, "deviation").tolist() == pytest.approx(scaled, abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_pass_k_in_expectation_is_the_gradient_of_pass_at_k(k):
    """Over all groups of six bits, right with p = sigmoid(z): ∂ (1 - (1 - p)^k) / ∂z = k (1 - p)^(k - 1) p (1 - p)."""
    n, p = 6, 0.3
    mean = 0.0
    for bits in product([0.0, 1.0], repeat=n):
        chance = math.prod(p if bit else 1 - p for bit in bits)
        advantages = pass_k(torch.tensor(bits, dtype=torch.float64), torch.zeros(n, dtype=torch.int64), k)
        scores = [(1 - p) if bit else -p for bit in bits]
        mean += chance * k / n * sum(a * s for a, s in zip(advantages.tolist(), scores, strict=True))
    assert mean == pytest.approx(k * (1 - p) ** (k - 1) * p * (1 - p), rel=1e-12)


def test_pass_1_is_rloo_and_best_of_1_the_reward():
    generator = torch.Generator().manual_seed(9)
    group = torch.randint(5, (30,), generator=generator)
    rewards = torch.rand(30, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(pass_k(rewards, group, 1), rloo(rewards, group), rtol=0, atol=1e-14)
    assert torch.equal(best_of_k(rewards, group, 1.0), rewards)


def test_best_of_k_moves_up_and_without_a_jump_as_k_goes_up():
    rewards = torch.tensor([0.0, 0.2, 0.2, 0.5, 1.0, 0.1], dtype=torch.float64)
    group = torch.zeros(6, dtype=torch.int64)
    steps = torch.stack([best_of_k(rewards, group, 1 + 4 * step / 400) for step in range(401)]).diff(dim=0)
    assert (steps >= -1e-12).all()
    assert steps.max() < 0.02
    # all six are in the one team of six, so it takes five: 1 for every team but the one without the best
    assert torch.equal(best_of_k(rewards, group, 6.0), best_of_k(rewards, group, 5.0))
    assert torch.equal(best_of_k(rewards, group, 60.0), best_of_k(rewards, group, 5.0))


def test_a_team_that_cannot_miss_teaches_nothing():
    # two of five are right: every team of 4 has a right one
    assert pass_k(torch.tensor([1.0, 0, 1, 0, 0]), torch.zeros(5, dtype=torch.int64), 4).tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"scale": "std"}, "scale must be 'leave_one_out' or 'deviation', got 'std'"),
    ],
)
def test_pass_k_guards(settings, message):
    with pytest.raises(ValueError, match=message):
        PassK(**settings)
    with pytest.raises(ValueError, match="k must be at least 1 and finite, got nan"):
        best_of_k(torch.ones(2), torch.zeros(2, dtype=torch.int64), math.nan)
