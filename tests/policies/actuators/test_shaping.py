"""Actuators that shape rewards, advantages and logits before the update, by hand and against dense forms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from policies.actuators.entropy_advantage import EntropyAdvantage
from policies.actuators.logit_activation import LogitActivation
from policies.actuators.unlikeliness import Unlikeliness
from policies.advantages import grpo
from policies.objectives import ClippedSurrogate, token_weights
from policies.policy_loss import Actuation, policy_loss
from policies.statistics.batch import TokenBatch
from policies.statistics.token_statistics import token_statistics

LOG = math.log


def batch_of(lengths, *, entropy=None, logprobs=None, advantages=None, rewards=None, group=None):
    """A batch from lists: advantages and rewards a value a response."""
    N, response = len(lengths), torch.repeat_interleave(torch.tensor(lengths))

    def values(given, count):
        return (
            torch.zeros(count, dtype=torch.float64)
            if given is None
            else torch.tensor(given, dtype=torch.float64)
        )

    T = len(response)
    return TokenBatch(
        response=response,
        position=torch.cat([torch.arange(n) for n in lengths]),
        logprobs=values(logprobs, T),
        old_logprobs=values(logprobs, T),
        entropy=values(entropy, T),
        advantages=values(advantages, N)[response],
        weights=token_weights(response, N, "token_mean").double(),
        rewards=values(rewards, N),
        group=torch.tensor([0] * N if group is None else group),
    )


# Logit activation -------------------------------------------------------------------------------------

FIVE = [0.1, 0.5, 0.2, 0.1, 0.1]
TEN = [4.0, 2.4, *[0.0] * 8]


def test_logit_activation_by_hand():
    # 20 % of five tokens is one, 0.5; of ten it is two, (4 + 2.4) / 2 = 3.2; of one it is that one
    batch = batch_of(
        [5, 10, 1, 0, 5, 10, 1],
        entropy=[*FIVE, *TEN, 1.0, *FIVE, *TEN, 0.3],
        advantages=[1.0, 1.0, 1.0, 1.0, -1.0, -1.0, 0.0],
    )
    actuator = LogitActivation(low_nats=0.6, high_nats=3.0)
    scale = actuator.scale(batch, 2.0)
    # low: k; above the band: 1/k; in the band: 1; no token; A < 0 twice and A = 0: 1
    assert scale.tolist() == [2.0] * 5 + [0.5] * 10 + [1.0] * 17
    shaped = Actuation.of([actuator], {"logit_activation": 2.0}).shape(batch, grpo)
    assert shaped.advantages.tolist() == [0.5] * 5 + [2.0] * 10 + [1.0] + [-1.0] * 15 + [0.0]
    assert torch.equal(shaped.scale, scale)


def test_the_edges_of_the_band_are_inside_it():
    batch = batch_of([1, 1], entropy=[0.45, 3.0], advantages=[1.0, 1.0])
    assert LogitActivation().scale(batch, 2.0).tolist() == [1.0, 1.0]


def test_a_mean_of_the_band_is_of_the_top_tokens_and_not_of_all():
    batch = batch_of([10], entropy=[1.0, 1.0, *[0.0] * 8], advantages=[1.0])  # mean 0.2, top 1.0
    assert LogitActivation(low_nats=0.45).scale(batch, 2.0).tolist() == [1.0] * 10
    # and is rounded down: two of fourteen, (1 + 0.8) / 2
    batch = batch_of([14], entropy=[1.0, 0.8, *[0.0] * 12], advantages=[1.0])
    assert LogitActivation(low_nats=0.9).scale(batch, 2.0).tolist() == [1.0] * 14
    assert LogitActivation(low_nats=0.9001).scale(batch, 2.0).tolist() == [2.0] * 14


def test_logit_activation_equals_eras_code():
    """nothingbutbut/era: z *= k or z /= k a response, both log-probs through it, A /= k or A *= k; then PPO."""
    generator = torch.Generator().manual_seed(0)
    lengths, V = [4, 7, 1, 0, 12, 6], 7
    sharpness = torch.tensor([20.0, 0.1, 20.0, 1.0, 20.0, 1.0]).double()
    response = torch.repeat_interleave(torch.tensor(lengths))
    logits = torch.randn(len(response), V, dtype=torch.float64, generator=generator)
    logits = (logits * sharpness[response][:, None]).requires_grad_()
    tokens = torch.multinomial(torch.softmax(logits.detach(), dim=1), 1, generator=generator)[:, 0]
    advantages = [1.2, 0.7, -0.4, 1.0, 0.9, 0.5]
    head = torch.eye(V, dtype=torch.float64)

    entropy = token_statistics(logits, head, tokens)[1].detach()
    raw = batch_of(lengths, entropy=entropy.tolist(), advantages=advantages)
    actuator = LogitActivation(low_nats=0.8, high_nats=1.9)
    actuation = Actuation.of([actuator], {"logit_activation": 2.0})
    shaped = actuation.shape(raw, grpo)
    assert sorted(set(shaped.scale.tolist())) == [0.5, 1.0, 2.0]
    logprobs, _ = token_statistics(logits, head, tokens, inverse_temperature=shaped.scale)
    away = torch.randn(len(response), generator=generator).double() / 5
    old = logprobs.detach() + away
    now = replace(shaped, logprobs=logprobs, old_logprobs=old)
    ours, _, _ = policy_loss(now, ClippedSurrogate(), actuation, [])

    total = torch.zeros((), dtype=torch.float64)
    for i, a in enumerate(advantages):
        z = logits[response == i]
        if not len(z):
            continue
        H = torch.distributions.Categorical(logits=z.detach()).entropy()
        spread = H.sort(descending=True).values[: max(1, int(0.2 * len(z)))].mean()
        k = 2.0 if a > 0 and spread < 0.8 else 0.5 if a > 0 and spread > 1.9 else 1.0
        logp = torch.log_softmax(k * z, dim=1).gather(1, tokens[response == i][:, None])[:, 0]
        ratio = torch.exp(logp - old[response == i])
        a = a / k
        total = total + torch.max(-a * ratio, -a * ratio.clip(0.8, 1.2)).sum()
    reference = total / len(response)
    torch.testing.assert_close(ours, reference, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logits), torch.autograd.grad(reference, logits), rtol=1e-6, atol=1e-9
    )


def test_the_push_on_a_likely_token_is_that_of_the_sharpened_policy():
    """∇_z of (A / k) log π'(a) is A (e_a - π'): for π = (0.8, 0.2), k = 2: π' = (0.64, 0.04) / 0.68."""
    logits = torch.tensor([[0.8, 0.2]], dtype=torch.float64).log().requires_grad_()
    for k, push in ((1.0, 0.2), (2.0, 0.04 / 0.68)):
        logp, _ = token_statistics(
            logits, torch.eye(2).double(), torch.tensor([0]), inverse_temperature=torch.full((1,), k)
        )
        (gradient,) = torch.autograd.grad((3.0 / k * logp).sum(), logits)
        assert gradient[0].tolist() == pytest.approx([3.0 * push, -3.0 * push])


