"""KL to a reference policy in the loss and in the reward, by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from policies.actuators.kl_coefficient import KlCoefficient
from policies.actuators.kl_reward import KlReward
from policies.advantages import dr_grpo
from policies.policy_loss import Actuation
from policies.statistics.batch import TokenBatch

HALF, QUARTER = log(0.5), log(0.25)


@pytest.fixture
def batch():
    """Two responses to one prompt, of two tokens and of one."""
    return TokenBatch(
        response=torch.tensor([0, 0, 1]),
        position=torch.tensor([0, 1, 0]),
        logprobs=torch.tensor([HALF, HALF, QUARTER]),
        old_logprobs=torch.tensor([HALF, HALF, QUARTER]),
        entropy=torch.ones(3),
        advantages=torch.zeros(3),
        weights=torch.tensor([0.25, 0.25, 0.5]),
        rewards=torch.tensor([1.0, 0.0]),
        group=torch.tensor([0, 0]),
        reference_logprobs=torch.tensor([QUARTER, HALF, HALF]),
    )


@pytest.mark.parametrize(
    ("estimator", "first", "last"),
    # d = -ln 2, 0 and ln 2: k3 is 1/2 - 1 + ln 2, 0 and 2 - 1 - ln 2
    [("k3", log(2) - 0.5, 1 - log(2)), ("k2", log(2) ** 2 / 2, log(2) ** 2 / 2)],
)
def test_the_term_of_a_token_in_the_loss(batch, estimator, first, last):
    actuator = KlCoefficient(estimator=estimator)
    term = actuator.loss(batch, actuator.plan(batch, 0.1), 0.1)
    assert term.tolist() == pytest.approx([0.1 * 0.25 * first, 0.0, 0.1 * 0.5 * last])


def test_descent_moves_towards_the_reference(batch):
    logprobs = batch.logprobs.clone().requires_grad_()
    tokens = TokenBatch(
        **{name: getattr(batch, name) for name in batch.__slots__ if name != "logprobs"}, logprobs=logprobs
    )
    actuator = KlCoefficient()
    actuator.loss(tokens, actuator.plan(tokens, 1.0), 1.0).sum().backward()
    # w (1 - π_ref / π): 0.25 · (1 - 1/2) down, none, 0.5 · (1 - 2) up
    assert logprobs.grad.tolist() == pytest.approx([0.125, 0.0, -0.5])


def test_what_a_response_loses_of_its_reward(batch):
    # k1 sums log π - log π_ref over a response: ln 2 + 0, and -ln 2
    assert KlReward().rewards(batch, 0.1).tolist() == pytest.approx([1 - 0.1 * log(2), 0.1 * log(2)])
    k3 = KlReward(estimator="k3").rewards(batch, 0.1)
    assert k3.tolist() == pytest.approx([1 - 0.1 * (log(2) - 0.5), -0.1 * (1 - log(2))])


def test_advantages_are_made_from_the_reduced_rewards(batch):
    shaped = Actuation.of([KlReward()], {"kl_reward": 0.1}).shape(batch, dr_grpo)
    best = 0.5 - 0.1 * log(2)  # half the difference of the two rewards
    assert shaped.advantages.tolist() == pytest.approx([best, best, -best])
    assert shaped.rewards.tolist() == [1.0, 0.0]  # as graded


def test_k1_is_refused_in_a_loss():
    with pytest.raises(ValueError, match="estimator must be k2 or k3, got 'k1', whose gradient has mean 0"):
        KlCoefficient(estimator="k1")


@pytest.mark.parametrize("actuator", [KlCoefficient, KlReward])
def test_an_estimator_that_there_is_not(actuator):
    with pytest.raises(ValueError, match="estimator must be one of k1, k2, k3, got 'k4'"):
        actuator(estimator="k4")
