"""The covariance theorem, on random softmax policies, and the reading that is made from it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from policies.statistics.batch import TokenBatch
from policies.statistics.entropy_dynamics import bonus_effect, discriminator, predicted_change
from policies.statistics.sensors import add, measure, readings, sums

STEP = 1e-5
SEEDS = range(20)


def entropy_of(logits: Tensor) -> Tensor:
    return torch.distributions.Categorical(logits=logits).entropy()


def random_policy(seed: int, V: int = 50) -> tuple[Tensor, Tensor]:
    """Logits [V] of some spread, and an advantage of each token [V] that π expects to be 0."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(V, generator=generator, dtype=torch.float64)
    advantage = torch.randn(V, generator=generator, dtype=torch.float64)
    return logits, advantage - (logits.softmax(0) * advantage).sum()


def covariance(p: Tensor, x: Tensor, y: Tensor) -> float:
    return (p * (x - (p * x).sum()) * (y - (p * y).sum())).sum().item()


def change(logits: Tensor, direction: Tensor) -> float:
    """The true change of entropy for a small step along a direction of the logits, over its size."""
    moved = entropy_of(logits + STEP * direction) - entropy_of(logits - STEP * direction)
    return moved.item() / (2 * STEP)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_theorem_in_all_its_forms(seed):
    logits, advantage = random_policy(seed)
    log_p = logits.log_softmax(0)
    p = log_p.exp()
    forms = {"policy gradient": p * advantage, "natural": advantage, "any": advantage.cumsum(0)}
    for name, direction in forms.items():
        predicted = -covariance(p, log_p, direction)
        assert change(logits, direction) == pytest.approx(predicted, rel=1e-5, abs=1e-9), name