def test_a_contradictory_band_is_refused():
    with pytest.raises(ValueError, match=r"high_nats must be above low_nats = 3.0, got 0.45"):
        LogitActivation(low_nats=3.0, high_nats=0.45)
    with pytest.raises(ValueError, match=r"high_nats must be above low_nats = 1.0, got 1.0"):
        LogitActivation(low_nats=1.0, high_nats=1.0)
    with pytest.raises(ValueError, match=r"low_nats must be at least 0, got -0.1"):
        LogitActivation(low_nats=-0.1)


# Entropy advantage ------------------------------------------------------------------------------------


def test_entropy_advantage_by_hand():
    batch = batch_of([2, 2, 1, 1], entropy=[0.5, 5.0, 0.5, 5.0, 2.0, 0.0], advantages=[1.0, -1.0, 0.0, 3.0])
    # min(0.4 · H, |A| / 2): 0.2 and 0.5; the same for A = -1; nothing for A = 0, nothing for H = 0
    assert EntropyAdvantage().advantages(batch, 0.4).tolist() == pytest.approx(
        [1.2, 1.5, -0.8, -0.5, 0.0, 3.0]
    )


@pytest.mark.parametrize("cap", [1.0, 2.0, 5.0])
def test_no_advantage_changes_sign_and_none_goes_down(cap):
    generator = torch.Generator().manual_seed(0)
    batch = batch_of(
        [1] * 200,
        entropy=(4 * torch.rand(200, generator=generator)).tolist(),
        advantages=torch.randn(200, generator=generator).tolist(),
    )
    new = EntropyAdvantage(cap=cap).advantages(batch, 3.0)
    assert (new * batch.advantages >= 0).all()
    assert (new >= batch.advantages).all()


def test_where_the_cap_does_not_bind_it_is_a_baseline():
    """Σ_a π_a · u H · ∇ log π_a = 0: no effect on any policy, in expectation."""
    logits = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pi = torch.distributions.Categorical(logits=logits)
    H = pi.entropy().item()
    advantages = torch.tensor([2.0, -2.0, 1.5, -3.0, 4.0]).double()  # 0.1 · H < |A| / 2 for all of them
    batch = batch_of([1] * 5, entropy=[H] * 5, advantages=advantages.tolist())
    bonus = EntropyAdvantage().advantages(batch, 0.1) - advantages
    expected_gradient = torch.autograd.grad((pi.probs.detach() * bonus * pi.logits).sum(), logits)[0]
    assert bonus.abs().min() > 0.1
    assert expected_gradient.abs().max() < 1e-12


def test_where_the_cap_binds_it_favours_right_over_wrong():
    batch = batch_of([1, 1], entropy=[9.0, 9.0], advantages=[1.0, -1.0])
    assert EntropyAdvantage(cap=2.0).advantages(batch, 10.0).tolist() == [1.5, -0.5]  # 1 ± 1/κ


def test_a_cap_that_would_flip_signs_is_refused():
    with pytest.raises(ValueError, match=r"cap must be at least 1 .* got 0.5"):
        EntropyAdvantage(cap=0.5)


# Unlikeliness -----------------------------------------------------------------------------------------


