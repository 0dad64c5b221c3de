"""Clip-Cov: the command is the fraction of tokens whose gradient is taken away, by high covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from policies.actuators.base import Command, WeightActuator
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class ClipCov(WeightActuator):
    """Weight 0 for a few tokens, drawn among those of high covariance.  Clip-Cov, arXiv 2505.22617.

        cov_i = (log π_i - mean log π) · (A_i - mean A)          means over the T tokens of the minibatch
        candidates: covariance_low < cov_i < covariance_high, and not clipped by the ratio's bounds
        drawn: N = max(int(u · T), 1) of them; published u = 2e-4

    Such a token is a likely one rewarded or an unlikely one penalised: its push lowers entropy (METHODS
    1.2), so leaving it out raises entropy.  Acts on-policy too.

    As verl's ``compute_policy_loss_clip_cov`` [code: PRIME-RL/Entropy-Mechanism-of-RL], but means, T and
    the draw are over the minibatch; there they are over a micro-batch, whose packing then decides, and
    where max(..., 1) makes the fraction larger.  In a small minibatch it does so here: any u below 2 / T
    takes one token.  A minibatch without a candidate is left alone.
    """

    kind: ClassVar[str] = "clip_cov"
    command: ClassVar[Command] = Command(low=0.0, high=1.0, neutral=0.0, unit="fraction of tokens")

    covariance_low: float = 1.0
    """A candidate's covariance is above it [nats].  An absolute number, so it belongs to the scale of the
    advantages: 1 is for those divided by the group's std; under ``dr_grpo`` few tokens ever get there."""

    covariance_high: float = 5.0
    """A candidate's covariance is below it [nats]."""

    clip_low: float = 1.0
    """The objective's own ``clip_low``: a token with A < 0 and a ratio under 1 - clip_low has no gradient
    to take away and is no candidate.  1, the recipe's, is no bound; 0 to 1."""

    clip_high: float = 1.0
    """The objective's own ``clip_high``: likewise for A > 0 and a ratio above 1 + clip_high; at least 0."""

    def __post_init__(self) -> None:
        if not self.covariance_low < self.covariance_high:
            raise ValueError(
                f"covariance_high must be above covariance_low = {self.covariance_low}, "
                f"got {self.covariance_high}"
            )
        if not 0.0 <= self.clip_low <= 1.0:
            raise ValueError(f"clip_low must be between 0 and 1, got {self.clip_low}")
        if not self.clip_high >= 0.0:
            raise ValueError(f"clip_high must be at least 0, got {self.clip_high}")

    def weights(self, batch: TokenBatch, u: float, generator: Generator) -> Tensor:
        ratio = torch.exp(batch.logprobs - batch.old_logprobs)
        clipped = (batch.advantages > 0) & (ratio > 1.0 + self.clip_high)
        clipped |= (batch.advantages < 0) & (ratio < 1.0 - self.clip_low)
        terms = covariance(batch)
        within = (terms > self.covariance_low) & (terms < self.covariance_high)
        candidates = torch.nonzero(within & ~clipped).flatten()
        drawn = torch.randperm(len(candidates), generator=generator)[: max(int(u * len(terms)), 1)]
        weights = torch.ones_like(terms)
        weights[candidates[drawn.to(candidates.device)]] = 0.0
        return weights


def covariance(batch: TokenBatch) -> Tensor:
    """(log π - mean log π) · (A - mean A) of each token [T]: its term of the covariance over the batch."""
    return (batch.logprobs - batch.logprobs.mean()) * (batch.advantages - batch.advantages.mean())
