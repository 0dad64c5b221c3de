"""Coverage: the slopes of pass@G and pass@1 by hand, and against differences of enumerated policies."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.statistics.batch import TokenBatch
from policies.statistics.coverage import alone_weights, mean_weights
from policies.statistics.sensors import measure, signal

G = 3
LOGITS = np.array([[0.3, -0.9, 0.1], [1.2, 0.0, -0.5], [-0.4, 0.6, 0.2], [0.9, -0.2, -1.1]])
"""Logits of a policy over three tokens: at the first token, then after each of the three."""
RIGHT_OR_WRONG = np.array([0, 0, 1, 0, 0, 0, 0, 1, 0], dtype=float)
GRADED = np.array([0.1, 0.0, 0.9, 0.3, 0.3, 0.7, 0.2, 1.0, 0.4])


def distributions(temperature: float) -> np.ndarray:
    """[4, 3] of the policy that is sampled from at a temperature."""
    weights = np.exp(LOGITS / temperature)
    return weights / weights.sum(axis=1, keepdims=True)


def probabilities(temperature: float) -> np.ndarray:
    """[9] of the responses of two tokens, first token first."""
    p = distributions(temperature)
    return np.array([p[0, a] * p[1 + a, b] for a, b in itertools.product(range(3), repeat=2)])


def batch_of(groups, rewards, temperature: float = 1.0) -> TokenBatch:
    """Groups of responses, each a number from 0 to 8, as the policy at that temperature scores them."""
    p = distributions(temperature)
    H = -(p * np.log(p)).sum(axis=1)
    responses = np.array(groups).ravel()
    first, second = responses // 3, responses % 3
    logprobs = np.stack([np.log(p[0, first]), np.log(p[1 + first, second])], axis=1).ravel()
    entropy = np.stack([np.full(len(first), H[0]), H[1 + first]], axis=1).ravel()
    logprobs = torch.tensor(logprobs)
    return TokenBatch(
        response=torch.arange(len(responses)).repeat_interleave(2),
        position=torch.tensor([0, 1]).repeat(len(responses)),
        logprobs=logprobs,
        old_logprobs=logprobs,
        entropy=torch.tensor(entropy),
        advantages=torch.zeros_like(logprobs),
        weights=torch.zeros_like(logprobs),
        rewards=torch.tensor(np.asarray(rewards)[responses]),
        group=torch.arange(len(groups)).repeat_interleave(len(groups[0])),
    )


def expectation_over_groups(rewards, temperature: float) -> tuple[float, float]:
    """Expected best and mean reward of G responses, over all 9³ groups."""
    p = probabilities(temperature)
    best = mean = 0.0
    for group in itertools.product(range(9), repeat=G):
        chance = np.prod(p[list(group)])
        best += chance * max(rewards[i] for i in group)
        mean += chance * rewards[list(group)].mean()
    return best, mean


@pytest.mark.parametrize("rewards", [RIGHT_OR_WRONG, GRADED], ids=["0 or 1", "graded"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_psi_is_the_slope_of_pass_at_g_in_the_temperature_and_psi_at_1_that_of_the_mean(rewards, temperature):
    """Every group measured alone and weighed by its chance, against differences of the enumerated policy."""
    p = probabilities(temperature)
    psi = psi_at_1 = 0.0
    for group in itertools.product(range(9), repeat=G):
        measured = measure(batch_of([group], rewards, temperature), vocabulary_size=3)
        chance = np.prod(p[list(group)])
        psi += chance * measured["coverage/psi"]
        psi_at_1 += chance * measured["coverage/psi_at_1"]
    h = 1e-4
    above, below = (expectation_over_groups(rewards, temperature * (1 + sign * h)) for sign in (1, -1))
    best, mean = ((up - down) / (2 * h) for up, down in zip(above, below, strict=True))
    assert psi == pytest.approx(best, rel=1e-6)
    assert psi_at_1 == pytest.approx(mean, rel=1e-6)
    assert abs(best - mean) > 0.02  # not the same thing


def test_reward_per_nat_is_the_slope_over_the_variance_of_the_score():
    """Over the chances of single responses, the variance of s is the sum of the tokens' variances of log π."""
    p = distributions(1.0)
    varentropy = (p * np.log(p) ** 2).sum(axis=1) - (p * np.log(p)).sum(axis=1) ** 2
    expected = varentropy[0] + (p[0] * varentropy[1:]).sum()
    many = np.random.default_rng(0).choice(9, size=(20_000, G), p=probabilities(1.0))
    measured = measure(batch_of(many, RIGHT_OR_WRONG), vocabulary_size=3)
    assert measured["coverage/psi"] / measured["coverage/reward_per_nat"] == pytest.approx(expected, rel=0.02)


def test_the_error_is_that_of_the_mean_over_groups():
    """The readings of 200 batches scatter as each says, and around the truth."""
    rng = np.random.default_rng(1)
    draws = [rng.choice(9, size=(50, G), p=probabilities(1.0)) for _ in range(200)]
    seen = [measure(batch_of(draw, RIGHT_OR_WRONG), vocabulary_size=3) for draw in draws]
    for name in ("coverage/psi", "coverage/psi_at_1"):
        values = np.array([each[name] for each in seen])
        errors = np.array([each[f"{name}_error"] for each in seen])
        assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.15)
    # two groups by hand: their ψ are 4 and 1, so the mean is 2.5 and its error |4 − 1| / 2
    batch = by_hand([[1.0, 0.0], [0.0, 1.0]], scores=[4.0, 7.0, 5.0, 1.0])
    measured = measure(batch, vocabulary_size=10**9)
    assert (measured["coverage/psi"], measured["coverage/psi_error"]) == (2.5, 1.5)