def test_unlikeliness_by_hand():
    # two groups, interleaved; log π a token: group 0: -1, -3, -0.5, -2; group 1: -1, -0.1
    batch = batch_of(
        [1, 2, 1, 2, 1, 1],
        logprobs=[-1.0, -1.0, -1.0, -3.0, -0.5, -0.5, -0.1, -2.0],
        rewards=[1, 1, 0, 1, 0, 1],
        group=[0, 1, 0, 0, 1, 0],
    )
    batch = replace(batch, rewards=torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0]).double())
    # group 0 holds responses 0, 2, 3, 5 with means -1, -3, -0.5, -2: ranks 2, 0, 3, 1 of 4
    # group 1 holds 1 and 4 with means -1 and -0.1: ranks 0 and 1 of 2
    # score · (1 - 0.25 · rank / G): 1 - 0.125, 1, 0, 1 - 0.1875, 0, 1 - 0.0625
    assert Unlikeliness().rewards(batch, 0.25).tolist() == pytest.approx([0.875, 1, 0, 0.8125, 0, 0.9375])


def test_the_likelihood_of_a_sequence_ranks_by_length_too():
    batch = batch_of([1, 4], logprobs=[-1.0, -0.5, -0.5, -0.5, -0.5], rewards=[1, 1])
    # a token: -1 against -0.5, so the long one is likelier; the sum: -1 against -2
    assert Unlikeliness().rewards(batch, 0.5).tolist() == [1.0, 0.75]
    assert Unlikeliness(likelihood="sequence").rewards(batch, 0.5).tolist() == [0.75, 1.0]


def test_identical_responses_share_their_rank():
    batch = batch_of([1, 1, 1, 1], logprobs=[-1.0, -1.0, -2.0, -1.0], rewards=[1, 1, 1, 0])
    # ranks 0 for -2, and the mean of 1, 2, 3 for the others
    assert Unlikeliness().rewards(batch, 0.4).tolist() == pytest.approx([0.8, 0.8, 1.0, 0.0])


def test_an_empty_response_is_certain():
    batch = batch_of([1, 0], logprobs=[-1.0], rewards=[1, 1])
    assert Unlikeliness().rewards(batch, 1.0).tolist() == [1.0, 0.5]


def test_unlikeliness_equals_its_code():
    """AndreHe02/rewarding-unlikely-release: argsort of argsort of the mean log-prob, over the group."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 9, (24,), generator=generator)
    logprobs = -3 * torch.rand(int(lengths.sum()), dtype=torch.float64, generator=generator)
    rewards, group = torch.randint(2, (24,), generator=generator), torch.arange(24) % 3
    batch = batch_of(
        lengths.tolist(), logprobs=logprobs.tolist(), rewards=rewards.tolist(), group=group.tolist()
    )
    means = torch.stack([part.mean() for part in logprobs.split(lengths.tolist())])
    expected = rewards.double()
    for g in range(3):
        at = torch.nonzero(group == g).flatten()
        ranks = torch.argsort(torch.argsort(means[at])) / len(at)
        expected[at] = expected[at] * (1 - ranks * 0.25)
    torch.testing.assert_close(Unlikeliness().rewards(batch, 0.25), expected, rtol=0, atol=1e-6)

    shaped = Actuation.of([Unlikeliness()], {"unlikeliness": 0.25}).shape(batch, grpo)
    torch.testing.assert_close(shaped.advantages, grpo(expected, group)[batch.response], rtol=1e-5, atol=1e-5)
    assert torch.equal(shaped.rewards, rewards.double())  # what is measured stays as graded


def test_in_a_group_that_is_all_right_it_raises_entropy():
    """Ascending the shaped objective on a policy over whole responses moves its entropy with the sign of u."""
    start = torch.tensor([0.5, 0.25, 0.15, 0.1], dtype=torch.float64).log()
    tokens = torch.tensor([0, 0, 1, 2, 3, 0, 1, 0])
    before = torch.distributions.Categorical(logits=start).entropy().item()
    for u in (0.25, -0.25):
        logits = start.clone().requires_grad_()
        batch = batch_of([1] * 8, logprobs=start[tokens].tolist(), rewards=[1.0] * 8)
        shaped = Actuation.of([Unlikeliness()], {"unlikeliness": u}).shape(batch, grpo)
        loss = -(shaped.advantages * torch.log_softmax(logits, 0)[tokens]).mean()
        (descent,) = torch.autograd.grad(loss, logits)
        after = torch.distributions.Categorical(logits=start - 0.05 * descent).entropy().item()
        assert (after - before) * u > 1e-4


def test_an_unknown_likelihood_is_refused():
    with pytest.raises(ValueError, match="likelihood must be 'token_mean' or 'sequence', got 'mean'"):
        Unlikeliness(likelihood="mean")


# All three --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actuator", [LogitActivation(), EntropyAdvantage(), Unlikeliness()])
def test_a_batch_of_nothing(actuator):
    batch = batch_of([0, 0], rewards=[1.0, 0.0])
    shaped = Actuation.of([actuator], {actuator.kind: 0.5}).shape(batch, grpo)
    assert shaped.advantages.shape == (0,)
