"""Decorrelated advantage: the command takes from each token's advantage a share of its log-probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from policies.actuators.base import AdvantageActuator, Command
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DecorrelatedAdvantage(AdvantageActuator):
    """A - u · (log π - its mean), no gradient through log π.

        both:      all tokens            REPO, arXiv 2603.11682: A - β L, L the centred log π
        positive:  tokens with A > 0     differential smoothing, arXiv 2511.19942: right responses alone

    Cov(log π, A) is what lowers entropy (METHODS 1.2), and this takes u · Var(log π) out of it; so unlikely tokens
    gain and likely ones lose, and more u raises entropy.  log π is that of the policy at the start of the update, and
    the mean is over the chosen tokens of the batch, so that nothing is added on average.  Without the mean the push
    would be a positive one on every token that was sampled.

    Forms from notes (METHODS 8.15) and a survey, unverified.  Not here: REPO-R, A (1 ∓ u log π), which keeps signs;
    and the push of differential smoothing on wrong responses, which is the opposite one.  With ``both``, a group
    without an advantage gets one; with ``positive`` a large u can turn the sign of likely tokens.
    """

    kind: ClassVar[str] = "decorrelated_advantage"
    command: ClassVar[Command] = Command(low=-1.0, high=1.0, neutral=0.0, unit="advantage per nat")
    looks_at_policy: ClassVar[bool] = False

    sides: Literal["positive", "both"] = "both"
    """Tokens whose advantage is moved: those with A > 0, or all."""

    def __post_init__(self) -> None:
        if self.sides not in ("positive", "both"):
            raise ValueError(f"sides must be 'positive' or 'both', got {self.sides!r}")

    def advantages(self, batch: TokenBatch, u: float) -> Tensor:
        A = batch.advantages
        chosen = A > 0 if self.sides == "positive" else torch.ones_like(A, dtype=torch.bool)
        if not chosen.any():
            return A
        logprobs = batch.old_logprobs
        return torch.where(chosen, A - u * (logprobs - logprobs[chosen].mean()), A)