@pytest.mark.parametrize("seed", SEEDS)
def test_the_step_of_one_sampled_token(seed):
    """Δz = A (e_a − π): ΔH = −A (S_a − E_π S)."""
    logits, advantage = random_policy(seed)
    log_p = logits.log_softmax(0)
    p = log_p.exp()
    S = discriminator(log_p, entropy_of(logits).expand_as(log_p))
    for a in (0, int(p.argmax()), int(p.argmin())):
        direction = advantage[a] * (torch.eye(len(p), dtype=p.dtype)[a] - p)
        predicted = -advantage[a] * (S[a] - (p * S).sum())
        assert change(logits, direction) == pytest.approx(predicted.item(), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_its_mean_over_the_policy_is_the_theorem(seed):
    logits, advantage = random_policy(seed)
    log_p = logits.log_softmax(0)
    p = log_p.exp()
    S = discriminator(log_p, entropy_of(logits).expand_as(log_p))
    assert (p * S * advantage).sum().item() == pytest.approx(covariance(p, log_p, p * advantage))
    assert (p * advantage).sum().item() == pytest.approx(0.0, abs=1e-12)


def test_discriminator_by_hand():
    # π = 1/2 in a state of ln 2: ln ½ + ln 2 = 0.  π = 0.9 and H = 0.5: 0.9 (−0.105361 + 0.5) = 0.355175
    # π = 0.01 and H = 0.5: 0.01 (−4.605170 + 0.5) = −0.041052
    logprobs = torch.tensor([0.5, 0.9, 0.01]).log()
    S = discriminator(logprobs, torch.tensor([math.log(2), 0.5, 0.5]))
    torch.testing.assert_close(S, torch.tensor([0.0, 0.355175, -0.041052]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_bonus_effect_is_what_the_gradient_of_entropy_does(seed):
    """Its mean over the policy, against autograd: a step along ∂H/∂z changes H by |∂H/∂z|²."""
    logits, _ = random_policy(seed)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(entropy_of(logits), logits)
    logits = logits.detach()
    log_p = logits.log_softmax(0)
    mean = (log_p.exp() * bonus_effect(log_p, entropy_of(logits).expand_as(log_p))).sum().item()
    assert mean == pytest.approx(gradient.square().sum().item())
    assert mean == pytest.approx(change(logits, gradient), rel=1e-5)
    assert mean > 0


def test_bonus_effect_by_hand():
    # as above times ln π + H: 0;  0.355175 (−0.105361 + 0.5) = 0.140166;  −0.041052 (−4.605170 + 0.5) = 0.168524
    logprobs = torch.tensor([0.5, 0.9, 0.01]).log()
    effect = bonus_effect(logprobs, torch.tensor([math.log(2), 0.5, 0.5]))
    torch.testing.assert_close(effect, torch.tensor([0.0, 0.140166, 0.168524]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_the_ratio_of_change_and_effect_cancels_the_drift(seed):
    """A step along PG plus u times ∂H/∂z, of whatever size, leaves entropy where it is."""
    logits, advantage = random_policy(seed)
    log_p = logits.log_softmax(0)
    p, H = log_p.exp(), entropy_of(logits).expand_as(log_p)
    predicted = -covariance(p, log_p, p * advantage)
    u = -predicted / (p * bonus_effect(log_p, H)).sum().item()
    gradient_of_entropy = -discriminator(log_p, H)
    assert abs(change(logits, p * advantage + u * gradient_of_entropy)) < 1e-5 * abs(predicted)


def batch_of(logprobs: Tensor, entropy: Tensor, advantages: Tensor) -> TokenBatch:
    """One token a response."""
    T = len(logprobs)
    return TokenBatch(
        response=torch.arange(T),
        position=torch.zeros(T, dtype=torch.int64),
        logprobs=logprobs,
        old_logprobs=logprobs,
        entropy=entropy,
        advantages=advantages,
        weights=torch.zeros(T),
        rewards=torch.zeros(T),
        group=torch.arange(T),
    )


def reading(batch: TokenBatch) -> float:
    return measure(batch, vocabulary_size=1000)["entropy/predicted_change"]


def test_reading_by_hand():
    # S = 0.355175 and −0.041052 as above, A = 1 and −1: means 0.157061, 0, and of S·A (0.355175 + 0.041052) / 2
    batch = batch_of(torch.tensor([0.9, 0.01]).log(), torch.tensor([0.5, 0.5]), torch.tensor([1.0, -1.0]))
    assert reading(batch) == pytest.approx(-0.198113, abs=1e-6)
    assert predicted_change(0.157061, 0.0, 0.198113) == pytest.approx(-0.198113)


@pytest.mark.parametrize(
    ("probability", "advantage", "sign"),
    [(0.9, 1.0, -1), (0.01, 1.0, 1), (0.9, -1.0, 1), (0.01, -1.0, -1)],
    ids=["reward the likely", "reward the unlikely", "penalise the likely", "penalise the unlikely"],
)
def test_sign_of_the_reading(probability, advantage, sign):
    """Beside a token of no consequence, whose S and A are 0."""
    logprobs = torch.tensor([probability, math.exp(-0.5)]).log()
    batch = batch_of(logprobs, torch.tensor([0.5, 0.5]), torch.tensor([advantage, 0.0]))
    assert math.copysign(1, reading(batch)) == sign


def test_reading_of_a_large_sample_is_the_policys_own_slope():
    """200 000 tokens from one state: the reading tells the change of entropy by a step along the PG direction."""
    logits, advantage = random_policy(3)
    log_p = logits.log_softmax(0)
    tokens = torch.multinomial(
        log_p.exp(), 200_000, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    entropy = entropy_of(logits).expand(len(tokens))
    batch = batch_of(log_p[tokens].float(), entropy.float(), advantage[tokens].float())
    expected = change(logits, log_p.exp() * advantage)
    assert reading(batch) == pytest.approx(expected, rel=0.05)
    assert abs(expected) > 1e-3


def test_effect_of_a_large_sample_is_the_policys_own():
    logits, advantage = random_policy(3)
    log_p = logits.log_softmax(0)
    tokens = torch.multinomial(
        log_p.exp(), 200_000, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    entropy = entropy_of(logits).expand(len(tokens))
    batch = batch_of(log_p[tokens].float(), entropy.float(), advantage[tokens].float())
    gradient_of_entropy = -discriminator(log_p, entropy_of(logits).expand_as(log_p))
    measured = measure(batch, vocabulary_size=1000)["entropy/bonus_effect"]
    assert measured == pytest.approx(change(logits, gradient_of_entropy), rel=0.02)


def test_a_constant_shift_of_all_advantages_predicts_nothing_new():
    logits, advantage = random_policy(4)
    log_p = logits.log_softmax(0).float()
    entropy = entropy_of(logits).float().expand(50)
    one, other = (batch_of(log_p, entropy, (advantage + shift).float()) for shift in (0.0, 5.0))
    assert reading(other) == pytest.approx(reading(one), abs=1e-6)


def test_ranks_add_up():
    logits, advantage = random_policy(5)
    log_p = logits.log_softmax(0).float()
    batch = batch_of(log_p, entropy_of(logits).float().expand(50), advantage.float())
    halves = [sums(batch.select(rows)[0]) for rows in torch.arange(50).split(20)]
    whole = measure(batch, vocabulary_size=1000)
    for name in ("entropy/predicted_change", "entropy/bonus_effect"):
        assert readings(add(halves))[name] == pytest.approx(whole[name], abs=1e-12)
