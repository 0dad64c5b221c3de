"""Importance correction: hand-computed weights, what is cut, and a correction that corrects."""

from __future__ import annotations

import math

import pytest
import torch

from policies.importance import (
    IMPORTANCES,
    Masked,
    NoImportance,
    Truncated,
    importance_ratio,
    masked,
    truncated,
)

# Two responses of two tokens: π_learner = 0.5, 0.2, 0.9, 0.1 and π_engine = 0.25, 0.4, 0.9, 0.05.
LOGPROBS = torch.tensor([0.5, 0.2, 0.9, 0.1]).log()
BEHAVIOUR = torch.tensor([0.25, 0.4, 0.9, 0.05]).log()
RESPONSE = torch.tensor([0, 0, 1, 1])


def weights(importance):
    return importance.weights(LOGPROBS, BEHAVIOUR, RESPONSE, 2)


def test_ratio_of_tokens_and_of_responses():
    torch.testing.assert_close(
        importance_ratio(LOGPROBS, BEHAVIOUR, RESPONSE, 2, "token"), torch.tensor([2.0, 0.5, 1.0, 2.0])
    )
    # 2 · 0.5 = 1 and 1 · 2 = 2
    torch.testing.assert_close(
        importance_ratio(LOGPROBS, BEHAVIOUR, RESPONSE, 2, "sequence"), torch.tensor([1.0, 1.0, 2.0, 2.0])
    )


def test_ratio_of_a_long_response_is_finite():
    far = torch.full((1000,), -1.0)
    ratio = importance_ratio(torch.zeros(1000), far, torch.zeros(1000, dtype=torch.int64), 1, "sequence")
    assert ratio.isfinite().all()


def test_truncated_caps_from_above_only():
    assert truncated(torch.tensor([0.1, 1.0, 3.0]), 2.0).tolist() == pytest.approx([0.1, 1.0, 2.0])


def test_masked_drops_what_is_outside_and_keeps_the_ratio_inside():
    ratio = torch.tensor([0.4, 0.5, 1.5, 2.0, 2.1])
    assert masked(ratio, 0.5, 2.0).tolist() == pytest.approx([0.0, 0.5, 1.5, 2.0, 0.0])


def test_metrics_are_the_mean_before_the_bounds_and_the_share_that_they_changed():
    values, metrics = weights(Truncated(cap=1.5))
    torch.testing.assert_close(values, torch.tensor([1.5, 0.5, 1.0, 1.5]))
    # (2 + 0.5 + 1 + 2) / 4 and two tokens of four
    assert metrics == pytest.approx({"importance/ratio": 1.375, "importance/cut": 0.5})
    values, metrics = weights(Masked(low=0.6, high=1.2, level="sequence"))
    torch.testing.assert_close(values, torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert metrics == pytest.approx({"importance/ratio": 1.5, "importance/cut": 0.5})


def test_none_gives_no_weights():
    assert weights(NoImportance()) is None


@pytest.mark.parametrize("kind", sorted(set(IMPORTANCES) - {"none"}))
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_equal_probabilities_give_weights_of_exactly_one(kind, level):
    values, metrics = IMPORTANCES[kind](level=level).weights(LOGPROBS, LOGPROBS, RESPONSE, 2)
    assert torch.equal(values, torch.ones(4))
    assert metrics == {"importance/ratio": 1.0, "importance/cut": 0.0}


def test_the_weighted_mean_of_the_engines_samples_is_the_learners():
    """Σ_v q(v) · w(v) · f(v) = Σ_v p(v) · f(v) where no bound is met, and is not without weights."""
    p, q, f = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, 0.35, 0.25]), torch.tensor([1.0, -2.0, 0.0])
    values, metrics = Truncated(cap=2.0).weights(p.log(), q.log(), torch.arange(3), 3)
    assert metrics["importance/cut"] == 0.0
    assert (q * values * f).sum().item() == pytest.approx((p * f).sum().item())
    assert not math.isclose((q * f).sum().item(), (p * f).sum().item(), rel_tol=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: Truncated(cap=0.5), "cap must be at least 1 and finite, got 0.5"),
        (lambda: Truncated(level="word"), "level must be 'token' or 'sequence', got 'word'"),
        (lambda: Masked(low=1.5), "low must be between 0 and 1, got 1.5"),
        (lambda: Masked(high=0.9), "high must be at least 1 and finite, got 0.9"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        settings()
