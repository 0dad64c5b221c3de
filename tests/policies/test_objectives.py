"""Objectives: hand values, a padded reference, aggregation, metrics that do not depend on the cut."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from policies.objectives import (
    OBJECTIVES,
    Cispo,
    ClippedSurrogate,
    GradientPreserving,
    Gspo,
    PolicyGradient,
    cispo,
    clipped_surrogate,
    gradient_preserving,
    gspo,
    policy_gradient,
    ratio_metrics,
    reduce_metrics,
    token_weights,
    weight_denominator,
)
from policies.statistics.batch import TokenBatch

LENGTHS = torch.tensor([3, 0, 1, 4, 2])
RESPONSE = torch.repeat_interleave(LENGTHS)
N, T = len(LENGTHS), len(RESPONSE)


def at_ratio(ratio: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """logprobs (a leaf) and old_logprobs with these ratios."""
    old = torch.full((len(ratio),), -3.0, dtype=torch.float64)
    return (old + torch.tensor(ratio, dtype=torch.float64).log()).requires_grad_(), old


def random_tokens(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """logprobs (a leaf), old_logprobs, advantages of T tokens, ratios between 0.4 and 2.5."""
    generator = torch.Generator().manual_seed(seed)
    old = -3 * torch.rand(T, dtype=torch.float64, generator=generator) - 1
    logprobs = old + 1.8 * torch.rand(T, dtype=torch.float64, generator=generator) - 0.9
    advantages = torch.randn(N, dtype=torch.float64, generator=generator)[RESPONSE]
    return logprobs.requires_grad_(), old, advantages


def batch_of(
    logprobs: torch.Tensor, old_logprobs: torch.Tensor, advantages: torch.Tensor, response: torch.Tensor
) -> TokenBatch:
    """A batch whose other columns no objective may look at."""
    nothing = torch.zeros(0)
    return TokenBatch(
        response=response,
        position=nothing,
        logprobs=logprobs,
        old_logprobs=old_logprobs,
        entropy=nothing,
        advantages=advantages,
        weights=nothing,
        rewards=nothing,
        group=nothing,
    )


# Per-token losses -------------------------------------------------------------------------------------


def test_policy_gradient_by_hand():
    logprobs = torch.tensor([-0.5, -2.0], requires_grad=True)
    loss = policy_gradient(logprobs, torch.tensor([2.0, -1.0]))
    assert loss.tolist() == [1.0, -2.0]  # -2 · -0.5, -(-1) · -2
    loss.sum().backward()
    assert logprobs.grad.tolist() == [-2.0, 1.0]  # -A


def test_clipped_surrogate_by_hand():
    logprobs, old = at_ratio([1.5, 1.1, 0.5, 1.5, 0.5, 0.9])
    advantages = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0], dtype=torch.float64)
    loss = clipped_surrogate(logprobs, old, advantages, clip_low=0.2, clip_high=0.28)
    # max(-A r, -A clip(r, 0.8, 1.28)):
    #   A=+1: max(-1.5, -1.28) clipped; max(-1.1, -1.1); max(-0.5, -0.8) is the ratio itself
    #   A=-1: max(1.5, 1.28) is the ratio itself; max(0.5, 0.8) clipped; max(0.9, 0.9)
    assert loss.tolist() == pytest.approx([-1.28, -1.1, -0.5, 1.5, 0.8, 0.9])
    loss.sum().backward()
    # gradient -A r where it is not clipped
    assert logprobs.grad.tolist() == pytest.approx([0.0, -1.1, -0.5, 1.5, 0.0, 0.9])


def test_dual_clip_by_hand():
    logprobs, old = at_ratio([20.0, 5.0, 20.0])
    advantages = torch.tensor([-2.0, -2.0, 2.0], dtype=torch.float64)
    loss = clipped_surrogate(logprobs, old, advantages, clip_low=0.2, clip_high=0.28, dual_clip=10.0)
    # A=-2: min(40, 20) capped; min(10, 20) not; A=+2: max(-40, -2.56), the cap is for negatives only
    assert loss.tolist() == pytest.approx([20.0, 10.0, -2.56])
    loss.sum().backward()
    assert logprobs.grad.tolist() == pytest.approx([0.0, 10.0, 0.0])


def test_wide_bounds_are_the_ratio_form_of_the_policy_gradient():
    logprobs, old, advantages = random_tokens()
    loss = clipped_surrogate(logprobs, old, advantages, clip_low=1.0, clip_high=math.inf)
    torch.testing.assert_close(loss, -advantages * (logprobs - old).exp())


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_on_policy_every_objective_has_the_gradient_of_reinforce(kind):
    logprobs, _, advantages = random_tokens()
    loss, _ = OBJECTIVES[kind]().loss(batch_of(logprobs, logprobs.detach(), advantages, RESPONSE))
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    torch.testing.assert_close(gradient, -advantages)


@pytest.mark.parametrize("bounds", [None, (0.1, 0.5)])
def test_equals_a_padded_reference_under_token_mean(bounds):
    logprobs, old, advantages = random_tokens()
    objective = ClippedSurrogate(clip_low=0.2, clip_high=0.28, dual_clip=2.0)
    loss, _ = objective.loss(batch_of(logprobs, old, advantages, RESPONSE), bounds)
    ours = (token_weights(RESPONSE, N, "token_mean").double() * loss).sum()

    low, high = bounds or (0.2, 0.28)
    lengths = LENGTHS.tolist()
    padded = [pad_sequence(list(x.split(lengths)), batch_first=True) for x in (logprobs, old, advantages)]
    mask = torch.arange(max(lengths)) < LENGTHS[:, None]
    ratio, adv = torch.exp(padded[0] - padded[1]), padded[2]
    worst = torch.max(-adv * ratio, -adv * ratio.clip(1 - low, 1 + high))
    worst = torch.where(adv < 0, torch.min(worst, -adv * 2.0), worst)
    reference = (worst * mask).sum() / mask.sum()

    torch.testing.assert_close(ours, reference, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logprobs), torch.autograd.grad(reference, logprobs), rtol=1e-6, atol=1e-7
    )


# GSPO -------------------------------------------------------------------------------------------------


def test_gspo_by_hand():
    # response 0: ratios 2 and 0.5, whose geometric mean is 1; response 1: 1.44 and 1, so 1.2; response 2: 0.5
    logprobs, old = at_ratio([2.0, 0.5, 1.44, 1.0, 0.5])
    advantages = torch.tensor([1.0, 1.0, 2.0, 2.0, -1.0], dtype=torch.float64)
    response = torch.tensor([0, 0, 1, 1, 2])
    loss = gspo(logprobs, old, advantages, response, clip_low=0.3, clip_high=0.1)
    # -A s: -1, -1; max(-2.4, -2.2) clipped; max(0.5, 0.7) clipped
    assert loss.tolist() == pytest.approx([-1.0, -1.0, -2.2, -2.2, 0.7])
    loss.sum().backward()
    assert logprobs.grad.tolist() == pytest.approx([-1.0, -1.0, 0.0, 0.0, 0.0])
    free, _ = Gspo(clip_low=1.0, clip_high=9.0).loss(batch_of(logprobs, old, advantages, response))
    (gradient,) = torch.autograd.grad(free.sum(), logprobs)
    assert gradient.tolist() == pytest.approx([-1.0, -1.0, -2.4, -2.4, 0.5])  # -A s for every token


@pytest.mark.parametrize("bounds", [(0.3, 0.4), (0.05, 0.05)])
def test_gspo_under_sequence_mean_is_the_papers_loss(bounds):
    """1/N Σ_i max(-A s_i, -A clip(s_i)), s_i = (π(y) / π_old(y))^(1 / length), differentiated as it stands."""
    logprobs, old, advantages = random_tokens()
    loss, metrics = Gspo(clip_low=bounds[0], clip_high=bounds[1]).loss(
        batch_of(logprobs, old, advantages, RESPONSE)
    )
    ours = (token_weights(RESPONSE, N, "sequence_mean").double() * loss).sum()

    reference, num_clipped = torch.zeros((), dtype=torch.float64), 0
    for i in range(N):
        if not LENGTHS[i]:
            continue
        s = torch.exp((logprobs - old)[i == RESPONSE].mean())
        a = advantages[i == RESPONSE][0]
        clipped = s.clip(1 - bounds[0], 1 + bounds[1])
        reference = reference + torch.max(-a * s, -a * clipped)
        num_clipped += int(LENGTHS[i]) if -a * clipped > -a * s else 0
    torch.testing.assert_close(ours, reference / 4, rtol=1e-6, atol=1e-6)  # four with a token
    torch.testing.assert_close(
        torch.autograd.grad(ours, logprobs),
        torch.autograd.grad(reference / 4, logprobs),
        rtol=1e-6,
        atol=1e-9,
    )
    assert (metrics["clip_fraction/low"] + metrics["clip_fraction/high"]).sum() == num_clipped


def test_gspo_of_no_tokens():
    empty = torch.zeros(0, dtype=torch.float64)
    loss, _ = Gspo().loss(batch_of(empty, empty, empty, empty.long()))
    assert loss.shape == (0,)


# CISPO ------------------------------------------------------------------------------------------------


def test_cispo_by_hand():
    logprobs, old = at_ratio([1.5, 0.5, 1.5, 0.5, 1.1])
    advantages = torch.tensor([1.0, 1.0, -2.0, -2.0, 1.0], dtype=torch.float64)
    loss = cispo(logprobs, old, advantages, clip_low=0.2, clip_high=0.28)
    weights = [1.28, 0.8, 1.28, 0.8, 1.1]  # clipped for either sign
    expected = [-w * a * lp for w, a, lp in zip(weights, advantages.tolist(), logprobs.tolist(), strict=True)]
    assert loss.tolist() == pytest.approx(expected)
    loss.sum().backward()
    # -A times the weight: no token loses its gradient
    assert logprobs.grad.tolist() == pytest.approx([-1.28, -0.8, 2.56, 1.6, -1.1])


def test_cispo_has_no_lower_bound_by_default():
    logprobs, old = at_ratio([0.01, 5.0])
    loss, metrics = Cispo().loss(batch_of(logprobs, old, torch.ones(2, dtype=torch.float64), torch.arange(2)))
    assert torch.autograd.grad(loss.sum(), logprobs)[0].tolist() == pytest.approx([-0.01, -1.2])
    assert metrics["clip_fraction/high"].tolist() == [0.0, 1.0]
    assert metrics["clip_fraction/low"].tolist() == [0.0, 0.0]


def test_cispo_equals_reinforce_with_a_truncated_weight():
    logprobs, old, advantages = random_tokens()
    loss = cispo(logprobs, old, advantages, clip_low=0.3, clip_high=0.3).sum()
    reference = logprobs.new_zeros(())
    for lp, before, a in zip(logprobs, old, advantages, strict=True):
        weight = min(max(math.exp(lp.item() - before.item()), 0.7), 1.3)
        reference = reference - weight * a * lp
    torch.testing.assert_close(loss, reference, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        torch.autograd.grad(loss, logprobs), torch.autograd.grad(reference, logprobs), rtol=1e-9, atol=1e-12
    )


# CE-GPPO ----------------------------------------------------------------------------------------------


def test_gradient_preserving_by_hand():
    logprobs, old = at_ratio([1.5, 0.5, 1.5, 0.5, 1.1])
    advantages = torch.tensor([1.0, 1.0, -2.0, -2.0, 1.0], dtype=torch.float64)
    loss = gradient_preserving(
        logprobs, old, advantages, clip_low=0.2, clip_high=0.28, keep_low=0.5, keep_high=0.75
    )
    # above with A > 0: 0.75 · 1.28 = 0.96; below with A < 0: 0.5 · 0.8 = 0.4; the others have r
    expected = [-0.96, -0.5, 3.0, 0.8, -1.1]
    assert loss.tolist() == pytest.approx(expected)
    loss.sum().backward()
    assert logprobs.grad.tolist() == pytest.approx(expected)  # the gradient of c · r / sg(r) is c


def test_gradient_preserving_dual_clip_by_hand():
    logprobs, old = at_ratio([5.0, 2.0])
    advantages = torch.tensor([-1.0, -1.0], dtype=torch.float64)
    loss, _ = GradientPreserving(dual_clip=3.0).loss(batch_of(logprobs, old, advantages, torch.arange(2)))
    assert loss.tolist() == pytest.approx([3.0, 2.0])
    assert torch.autograd.grad(loss.sum(), logprobs)[0].tolist() == pytest.approx([0.0, 2.0])


def test_keeping_nothing_is_ppo():
    logprobs, old, advantages = random_tokens()
    nothing = GradientPreserving(clip_high=0.2, keep_low=0.0, keep_high=0.0)
    ours, metrics = nothing.loss(batch_of(logprobs, old, advantages, RESPONSE))
    ppo, expected = ClippedSurrogate().loss(batch_of(logprobs, old, advantages, RESPONSE))
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), logprobs), torch.autograd.grad(ppo.sum(), logprobs)
    )
    assert all(torch.equal(metrics[name], expected[name]) for name in expected)


def test_gradient_preserving_equals_its_code():
    """Kwai-Klear/CE-GPPO, compute_gppo_loss_general_beta: three masks, then the dual clip."""
    logprobs, old, _ = random_tokens()
    # Every ratio, 0.4 to 2.5, under an advantage of either sign.
    logprobs, old = logprobs.detach().repeat(2).requires_grad_(), old.repeat(2)
    advantages = torch.linspace(0.5, 2.0, T, dtype=torch.float64).repeat(2)
    advantages[T:] *= -1
    objective = GradientPreserving(clip_low=0.2, clip_high=0.28, keep_low=0.75, keep_high=1.0, dual_clip=1.5)
    ours = objective.loss(batch_of(logprobs, old, advantages, RESPONSE.repeat(2)))[0].mean()
    ratio, kept = torch.exp(logprobs - old), torch.exp(logprobs - old).detach()
    low, high = (ratio < 0.8) & (advantages < 0), (ratio > 1.28) & (advantages > 0)
    losses = torch.zeros_like(ratio)
    losses[low] = -0.75 * 0.8 / kept[low] * ratio[low] * advantages[low]
    losses[high] = -1.0 * 1.28 / kept[high] * ratio[high] * advantages[high]
    losses[~(low | high)] = (-ratio * advantages)[~(low | high)]
    capped = torch.min(-advantages * 1.5, losses)
    reference = torch.where(advantages < 0, capped, losses).mean()
    assert low.any()
    assert high.any()
    torch.testing.assert_close(ours, reference, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logprobs), torch.autograd.grad(reference, logprobs), rtol=1e-6, atol=1e-9
    )


# Aggregation ------------------------------------------------------------------------------------------


def test_weights_by_hand():
    response = torch.tensor([0, 0, 2])  # lengths 2, 0, 1
    # one over three tokens
    assert token_weights(response, 3, "token_mean").tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    # 1 / (two responses with tokens · length)
    assert token_weights(response, 3, "sequence_mean").tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 2])
    # 1 / (three responses · ten tokens)
    fixed = token_weights(response, 3, "fixed_length", max_tokens=10)
    assert fixed.tolist() == pytest.approx([1 / 30, 1 / 30, 1 / 30])


@pytest.mark.parametrize("mode", ["token_mean", "sequence_mean"])
def test_means_add_up_to_one(mode):
    assert token_weights(RESPONSE, N, mode).sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("mode", ["token_mean", "sequence_mean", "fixed_length"])
def test_denominators_add_up_over_ranks(mode):
    # ranks hold responses 0..1 and 2..4; together they weigh as one batch does
    ranks = [(RESPONSE[RESPONSE < 2], 2), (RESPONSE[RESPONSE >= 2] - 2, 3)]
    total = sum(weight_denominator(response, count, mode) for response, count in ranks)
    parts = [
        token_weights(response, count, mode, max_tokens=8, denominator=total) for response, count in ranks
    ]
    torch.testing.assert_close(torch.cat(parts), token_weights(RESPONSE, N, mode, max_tokens=8))


@pytest.mark.parametrize("mode", ["token_mean", "sequence_mean", "fixed_length"])
def test_no_tokens_no_weights(mode):
    assert token_weights(RESPONSE[:0], 2, mode, max_tokens=8).shape == (0,)


def test_fixed_length_needs_its_length():
    with pytest.raises(ValueError, match="max_tokens must be at least 1 for 'fixed_length', got None"):
        token_weights(RESPONSE, N, "fixed_length")


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="got 'mean'"):
        token_weights(RESPONSE, N, "mean")


# Metrics ----------------------------------------------------------------------------------------------


def test_metrics_by_hand():
    logprobs, old = at_ratio([1.5, 0.5, 1.5, 0.5])
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    _, metrics = ClippedSurrogate().loss(batch_of(logprobs, old, advantages, torch.arange(4)))
    reduced = reduce_metrics([metrics])
    # the upper bound stops only (1.5, +1), the lower only (0.5, -1): one token in four each
    assert reduced["clip_fraction/high"] == 0.25
    assert reduced["clip_fraction/low"] == 0.25
    assert reduced["ratio"] == pytest.approx(1.0)
    assert reduced["ratio/max"] == pytest.approx(1.5)
    # r - 1 - ln r: 0.5 - 0.405465 = 0.094535 and -0.5 + 0.693147 = 0.193147; mean 0.143841
    assert reduced["approx_kl"] == pytest.approx(0.143841, abs=1e-6)
    assert not any(values.requires_grad for values in metrics.values())


def test_clip_fraction_counts_the_tokens_whose_gradient_is_gone():
    logprobs, old, advantages = random_tokens()
    loss, metrics = ClippedSurrogate(clip_high=0.3).loss(batch_of(logprobs, old, advantages, RESPONSE))
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    clipped = metrics["clip_fraction/low"] + metrics["clip_fraction/high"]
    assert clipped.bool().tolist() == (gradient == 0).tolist()
    assert 0 < clipped.sum() < T


def test_approx_kl_is_the_kl_of_the_sampling_policy():
    # Σ_v π_old(v) (r_v - 1 - ln r_v) = KL(π_old, π), exactly, when every token is weighed by π_old
    old = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
    new = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64).log()
    kl = (old.exp() * (old - new)).sum()
    torch.testing.assert_close((old.exp() * ratio_metrics(new, old)["approx_kl"]).sum(), kl)


def test_reduced_metrics_do_not_depend_on_the_cut():
    logprobs, old, advantages = random_tokens()
    objective = ClippedSurrogate()
    whole = reduce_metrics([objective.loss(batch_of(logprobs, old, advantages, RESPONSE))[1]])
    cuts = [slice(6, None), slice(0, 1), slice(1, 6)]
    parts = [objective.loss(batch_of(logprobs[c], old[c], advantages[c], RESPONSE[c]))[1] for c in cuts]
    assert reduce_metrics(parts) == pytest.approx(whole, abs=1e-15)


def test_metrics_of_nothing():
    assert reduce_metrics([]) == {}
    empty = torch.zeros(0)
    _, metrics = PolicyGradient().loss(batch_of(empty, empty, empty, empty.long()))
    assert all(math.isnan(value) for value in reduce_metrics([metrics]).values())


# Objectives -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_conformance(kind):
    objective = OBJECTIVES[kind]()
    assert objective.kind == kind
    assert objective.__doc__
    assert objective.has_bounds == (objective.bounds is not None)
    logprobs, old, advantages = random_tokens()
    loss, metrics = objective.loss(batch_of(logprobs, old, advantages, RESPONSE))
    assert loss.shape == (T,)
    assert all(values.shape == (T,) for values in metrics.values())
    moved, _ = objective.loss(batch_of(logprobs, old, advantages, RESPONSE), bounds=(0.05, 0.05))
    assert objective.has_bounds == (not torch.equal(loss, moved))


@pytest.mark.parametrize("objective", [ClippedSurrogate, Gspo, Cispo, GradientPreserving])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip_low": -0.1}, "clip_low must be between 0 and 1, got -0.1"),
        ({"clip_low": 1.5}, "clip_low must be between 0 and 1, got 1.5"),
        ({"clip_high": -0.1}, "clip_high must be at least 0, got -0.1"),
        ({"clip_high": math.nan}, "clip_high must be at least 0, got nan"),
    ],
)
def test_guards_of_the_bounds(objective, settings, message):
    with pytest.raises(ValueError, match=message):
        objective(**settings)


@pytest.mark.parametrize(
    ("objective", "settings", "message"),
    [
        (ClippedSurrogate, {"dual_clip": 1.0}, "dual_clip must be above 1"),
        (GradientPreserving, {"dual_clip": 0.5}, "dual_clip must be above 1"),
        (GradientPreserving, {"keep_low": -1.0}, r"keep_low must be at least 0, got -1.0"),
        (GradientPreserving, {"keep_high": math.nan}, "keep_high must be at least 0, got nan"),
    ],
)
def test_guards(objective, settings, message):
    with pytest.raises(ValueError, match=message):
        objective(**settings)
