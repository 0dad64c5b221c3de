"""Estimates of the KL to a reference: by hand, against the sum over the vocabulary, and by their gradients."""

from __future__ import annotations

from math import exp, log, nan

import pytest
import torch

from policies.statistics.reference_kl import LARGEST_GAP, kl_estimate, nearness

POLICY = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
REFERENCE = torch.tensor([0.25, 0.25, 0.25, 0.25], dtype=torch.float64)
KL = 0.5 * log(2) + 0.25 * 0 + 2 * 0.125 * log(0.5)  # 0.1733


def test_by_hand():
    """d = log π_ref - log π of a token that the reference finds half as likely, and of one it finds twice as likely."""
    logprobs, reference = POLICY.log()[[0, 2]], REFERENCE.log()[[0, 2]]
    assert kl_estimate(logprobs, reference, "k1").tolist() == pytest.approx([log(2), -log(2)])
    assert kl_estimate(logprobs, reference, "k2").tolist() == pytest.approx([log(2) ** 2 / 2] * 2)
    # exp(d) - 1 - d: 1/2 - 1 + ln 2, and 2 - 1 - ln 2
    assert kl_estimate(logprobs, reference, "k3").tolist() == pytest.approx([log(2) - 0.5, 1 - log(2)])


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_nothing_at_the_reference(estimator):
    assert kl_estimate(POLICY.log(), POLICY.log(), estimator).tolist() == [0.0] * 4


def test_k1_and_k3_are_unbiased_and_k3_varies_less():
    """Their means under the policy, over its whole vocabulary."""
    k1, k3 = (kl_estimate(POLICY.log(), REFERENCE.log(), estimator) for estimator in ("k1", "k3"))
    assert (POLICY * k1).sum().item() == pytest.approx(KL)
    assert (POLICY * k3).sum().item() == pytest.approx(KL)
    assert (k3 >= 0).all()
    assert (POLICY * (k3 - KL) ** 2).sum() < (POLICY * (k1 - KL) ** 2).sum()


def test_gradients_of_the_estimators_on_average():
    """k1 has none, k2 has that of KL(π, π_ref), k3 that of KL(π_ref, π)."""
    logits = POLICY.log().requires_grad_()

    def gradient(loss):
        return torch.autograd.grad(loss, logits)[0]

    def on_average(estimator):
        logprobs = torch.log_softmax(logits, dim=0)
        return gradient((POLICY * kl_estimate(logprobs, REFERENCE.log(), estimator)).sum())

    logprobs = torch.log_softmax(logits, dim=0)
    reverse = gradient((logprobs.exp() * (logprobs - REFERENCE.log())).sum())
    logprobs = torch.log_softmax(logits, dim=0)
    forward = gradient((REFERENCE * (REFERENCE.log() - logprobs)).sum())
    torch.testing.assert_close(on_average("k1"), torch.zeros_like(logits), atol=1e-12, rtol=0)
    torch.testing.assert_close(on_average("k2"), reverse)
    torch.testing.assert_close(on_average("k3"), forward)
    assert reverse.abs().max() > 0.01


def test_a_token_that_the_policy_has_all_but_excluded_stays_finite():
    k3 = kl_estimate(torch.tensor([-500.0]), torch.tensor([-1.0]), "k3")
    assert k3.item() == pytest.approx(exp(LARGEST_GAP), rel=1e-3)


@pytest.mark.parametrize(("kl", "near"), [(0.0, 1.0), (0.05, 0.951229), (-1e-9, 1.0)])
def test_nearness_by_hand(kl, near):
    assert nearness(kl) == pytest.approx(near, abs=1e-6)


def test_nearness_of_no_reading_is_none():
    assert nearness(nan) != nearness(nan)
