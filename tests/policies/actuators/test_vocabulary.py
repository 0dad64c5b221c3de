"""Actuators that read a part of the vocabulary, by hand and against the published code in dense form.

The policy is one row of logits a token; every reference below is written on padded [N, L] tensors from
those logits, and shares no code with what it checks.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from policies.actuators.base import LossActuator
from policies.actuators.bonus import Bonus
from policies.actuators.clamped_bonus import ClampedBonus
from policies.actuators.lp_reg import LpReg
from policies.actuators.selected_bonus import SelectedBonus
from policies.advantages import grpo
from policies.objectives import ClippedSurrogate, token_weights
from policies.policy_loss import Actuation, policy_loss
from policies.statistics.batch import TokenBatch
from policies.statistics.sensors import measure
from policies.statistics.token_statistics import token_statistics

LOG = math.log
V, G = 9, 4
LENGTHS = torch.tensor([5, 3, 1, 14, 2, 6, 0, 3, 4, 4, 4, 4, 3, 17, 2, 5])
REWARDS = torch.tensor([1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1])
"""Groups: mixed with a single token, all right with an empty response, all wrong and identical, hard."""
RESPONSE = torch.repeat_interleave(LENGTHS)
T = len(RESPONSE)


def policy(seed=0, sharpness=2.0):
    """Logits [T, V] (a leaf) and sampled tokens [T]; the four responses of group 2 are identical."""
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(T, V, dtype=torch.float64, generator=generator)
    identical = (RESPONSE >= 8) & (RESPONSE < 12)
    logits[identical] = logits[RESPONSE == 8].repeat(4, 1)
    tokens = torch.multinomial(torch.softmax(logits, dim=1), 1, generator=generator)[:, 0]
    tokens[identical] = tokens[RESPONSE == 8].repeat(4)
    return logits.requires_grad_(), tokens


def seen(logits, tokens, actuator: LossActuator, *, steps_away=0.0, mode="token_mean") -> TokenBatch:
    """What the learner would hand over: filtered log-probs of the start, filtered entropy of now."""
    head = torch.eye(V, dtype=torch.float64)
    noise = torch.randn(logits.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    start = logits.detach() + steps_away * noise
    logprobs, entropy = token_statistics(logits, head, tokens)
    return TokenBatch(
        response=RESPONSE,
        position=torch.cat([torch.arange(n) for n in LENGTHS]),
        logprobs=logprobs,
        old_logprobs=token_statistics(start, head, tokens)[0],
        entropy=entropy,
        advantages=grpo(REWARDS.double(), torch.arange(len(LENGTHS)) // G)[RESPONSE],
        weights=token_weights(RESPONSE, len(LENGTHS), mode, max_tokens=20).double(),
        rewards=REWARDS.double(),
        group=torch.arange(len(LENGTHS)) // G,
        filtered_logprobs=token_statistics(start, head, tokens, vocabulary=actuator.vocabulary)[0],
        filtered_entropy=token_statistics(logits, head, tokens, vocabulary=actuator.vocabulary)[1],
    )


def constant(batch: TokenBatch) -> TokenBatch:
    return replace(
        batch,
        logprobs=batch.logprobs.detach(),
        entropy=batch.entropy.detach(),
        filtered_entropy=batch.filtered_entropy.detach(),
    )


def term(actuator: LossActuator, batch: TokenBatch, u: float):
    return actuator.loss(batch, actuator.plan(constant(batch), u), u).sum()


def padded(values):
    return pad_sequence(list(values.split(LENGTHS.tolist())), batch_first=True)


MASK = torch.arange(int(LENGTHS.max())) < LENGTHS[:, None]


def assert_same(ours, reference, logits):
    torch.testing.assert_close(ours, reference, rtol=1e-6, atol=1e-6)
    (expected,) = torch.autograd.grad(reference, logits, retain_graph=True)
    (gradient,) = torch.autograd.grad(ours, logits, retain_graph=True)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
    assert expected.abs().max() > 1e-4


def tokens_of(lengths, **values) -> TokenBatch:
    """A batch from lists, token mean; what is not given is zero."""
    response = torch.repeat_interleave(torch.tensor(lengths))
    zeros = torch.zeros(len(response), dtype=torch.float64)
    given = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    given.setdefault("logprobs", zeros)
    return TokenBatch(
        response=response,
        position=torch.cat([torch.arange(n) for n in lengths]),
        old_logprobs=given["logprobs"],
        entropy=zeros,
        weights=zeros + 1 / max(1, len(response)),
        rewards=torch.zeros(len(lengths)),
        group=torch.zeros(len(lengths), dtype=torch.int64),
        **({"advantages": zeros} | given),
    )


# Lp-Reg -----------------------------------------------------------------------------------------------

SPARK = tokens_of(
    [6],
    logprobs=[LOG(0.01), LOG(0.02), LOG(0.001), LOG(0.5), LOG(0.9), LOG(0.005)],
    filtered_logprobs=[LOG(0.02), LOG(0.02), -80.0, LOG(0.6), LOG(0.9), LOG(0.01)],
    advantages=[-1.0, -1.0, -1.0, -1.0, -1.0, 1.0],
)
"""Negative: 0.01 under its proxy 0.02, 0.02 at its proxy, 0.001 cut off as noise, 0.5 under 0.6, 0.9."""


@pytest.mark.parametrize(
    ("fraction", "selected"),
    [
        # int(0.8 · 5) = 4 lowest: 0.001, 0.01, 0.02, 0.5; of them those under the proxy: 0.01 and 0.5
        (0.8, [0, 3]),
        (0.6, [0]),  # 0.001, 0.01, 0.02
        (0.4, [0]),  # 0.001, 0.01
        (0.39, []),  # int(1.95) = 1: not more than one, so none
    ],
)
def test_lp_reg_selection_by_hand(fraction, selected):
    weights = LpReg(fraction=fraction).plan(SPARK, 1.0)["weights"]
    assert torch.nonzero(weights).flatten().tolist() == selected
    assert weights.sum().item() == pytest.approx(len(selected) / 6)  # the objective's own denominator


def test_lp_reg_never_selects_a_single_token():
    batch = tokens_of([3], logprobs=[-3.0, -2.0, -1.0], filtered_logprobs=[-1.0] * 3, advantages=[-1.0] * 3)
    assert LpReg(fraction=0.5).plan(batch, 1.0)["weights"].tolist() == [0.0] * 3  # int(1.5) = 1
    assert torch.nonzero(LpReg(fraction=0.7).plan(batch, 1.0)["weights"]).flatten().tolist() == [0, 1]


def test_lp_reg_loss_and_gradient_by_hand():
    actuator = LpReg(fraction=0.8)
    logprobs = SPARK.logprobs.clone().requires_grad_()
    loss = actuator.loss(replace(SPARK, logprobs=logprobs), actuator.plan(SPARK, 3.0), 3.0)
    # d = ln 2: k3 = 2 - 0.693147 - 1 = 0.306853;  d = ln 1.2: 1.2 - 0.182322 - 1 = 0.017678; u / T = 3 / 6
    assert loss.tolist() == pytest.approx([0.1534264, 0, 0, 0.0088392, 0, 0], abs=1e-6)
    loss.sum().backward()
    # u / T · (1 - π_prox / π) = 0.5 · (1 - 2) and 0.5 · (1 - 1.2): both push up
    assert logprobs.grad.tolist() == pytest.approx([-0.5, 0, 0, -0.1, 0, 0])


def test_lp_reg_penalty_is_bounded_and_its_gradient_ends_there():
    # π_prox / π = 10: k3 = 10 - ln 10 - 1 = 6.697;  20: 20 - 2.996 - 1 = 16.0 → 10;  e^795 would overflow
    batch = tokens_of(
        [3],
        logprobs=[LOG(0.01), LOG(0.005), -800.0],
        filtered_logprobs=[LOG(0.1), LOG(0.1), -5.0],
        advantages=[-1.0] * 3,
    )
    logprobs = batch.logprobs.clone().requires_grad_()
    actuator = LpReg(fraction=1.0)
    loss = actuator.loss(replace(batch, logprobs=logprobs), actuator.plan(batch, 1.0), 1.0)
    assert (3 * loss).tolist() == pytest.approx([6.697415, 10.0, 10.0], abs=1e-6)
    loss.sum().backward()
    assert (3 * logprobs.grad).tolist() == pytest.approx([-9.0, 0.0, 0.0])


def lp_reg_code(logits, tokens, batch, u, fraction, kappa, start):
    """CarlanLark/Lp-Reg-dev: PPO 1.0 / 9.0 under token mean, -A r + β k3 instead of it where selected."""
    logp, old, adv = padded(batch.logprobs), padded(batch.old_logprobs), padded(batch.advantages)
    raw = torch.softmax(start, dim=1)
    cut = torch.where(raw >= kappa * raw.amax(dim=1, keepdim=True), start, -1e4)
    proxy = padded(torch.log_softmax(cut, dim=1).gather(1, tokens[:, None])[:, 0])
    ratio = torch.exp(logp - old)
    loss = torch.max(-adv * ratio, -adv * ratio.clip(0.0, 10.0))
    negative = MASK & (adv < 0)
    count, chosen = int(fraction * negative.sum()), torch.zeros_like(MASK)
    if count > 1:
        lowest = torch.where(negative, logp.detach(), math.inf).flatten().topk(count, largest=False).indices
        chosen.view(-1)[lowest] = True
    chosen &= logp.detach() < proxy
    gap = proxy - logp
    k3 = (gap.clip(-20, 20).exp() - gap - 1).clip(-10, 10)
    loss = torch.where(chosen, -adv * ratio + u * k3, loss)
    return (loss * MASK).sum() / MASK.sum(), int(chosen.sum())


@pytest.mark.parametrize("steps_away", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("fraction", [0.2, 0.5, 1.0])
def test_lp_reg_equals_its_code_under_the_recipes_bounds(steps_away, fraction):
    logits, tokens = policy()
    actuator, u = LpReg(fraction=fraction, threshold=0.1), 0.7
    batch = seen(logits, tokens, actuator, steps_away=steps_away)
    actuation = Actuation.of([actuator], {"lp_reg": u})
    objective = ClippedSurrogate(clip_low=1.0, clip_high=9.0)
    ours, shares, _ = policy_loss(batch, objective, actuation, actuation.plans(constant(batch)))
    noise = torch.randn(logits.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    start = logits.detach() + steps_away * noise
    reference, num_chosen = lp_reg_code(logits, tokens, batch, u, fraction, 0.1, start)
    assert_same(ours, reference, logits)
    assert num_chosen > 0
    assert shares["lp_reg"] > 0


def test_lp_reg_on_policy_pushes_with_one_minus_the_kept_mass():
    """METHODS 5: at r = 1 the gradient of k3 is 1 - 1/Z with Z the mass that the proxy keeps."""
    logits = torch.tensor([[0.9, 0.09, 0.01], [0.9, 0.09, 0.01]], dtype=torch.float64).log()
    actuator = LpReg(fraction=1.0, threshold=0.05)
    head, tokens = torch.eye(3, dtype=torch.float64), torch.tensor([1, 1])
    cut, _ = token_statistics(logits, head, tokens, vocabulary=actuator.vocabulary)
    logprobs = logits[:, 1].clone().requires_grad_()
    batch = tokens_of([2], logprobs=[0.0, 0.0], advantages=[-1.0, -1.0])
    batch = replace(batch, logprobs=logprobs.detach(), filtered_logprobs=cut)
    plan = actuator.plan(batch, 1.0)
    actuator.loss(replace(batch, logprobs=logprobs), plan, 1.0).sum().backward()
    # Z = 0.99; (1 - 1 / 0.99) / 2 = -0.00505051
    assert logprobs.grad.tolist() == pytest.approx([-0.00505051, -0.00505051], abs=1e-8)


def test_lp_reg_needs_a_negative_advantage():
    none = replace(SPARK, advantages=SPARK.advantages.abs())
    assert LpReg(fraction=1.0).plan(none, 1.0)["weights"].tolist() == [0.0] * 6


# Clamped bonus ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.2, 0.3, 0.4])
def test_clamped_bonus_equals_aents_code(share):
    """inclusionAI/AReaL recipe/AEnt: -coefficient · masked mean of the entropy without the lowest logits."""
    logits, tokens = policy()
    actuator, u = ClampedBonus(dropped_share=share), 0.4
    ours = term(actuator, seen(logits, tokens, actuator), u)
    removed = torch.zeros_like(logits, dtype=torch.bool)
    removed.scatter_(1, logits.detach().topk(int(V * share), dim=1, largest=False).indices, True)
    clamped = logits.masked_fill(removed, -math.inf)
    logp = torch.log_softmax(clamped, dim=1).masked_fill(removed, 0.0)
    reference = -u * -(torch.softmax(clamped, dim=1) * logp).sum(dim=1).mean()
    assert_same(ours, reference, logits)


def test_dropping_nothing_is_the_plain_bonus():
    logits, tokens = policy()
    actuator = ClampedBonus(dropped_share=0.0)
    batch = seen(logits, tokens, actuator)
    assert_same(term(actuator, batch, 0.3), term(Bonus(), batch, 0.3), logits)


def test_clamped_bonus_leaves_the_tail_alone():
    logits, tokens = policy()
    actuator = ClampedBonus(dropped_share=0.4)
    (gradient,) = torch.autograd.grad(term(actuator, seen(logits, tokens, actuator), 1.0), logits)
    tail = logits.topk(int(0.4 * V), dim=1, largest=False).indices
    assert gradient.gather(1, tail).abs().max() < 1e-30
    (plain,) = torch.autograd.grad(term(Bonus(), seen(logits, tokens, actuator), 1.0), logits)
    assert (plain.gather(1, tail) < 0).sum() > T  # where the plain bonus pulls most of them up


# Selected bonus ---------------------------------------------------------------------------------------


def test_selected_bonus_by_hand():
    # 20 % of five tokens is one, of one token at least one; H_sel = (0.9 + 0.2) / 2
    batch = tokens_of([5, 0, 1], filtered_entropy=[0.1, 0.9, 0.3, 0.9, 0.0, 0.2])
    actuator = SelectedBonus()
    loss = actuator.loss(batch, actuator.plan(batch, 0.4), 0.4)
    assert loss.tolist() == pytest.approx([0, -0.4 * 0.9 / 2, 0, 0, 0, -0.4 * 0.2 / 2])
    # two of five, ((0.9 + 0.9) / 2 + 0.2) / 2: a mean over responses of their means, whatever their lengths
    half = SelectedBonus(share=0.5)
    weighed = half.loss(batch, half.plan(batch, 1.0), 1.0)
    assert weighed.tolist() == pytest.approx([0, -0.9 / 4, 0, -0.9 / 4, 0, -0.2 / 2])


def siren_statistic(logits, share, mass):
    """H_sel by a loop: the top-p set of each token, then the top share of each response."""
    entropies = []
    for row in logits:
        ranked = torch.softmax(row, dim=0).sort(descending=True).values
        size = int((ranked.cumsum(0) < mass).sum()) + 1
        cut = ranked[:size] / ranked[:size].sum()
        entropies.append(-(cut * cut.log()).sum())
    entropy = torch.stack(entropies)
    means = [
        part.sort(descending=True).values[: max(1, int(share * len(part)))].mean()
        for part in entropy.split(LENGTHS.tolist())
        if len(part)
    ]
    return torch.stack(means).mean()  # verl's seq-mean-token-mean


@pytest.mark.parametrize("mode", ["token_mean", "sequence_mean", "fixed_length"])
def test_sirens_quadratic_penalty_is_a_proportional_law(mode):
    """∇ c (H_sel - H_a)² is the gradient of this actuator at u = kp (H_a - y), kp = 2c, y the sensor."""
    logits, tokens = policy()
    c, anchor, actuator = 0.005, 0.9, SelectedBonus()
    batch = seen(logits, tokens, actuator, mode=mode)
    y = measure(constant(batch), vocabulary_size=V)["entropy/filtered/top"]
    statistic = siren_statistic(logits, 0.2, 0.8)
    assert y == pytest.approx(statistic.item(), abs=1e-12)
    assert abs(y - anchor) > 0.05

    penalty = c * (statistic - anchor) ** 2
    (expected,) = torch.autograd.grad(penalty, logits)
    u = 2 * c * (anchor - y)
    (gradient,) = torch.autograd.grad(term(actuator, batch, u), logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
    assert expected.abs().max() > 1e-6


@pytest.mark.parametrize(("share", "mass"), [(0.2, 0.8), (0.5, 0.6), (1.0, 1.0)])
def test_selected_bonus_equals_the_loop(share, mass):
    logits, tokens = policy(seed=4)
    actuator, u = SelectedBonus(share=share, mass=mass), -0.3
    assert_same(
        term(actuator, seen(logits, tokens, actuator), u), -u * siren_statistic(logits, share, mass), logits
    )


# All three --------------------------------------------------------------------------------------------

FILTERED = [LpReg(fraction=0.3, threshold=0.1), ClampedBonus(), SelectedBonus()]


@pytest.mark.parametrize("actuator", FILTERED, ids=lambda a: a.kind)
def test_a_batch_of_nothing(actuator):
    nothing = torch.zeros(0, dtype=torch.float64)
    batch = tokens_of([0, 0], filtered_logprobs=[], filtered_entropy=[], logprobs=[])
    loss = actuator.loss(batch, actuator.plan(batch, 0.5), 0.5)
    torch.testing.assert_close(loss, nothing)


@pytest.mark.parametrize("actuator", FILTERED, ids=lambda a: a.kind)
def test_without_its_statistics_it_does_not_guess(actuator):
    with pytest.raises(AssertionError, match=f"{actuator.kind} needs the"):
        actuator.loss(SPARK, actuator.plan(replace(SPARK, filtered_logprobs=None), 1.0), 1.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LpReg(fraction=0.0), r"fraction must be in \(0, 1\], got 0.0"),
        (lambda: LpReg(threshold=0.0), r"threshold must be in \(0, 1\], got 0.0"),
        (lambda: ClampedBonus(dropped_share=1.0), r"dropped_share must be in \[0, 1\), got 1.0"),
        (lambda: SelectedBonus(mass=1.1), r"mass must be in \(0, 1\], got 1.1"),
        (lambda: SelectedBonus(share=0.0), r"share must be in \(0, 1\], got 0.0"),
    ],
)
def test_guards(build, message):
    with pytest.raises(ValueError, match=message):
        build()