def by_hand(rewards, scores, entropy: float = 0.0) -> TokenBatch:
    """Responses of one token whose surprisal is its score over the entropy; a list of rewards a group."""
    logprobs = -torch.tensor(scores, dtype=torch.float64) - entropy
    N = len(scores)
    return TokenBatch(
        response=torch.arange(N),
        position=torch.zeros(N, dtype=torch.int64),
        logprobs=logprobs,
        old_logprobs=logprobs,
        entropy=torch.full((N,), entropy, dtype=torch.float64),
        advantages=torch.zeros(N, dtype=torch.float64),
        weights=torch.zeros(N, dtype=torch.float64),
        rewards=torch.tensor([each for group in rewards for each in group], dtype=torch.float64),
        group=torch.repeat_interleave(torch.tensor([len(group) for group in rewards])),
    )


@pytest.mark.parametrize(
    ("rewards", "alone", "mean"),
    [
        ([0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [-1 / 6, -1 / 6, 1 / 3]),
        ([1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1 / 6, -1 / 3, 1 / 6]),  # either could go
        ([0.2, 0.5, 0.9], [0.0, 0.0, 0.4], [-0.5 / 3, -0.05 / 3, 0.55 / 3]),  # the best falls from 0.9 to 0.5
        ([-1.0, -3.0, -2.0], [1.0, 0.0, 0.0], [1.5 / 3, -1.5 / 3, 0.0]),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    ],
)
def test_weights_by_hand(rewards, alone, mean):
    rewards, group = torch.tensor(rewards, dtype=torch.float64), torch.tensor([7, 7, 7])
    assert alone_weights(rewards, group).tolist() == pytest.approx(alone)
    assert mean_weights(rewards, group).tolist() == pytest.approx(mean)


def test_a_group_of_one_teaches_nothing_and_alone_there_is_nothing_to_read():
    """ψ of the group of two: (1 − 0) · 2; the third response has none beside it."""
    measured = measure(by_hand([[1.0, 0.0], [1.0]], scores=[2.0, 1.0, 9.0]), vocabulary_size=10**9)
    assert measured["coverage/psi"] == 2.0
    assert measured["coverage/psi_at_1"] == pytest.approx(0.5 * 2.0 - 0.5 * 1.0)
    assert measured["coverage/reward_per_nat"] == pytest.approx(2.0 / 2.5)  # (2² + 1²) / 2
    lonely = measure(by_hand([[1.0], [0.0]], scores=[2.0, 1.0]), vocabulary_size=10**9)
    assert all(math.isnan(value) for name, value in lonely.items() if name.startswith("coverage/"))


def test_a_reward_that_is_not_finite_is_data():
    batch = by_hand([[math.nan, 0.0], [1.0, 0.0]], scores=[2.0, 1.0, 1.0, 1.0])
    measured = measure(batch, vocabulary_size=10**9)
    assert math.isnan(measured["coverage/psi"])
    assert math.isnan(measured["coverage/psi_at_1"])


def test_only_surprisal_above_entropy_counts():
    plain = measure(by_hand([[1.0, 0.0]], scores=[2.0, 1.0]), vocabulary_size=10**9)
    deeper = measure(by_hand([[1.0, 0.0]], scores=[2.0, 1.0], entropy=3.0), vocabulary_size=10**9)
    for name in ("coverage/psi", "coverage/psi_at_1", "coverage/reward_per_nat"):
        assert plain[name] == deeper[name]


def test_a_domain_has_the_slopes_of_its_own_groups():
    rewards, scores = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [4.0, 7.0, 5.0, 1.0, 2.0, 3.0]
    names = ["a", "a", "b", "b", "c", "c"]
    measured = measure(by_hand(rewards, scores), vocabulary_size=10**9, domains=names)
    assert [measured[f"coverage/domain/{name}/psi"] for name in "abc"] == [4.0, 1.0, 0.0]
    # B = ±1/2: (4 − 7) / 2, (1 − 5) / 2, and nothing where both are right
    assert [measured[f"coverage/domain/{name}/psi_at_1"] for name in "abc"] == [-1.5, -2.0, 0.0]
    assert measured["coverage/psi"] == pytest.approx(5 / 3)
    assert signal("coverage/domain/a/psi").unit == signal("coverage/psi").unit


def test_an_episode_counts_as_one_response_whatever_its_turns():
    batch = batch_of([[0, 2, 7], [3, 4, 7]], GRADED)
    turns = replace(batch, turn=torch.tensor([1, 2] * 6))
    plain, episodes = measure(batch, vocabulary_size=3), measure(turns, vocabulary_size=3)
    assert plain["coverage/psi"] != 0
    assert all(episodes[name] == value for name, value in plain.items() if name.startswith("coverage/"))


def test_the_order_of_responses_does_not_matter():
    rng = np.random.default_rng(2)
    batch = batch_of(rng.choice(9, size=(6, G)), GRADED)
    mixed, _ = batch.select(torch.from_numpy(rng.permutation(18)))
    one, other = measure(batch, vocabulary_size=3), measure(mixed, vocabulary_size=3)
    for name in ("coverage/psi", "coverage/psi_error", "coverage/psi_at_1", "coverage/reward_per_nat"):
        assert other[name] == pytest.approx(one[name], rel=1e-12)
        assert one[name] != 0
