"""Estimates of KL(π, π_ref), the distance of the policy from a reference, from the tokens that the policy sampled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import torch

if TYPE_CHECKING:
    from torch import Tensor

Estimator = Literal["k1", "k2", "k3"]

REFERENCE_KL = "reference_kl"
"""The reading of KL(π, π_ref), and the beginning of the names of all that needs a reference."""

LARGEST_GAP = 20.0
"""Bound on d before exp, which could overflow; a token beyond it has not been sampled in 10^8."""


def kl_estimate(logprobs: Tensor, reference_logprobs: Tensor, estimator: Estimator) -> Tensor:
    """An estimate of KL(π, π_ref) at each token [T], in nats, for tokens that π has sampled.

        d = log π_ref - log π
        k1 = -d              unbiased, of either sign
        k2 = d² / 2          biased; its gradient is that of the KL where π itself has sampled
        k3 = exp(d) - 1 - d  unbiased, never negative, and of low variance

    Schulman, joschu.net/blog/kl-approx.html; k3 is GRPO's (2402.03300, equation 4).  As a term of a loss they differ
    from what they are as numbers: the gradient of k1 has mean 0, whatever the KL, and that of k3 is
    (1 - π_ref / π) ∇log π, which on average is the gradient of KL(π_ref, π).
    """
    d = reference_logprobs - logprobs
    if estimator == "k1":
        return -d
    if estimator == "k2":
        return d.square() / 2
    bounded = d.clamp(max=LARGEST_GAP)
    return torch.exp(bounded) - 1.0 - bounded


def nearness(kl: float) -> float:
    """exp(-KL): 1 at the reference, 0 far from it.  It rises with the coefficient, as the sensor of a loop has to."""
    return math.exp(-max(kl, 0.0)) if math.isfinite(kl) else math.nan


def check_estimator(estimator: str) -> None:
    """Refuse an estimator that there is not."""
    if estimator not in get_args(Estimator):
        raise ValueError(f"estimator must be one of {', '.join(get_args(Estimator))}, got {estimator!r}")
