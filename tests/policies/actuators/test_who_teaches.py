"""Actuators that decide which responses teach and how much: by hand, against dense forms, and their direction."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from statistics import mean, pstdev

import pytest
import torch

from policies.actuators.base import UpdateFacts
from policies.actuators.best_of import BestOf
from policies.actuators.decorrelated_advantage import DecorrelatedAdvantage
from policies.actuators.mean_exponent import MeanExponent
from policies.actuators.negative_weight import NegativeWeight
from policies.actuators.one_sided import OneSided
from policies.actuators.selected_bonus import SelectedBonus
from policies.advantages import grpo, maxrl, rloo
from policies.best_of_k import pass_k
from policies.policy_loss import Actuation
from policies.statistics.batch import TokenBatch
from tests.policies.actuators.test_shaping import batch_of

GROUPS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3])
REWARDS = torch.tensor([1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0])
"""A hard prompt, an easy one, one that is all wrong, and a group of another size."""


def rewarded(advantage, rewards=REWARDS, group=GROUPS) -> TokenBatch:
    """One token a response, with the advantages of its group."""
    rewards = rewards.double()
    return batch_of(
        [1] * len(rewards),
        rewards=rewards.tolist(),
        group=group.tolist(),
        advantages=advantage(rewards, group).tolist(),
        logprobs=[-0.5] * len(rewards),
    )


# Mean exponent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("u", [-1.0, 0.25, 0.5, 1.0])
def test_mean_exponent_over_grpo_is_maxrl_of_that_exponent(u):
    batch = rewarded(grpo)
    torch.testing.assert_close(
        MeanExponent().advantages(batch, u), maxrl(batch.rewards, GROUPS, u), rtol=1e-12, atol=1e-12
    )


def test_mean_exponent_by_hand():
    # hard: mean 1/4, std 1/2: twice, so the success has 0.75 / 0.25 = 3; easy: mean 3/4, std 1/2: two thirds
    shaped = MeanExponent().advantages(rewarded(grpo), 1.0)
    assert shaped[:8].tolist() == pytest.approx([3.0, -1.0, -1.0, -1.0, *[1 / 3] * 3, -1.0])
    assert shaped[8:12].tolist() == [0.0] * 4


@pytest.mark.parametrize("u", [-1.0, -0.5, 0.5, 1.0])
def test_mean_exponent_of_nearly_equal_rewards_is_bounded(u):
    """std / mean is 5e-5 / 0.9, taken for 0.1; and 10 where rewards of both signs have a mean of 0.01 and a std of 1.2."""
    group = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    batch = rewarded(grpo, torch.tensor([0.9, 0.9, 0.9, 0.9001, 1.04, 1.0, -1.0, -1.0]).double(), group)
    shaped = MeanExponent().advantages(batch, u)
    torch.testing.assert_close(shaped[:4], batch.advantages[:4] * 0.1**u, rtol=1e-9, atol=0)
    torch.testing.assert_close(shaped[4:], batch.advantages[4:] * 10.0**u, rtol=1e-9, atol=0)


@pytest.mark.parametrize("spread", [0.0, 1e-9])
def test_mean_exponent_leaves_a_group_of_equal_rewards_alone(spread):
    """Another part may have given it advantages; the 1e-6 in place of a std must not blow them up."""
    rewards = torch.tensor([0.9, 0.9, 0.9, 0.9 + spread]).double()
    batch = replace(
        rewarded(grpo, rewards, torch.zeros(4, dtype=torch.long)), advantages=torch.ones(4).double()
    )
    assert MeanExponent().advantages(batch, -1.0).tolist() == [1.0] * 4


@pytest.mark.parametrize("size", [2, 16, 99])
def test_the_bounds_touch_no_group_of_right_and_wrong_up_to_99(size):
    for right in (1, size - 1):
        rewards, group = (torch.arange(size) < right).double(), torch.zeros(size, dtype=torch.long)
        batch = rewarded(grpo, rewards, group)
        torch.testing.assert_close(
            MeanExponent().advantages(batch, -1.0), maxrl(batch.rewards, group, -1.0), rtol=1e-12, atol=1e-12
        )


# Best of k --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1.5, 2.0, 2.5, 3.0])
def test_best_of_over_rloo_is_pass_k_of_that_k(k):
    batch = rewarded(rloo)
    torch.testing.assert_close(
        BestOf(scale="leave_one_out").advantages(batch, k),
        pass_k(batch.rewards, GROUPS, k),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("k", [2, 3])
def test_best_of_over_a_population_grpo_equals_the_analytic_form_over_all_teams(k):
    """2508.10751: (1 - ρ) / σ for a right response, (1 - ρ - C(wrong - 1, k - 1) / C(n - 1, k - 1)) / σ for a wrong one."""

    def population(rewards, group):
        centred = rewards - torch.stack([rewards[group == g].mean() for g in group])
        std = torch.stack([rewards[group == g].std(correction=0) for g in group])
        return torch.where(std > 0, centred / (std + 1e-6), 0.0)

    shaped = BestOf().advantages(rewarded(population), float(k))
    expected = []
    for i, reward in enumerate(REWARDS.tolist()):
        own = REWARDS[GROUPS[i] == GROUPS].tolist()
        best = [max(team) for team in combinations(own, k)]
        spread, wrong, n = pstdev(best), own.count(0), len(own)
        if len(set(own)) == 1 or spread == 0:
            expected.append(0.0)
        elif reward:
            expected.append((1 - mean(best)) / spread)
        else:
            blame = math.comb(wrong - 1, k - 1) / math.comb(n - 1, k - 1)
            expected.append((1 - mean(best) - blame) / spread)
    assert shaped.tolist() == pytest.approx(expected, abs=1e-5)


def test_best_of_takes_the_weight_of_prompts_that_a_team_cannot_miss():
    shaped = BestOf().advantages(rewarded(grpo), 2.0)
    # one wrong of four: no team of two is wrong
    assert shaped[4:8].tolist() == pytest.approx([0.0] * 4, abs=1e-5)
    # one right: D = C(2, 1) / C(3, 1) = 2/3, ρ = 1/2, so 1.5 · 2/3 · √(3/16 / (1/4)) = 0.866
    assert shaped[0].item() == pytest.approx(0.8660, abs=1e-4)
    assert BestOf().advantages(rewarded(grpo), 9.0).isfinite().all()


def test_best_of_says_that_groups_of_two_leave_it_without_effect():
    batch = rewarded(grpo, torch.tensor([1, 0]), torch.zeros(2, dtype=torch.int64))
    assert torch.equal(BestOf().advantages(batch, 4.0), batch.advantages)
    facts = UpdateFacts(steps_per_batch=1, objective="policy_gradient", group_size=2)
    assert BestOf().why_inert(facts).startswith("a group of 2 has no team")
    assert BestOf().why_inert(replace(facts, group_size=3)) is None


# Weights by sign --------------------------------------------------------------------------------------


def test_negative_weight_by_hand():
    batch = batch_of([1, 2, 1], advantages=[1.0, -0.5, 0.0])
    weights = [NegativeWeight().weights(batch, u, torch.Generator()).tolist() for u in (0.4, -1.0)]
    assert weights == [[1.0, 1.4, 1.4, 1.0], [1.0, 0.0, 0.0, 1.0]]


def test_one_sided_has_three_positions_and_blends_between_them():
    batch = rewarded(grpo, torch.tensor([1, 0, 0, 0]), torch.zeros(4, dtype=torch.int64))
    # s is 1, -1, -1, -1; GRPO has 1.5, -0.5, -0.5, -0.5
    assert OneSided().advantages(batch, 1.0).tolist() == [0.0, -1.0, -1.0, -1.0]
    assert OneSided().advantages(batch, -1.0).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert Actuation.of([OneSided()], {"one_sided": 0.0}).shape(batch, grpo) is batch
    # half way: 0.5 · 1.5 and 0.5 · -0.5 - 0.5
    assert OneSided().advantages(batch, 0.5).tolist() == pytest.approx([0.75, *[-0.75] * 3], abs=1e-5)


def test_one_sided_lets_groups_without_a_comparison_teach():
    group = torch.zeros(2, dtype=torch.int64)
    wrong, right = rewarded(grpo, torch.zeros(2), group), rewarded(grpo, torch.ones(2), group)
    assert OneSided().advantages(wrong, 1.0).tolist() == [-1.0, -1.0]
    assert OneSided().advantages(right, -1.0).tolist() == [1.0, 1.0]
    assert OneSided().advantages(right, 1.0).tolist() == [0.0, 0.0]


# Decorrelated advantage -------------------------------------------------------------------------------

LOGPROBS = [-1.0, -3.0, -2.0, -0.5]


def test_decorrelated_advantage_by_hand():
    batch = batch_of([2, 2], advantages=[1.0, -1.0], logprobs=LOGPROBS)
    # the mean of all four is -6.5 / 4 = -1.625: 1 - 0.1 · (-1 + 1.625) = 0.9375, 1 - 0.1 · (-1.375) = 1.1375, …
    both = DecorrelatedAdvantage().advantages(batch, 0.1)
    assert both.tolist() == pytest.approx([0.9375, 1.1375, -0.9625, -1.1125])
    # the mean of the first two is -2: 1 - 0.1 · 1 and 1 + 0.1 · 1
    positive = DecorrelatedAdvantage(sides="positive").advantages(batch, 0.1)
    assert positive.tolist() == pytest.approx([0.9, 1.1, -1.0, -1.0])


def test_decorrelated_advantage_is_of_the_policy_at_the_start_of_the_update():
    batch = batch_of([2, 2], advantages=[1.0, -1.0], logprobs=LOGPROBS)
    later = replace(batch, logprobs=torch.tensor([-2.0, -0.1, -1.0, -4.0], dtype=torch.float64))
    for sides in ("both", "positive"):
        actuator = DecorrelatedAdvantage(sides=sides)
        assert torch.equal(actuator.advantages(later, 0.1), actuator.advantages(batch, 0.1))


@pytest.mark.parametrize("sides", ["both", "positive"])
def test_what_is_added_has_the_mean_0_and_takes_u_times_the_variance_from_the_covariance(sides):
    generator = torch.Generator().manual_seed(2)
    lengths = [3, 5, 1, 4, 7]
    logprobs = -torch.rand(sum(lengths), dtype=torch.float64, generator=generator) * 3
    batch = batch_of(lengths, advantages=[1.2, -0.4, 0.3, -0.4, 0.7], logprobs=logprobs.tolist())
    shaped = DecorrelatedAdvantage(sides=sides).advantages(batch, 0.3)
    own = batch.advantages > 0 if sides == "positive" else torch.ones_like(shaped, dtype=torch.bool)
    moved, x = (shaped - batch.advantages)[own], batch.logprobs[own]
    assert moved.mean().item() == pytest.approx(0.0, abs=1e-12)
    covariance = ((x - x.mean()) * moved).mean()
    assert covariance.item() == pytest.approx(-0.3 * x.var(correction=0).item())
    assert torch.equal(shaped[~own], batch.advantages[~own])


def test_without_a_rewarded_token_there_is_nothing_to_centre():
    batch = batch_of([2], advantages=[-1.0], logprobs=[-1.0, -2.0])
    assert torch.equal(DecorrelatedAdvantage(sides="positive").advantages(batch, 0.5), batch.advantages)


# Selected bonus ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sides", "signs"),
    [
        ("both", [1.0, 1.0, 1.0]),
        ("positive", [1.0, 0.0, 0.0]),
        ("negative", [0.0, 1.0, 0.0]),
        ("signed", [1.0, -1.0, 0.0]),
    ],
)
def test_selected_bonus_by_the_sign_of_the_advantage(sides, signs):
    batch = batch_of([2, 1, 1], advantages=[1.5, -0.5, 0.0])
    filtered = torch.tensor([0.2, 0.6, 0.3, 0.1], dtype=torch.float64)
    object.__setattr__(batch, "filtered_entropy", filtered)
    actuator = SelectedBonus(share=0.5, sides=sides)
    plan = actuator.plan(batch, 0.1)
    # one token of each response is selected, the second of the first; three responses
    assert plan["weights"].tolist() == pytest.approx([0.0, *[sign / 3 for sign in signs]])
    loss = actuator.loss(batch, plan, 0.1).sum().item()
    expected = -0.1 / 3 * sum(s * h for s, h in zip(signs, [0.6, 0.3, 0.1], strict=True))
    assert loss == pytest.approx(expected)


# Directions -------------------------------------------------------------------------------------------


def entropy_after_a_step(actuator, u: float, rare_is_right: bool) -> float:
    """Entropy of softmaxes after one exact policy-gradient step on groups of four, one state a prompt.

    Each prompt has a likely response and three rare ones; all four are a group, weighed by their probability.
    """
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0], [1.0, 0.0, -0.5, 0.0]], dtype=torch.float64).requires_grad_()
    logprobs = torch.log_softmax(logits, dim=1)
    right = [[0, 1, 0, 0], [0, 0, 1, 0]] if rare_is_right else [[1, 0, 0, 0], [1, 0, 0, 0]]
    group = torch.arange(2).repeat_interleave(4)
    rewards = torch.tensor(right, dtype=torch.float64).flatten()
    batch = batch_of(
        [1] * 8,
        rewards=rewards.tolist(),
        group=group.tolist(),
        advantages=grpo(rewards, group).tolist(),
        logprobs=logprobs.flatten().tolist(),
    )
    actuation = Actuation.of([actuator], {actuator.kind: u})
    batch = actuation.shape(batch, grpo)
    weights = actuation.weights(batch, torch.Generator())
    factor = 1.0 if weights is None else weights
    loss = -(logprobs.detach().exp().flatten() * factor * batch.advantages * logprobs.flatten()).sum()
    (slope,) = torch.autograd.grad(loss, logits)
    after = torch.log_softmax(logits.detach() - 0.01 * slope, dim=1)
    return -(after.exp() * after).sum().item()


@pytest.mark.parametrize(
    ("actuator", "commands"),
    [
        (MeanExponent(), (-1.0, 0.0, 1.0)),
        (NegativeWeight(), (-1.0, 0.0, 1.0)),
        (DecorrelatedAdvantage(), (-0.5, 0.0, 0.5)),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_more_of_the_command_raises_entropy_where_the_rare_response_is_right(actuator, commands):
    entropies = [entropy_after_a_step(actuator, u, rare_is_right=True) for u in commands]
    assert entropies == sorted(set(entropies))


@pytest.mark.parametrize("right", [0, 1])
def test_wrong_responses_alone_leave_more_entropy_than_right_ones_alone(right):
    """On a batch as it is drawn: the likely response three times, a rare one once.

    In expectation both sides have one gradient, as they differ by the baseline 1; a batch of few differs.
    """
    sampled = torch.tensor([0, 0, 0, 1])
    batch = rewarded(grpo, (sampled == right).long(), torch.zeros(4, dtype=torch.int64))
    entropies = []
    for u in (-1.0, 1.0):
        logits = torch.tensor([2.0, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
        loss = -(OneSided().advantages(batch, u) * torch.log_softmax(logits, dim=0)[sampled]).sum()
        (slope,) = torch.autograd.grad(loss, logits)
        after = torch.log_softmax(logits.detach() - 0.01 * slope, dim=0)
        entropies.append(-(after.exp() * after).sum().item())
    assert entropies[0] < entropies[1] - 1e-4


def test_best_of_and_decorrelation_keep_entropy_where_the_likely_response_is_right():
    for actuator, low, high in ((BestOf(), 1.0, 2.0), (DecorrelatedAdvantage(sides="positive"), 0.0, 0.5)):
        before = entropy_after_a_step(actuator, low, rare_is_right=False)
        assert entropy_after_a_step(actuator, high, rare_is_right=False) > before


@pytest.mark.parametrize(
    ("part", "settings", "message"),
    [
        (BestOf, {"scale": "std"}, "scale must be 'deviation' or 'leave_one_out', got 'std'"),
        (DecorrelatedAdvantage, {"sides": "negative"}, "sides must be 'positive' or 'both', got 'negative'"),
        (
            SelectedBonus,
            {"sides": "left"},
            "sides must be one of both, positive, negative, signed, got 'left'",
        ),
    ],
)
def test_settings_are_guarded(part, settings, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        part(**settings)
