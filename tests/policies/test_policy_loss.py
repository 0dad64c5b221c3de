"""The loss of a micro-batch: what each share is, and that an actuator at neutral is not there at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from policies.actuators import ACTUATORS
from policies.actuators.bonus import Bonus
from policies.actuators.clip_range import ClipRange
from policies.actuators.sign_weights import SignWeights
from policies.actuators.temperature import Temperature
from policies.objectives import ClippedSurrogate, PolicyGradient
from policies.policy_loss import Actuation, policy_loss
from policies.statistics.batch import TokenBatch, domain_code


@pytest.fixture
def batch():
    """Two responses to one prompt: tokens 0 and 1 of the right one, token 2 of the wrong one."""
    logprobs = torch.tensor([0.5, 0.98, 0.25]).log()
    return TokenBatch(
        response=torch.tensor([0, 0, 1]),
        position=torch.tensor([0, 1, 0]),
        logprobs=logprobs.requires_grad_(),
        old_logprobs=torch.tensor([0.4, 0.98, 0.5]).log(),
        entropy=torch.tensor([0.7, 0.1, 1.2], requires_grad=True),
        advantages=torch.tensor([1.0, 1.0, -2.0]),
        weights=torch.tensor([0.25, 0.25, 0.5]),
        rewards=torch.tensor([1.0, 0.0]),
        group=torch.tensor([0, 0]),
        domain=torch.tensor([domain_code("add2"), domain_code("sub2")]),
    )


def loss_of(batch, objective, actuators=(), commands=None, factors=None, domains=None):
    actuation = Actuation.of(actuators, commands or {}, domains)
    return policy_loss(batch, objective, actuation, actuation.plans(batch), factors)


def test_objective_alone_by_hand(batch):
    loss, shares, _ = loss_of(batch, PolicyGradient())
    # -Σ w A ln π = -(0.25 ln 0.5 + 0.25 ln 0.98 + 0.5 · -2 · ln 0.25)
    expected = -(0.25 * -0.693147 + 0.25 * -0.0202027 - 1.0 * -1.386294)
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    assert list(shares) == ["objective"]


def test_bonus_rewards_entropy(batch):
    loss, shares, _ = loss_of(batch, PolicyGradient(), [Bonus()], {"bonus": 0.1})
    # -0.1 · (0.25 · 0.7 + 0.25 · 0.1 + 0.5 · 1.2) = -0.08
    assert shares["bonus"].item() == pytest.approx(-0.08, abs=1e-6)
    assert loss.item() == pytest.approx((shares["objective"] + shares["bonus"]).item())
    loss.backward()
    assert batch.entropy.grad.tolist() == pytest.approx([-0.025, -0.025, -0.05])


def test_several_actuators_each_with_its_own_command_and_plan(batch):
    both = [SignWeights(denominator="all"), Bonus()]
    loss, shares, _ = loss_of(batch, PolicyGradient(), both, {"bonus": 0.1, "sign_weights": 0.5})
    assert list(shares) == ["objective", "sign_weights", "bonus"]
    assert shares["bonus"].item() == pytest.approx(-0.08, abs=1e-6)
    # u w r |A| on the one likely token: 0.5 · 0.25 · 1 · 1
    assert shares["sign_weights"].item() == pytest.approx(0.125, abs=1e-6)
    assert loss.item() == pytest.approx(sum(share.item() for share in shares.values()))


def test_factors_weigh_the_objective_and_not_the_actuators(batch):
    factors = torch.tensor([0.0, 0.0, 2.0])
    _, shares, _ = loss_of(batch, PolicyGradient(), [Bonus()], {"bonus": 0.1}, factors)
    assert shares["objective"].item() == pytest.approx(2.0 * 0.5 * 2.0 * -1.386294, abs=1e-5)
    assert shares["bonus"].item() == pytest.approx(-0.08, abs=1e-6)


def test_bounds_moved_by_an_actuator_reach_the_objective(batch):
    _, shares, metrics = loss_of(batch, ClippedSurrogate())
    # ratios 1.25, 1, 0.5 clipped to 1.2, 1, 0.8 where that is worse: -0.25·1.2 - 0.25·1 + 0.5·2·0.8
    assert shares["objective"].item() == pytest.approx(0.25, abs=1e-6)
    assert metrics["clip_fraction/high"].tolist() == [1.0, 0.0, 0.0]
    _, shares, metrics = loss_of(batch, ClippedSurrogate(), [ClipRange()], {"clip_range": 0.08})
    assert shares["objective"].item() == pytest.approx(-0.25 * 1.25 - 0.25 + 0.8, abs=1e-6)
    assert metrics["clip_fraction/high"].tolist() == [0.0, 0.0, 0.0]
    assert list(shares) == ["objective"]  # it moves the objective and adds nothing


@pytest.mark.parametrize("kind", sorted(ACTUATORS))
@pytest.mark.parametrize("said", [True, False], ids=["commanded", "no command yet"])
def test_neutral_is_the_same_as_absent(batch, kind, said):
    actuator = ACTUATORS[kind]()
    commands = {kind: actuator.command.neutral} if said else {}
    assert not Actuation.of([actuator], commands).active
    assert torch.equal(
        loss_of(batch, ClippedSurrogate(), [actuator], commands)[0], loss_of(batch, ClippedSurrogate())[0]
    )


@pytest.mark.parametrize("kind", sorted(ACTUATORS))
def test_next_to_neutral_is_not_absent(kind):
    actuator = ACTUATORS[kind]()
    beside = actuator.command.neutral + 1e-9
    assert Actuation.of([actuator], {kind: beside}).active == [(actuator, beside, None)]


def test_temperature_moves_sampling_and_nothing_else(batch):
    actuation = Actuation.of([Temperature(), Bonus()], {"temperature": 1.5})
    assert actuation.temperature(0.8) == pytest.approx(1.2)
    assert Actuation.of([Bonus()], {"bonus": 0.1}).temperature(0.8) == 0.8
    assert not actuation.looks_at_minibatch
    assert actuation.bounds(ClippedSurrogate()) == (0.2, 0.2)
    assert actuation.bounds(PolicyGradient()) is None


def test_entropy_gradient_is_asked_for_only_while_it_is_used():
    assert Actuation.of([Bonus()], {"bonus": -0.1}).needs_entropy_gradient
    assert not Actuation.of([Bonus()], {"bonus": 0.0}).needs_entropy_gradient
    assert not Actuation.of([SignWeights()], {"sign_weights": 0.1}).needs_entropy_gradient


def test_shape_without_an_actuator_gives_the_batch_as_it_is(batch):
    def never(*_):
        raise AssertionError("advantages are made again only where rewards were moved")

    assert Actuation.of([Bonus()], {"bonus": 0.1}).shape(batch, never) is batch


def test_micro_batches_add_up_to_the_minibatch(batch):
    whole, _, _ = loss_of(batch, PolicyGradient(), [Bonus()], {"bonus": 0.1})
    actuation = Actuation.of([Bonus()], {"bonus": 0.1})
    plans, total = actuation.plans(batch), 0.0
    for row in range(2):
        tokens, index = batch.select(torch.tensor([row]))
        cut = [{name: values[index] for name, values in plan.items()} for plan in plans]
        total += policy_loss(tokens, PolicyGradient(), actuation, cut)[0].item()
    assert total == pytest.approx(whole.item(), abs=1e-6)


def test_a_batch_without_tokens_has_no_loss(batch):
    zeros = torch.zeros(3, dtype=torch.int64)
    empty, _ = replace(batch, rewards=torch.zeros(3), group=zeros, domain=zeros).select(torch.tensor([2]))
    loss, _, metrics = loss_of(empty, ClippedSurrogate(), [Bonus()], {"bonus": 0.1})
    assert loss.item() == 0.0
    assert all(len(values) == 0 for values in metrics.values())


# Domains ----------------------------------------------------------------------------------------------


def test_bonus_of_a_domain_by_hand(batch):
    loss, shares, _ = loss_of(batch, PolicyGradient(), [Bonus()], {"bonus@add2": 0.1}, domains=["add2"])
    # -0.1 · (0.25 · 0.7 + 0.25 · 0.1) = -0.02: the weights stay those of all tokens
    assert shares["bonus@add2"].item() == pytest.approx(-0.02, abs=1e-6)
    loss.backward()
    assert batch.entropy.grad.tolist() == pytest.approx([-0.025, -0.025, 0.0])


def test_two_domains_each_with_its_own_command(batch):
    commands = {"bonus@add2": 0.1, "bonus@sub2": -0.2}
    loss, shares, _ = loss_of(batch, PolicyGradient(), [Bonus()] * 2, commands, domains=["add2", "sub2"])
    assert list(shares) == ["objective", "bonus@add2", "bonus@sub2"]
    assert shares["bonus@sub2"].item() == pytest.approx(0.2 * 0.5 * 1.2, abs=1e-6)
    loss.backward()
    assert batch.entropy.grad.tolist() == pytest.approx([-0.025, -0.025, 0.1])


def test_a_denominator_of_the_method_is_the_domain_s_own(batch):
    """Selected are token 1 of add2 and token 2 of sub2; each domain divides by its own."""
    actuator = SignWeights(probability_threshold=0.2)
    commands = {"sign_weights@sub2": 0.5}
    _, shares, _ = loss_of(batch, PolicyGradient(), [actuator], commands, domains=["sub2"])
    # u · w · (Σ w / Σ selected w of the domain = 1) · r · |A| = 0.5 · 0.5 · 1 · 0.5 · 2
    assert shares["sign_weights@sub2"].item() == pytest.approx(0.25, abs=1e-6)
    batch = replace(batch, logprobs=torch.tensor([0.1, 0.98, 0.25]).log())  # token 0 is unlikely now
    commands = {"sign_weights@add2": 0.5}
    _, shares, _ = loss_of(batch, PolicyGradient(), [actuator], commands, domains=["add2"])
    # 0.5 · 0.25 · (0.5 / 0.25) · 1 · 1; over both domains it would be (1 / 0.75) times
    assert shares["sign_weights@add2"].item() == pytest.approx(0.25, abs=1e-6)


def test_a_domain_that_is_not_in_the_batch_adds_nothing(batch):
    loss, shares, _ = loss_of(batch, PolicyGradient(), [Bonus()], {"bonus@mul2": 0.1}, domains=["mul2"])
    assert shares["bonus@mul2"].item() == 0.0
    assert torch.equal(loss, loss_of(batch, PolicyGradient())[0])


def test_a_command_reaches_only_the_actuator_of_its_name(batch):
    assert Actuation.of([Bonus()], {"bonus": 0.1}, ["add2"]).active == []
    assert Actuation.of([Bonus()], {"bonus@add2": 0.1}).active == []
    assert Actuation.of([Bonus()], {"bonus@add2": 0.0}, ["add2"]).active == []
