"""CISPO: the ratio is a clipped weight, and no token loses its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from policies.objectives.base import BoundedObjective, Bounds, Metrics, check_bounds, ratio_metrics
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


def cispo(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float
) -> Tensor:
    """-sg(clip(r, 1 - low, 1 + high)) · A · log π [T].  CISPO, MiniMax-M1, arXiv 2506.13585, equation 4.

    REINFORCE with a truncated importance weight.  PPO's bound takes the gradient of a token away, here it
    only stops growing (or shrinking); it binds for either sign of A.
    """
    ratio = torch.exp(logprobs - old_logprobs).detach()
    return -torch.clamp(ratio, 1.0 - clip_low, 1.0 + clip_high) * advantages * logprobs


@dataclass(frozen=True, kw_only=True)
class Cispo(BoundedObjective):
    """Policy gradient weighted by the ratio, which is clipped and carries no gradient; all tokens learn.

    The paper leaves the lower bound off and gives no value for the upper one [memory]; verl's tests have a
    lower 10, which is off, and an upper 0.2.  Its bounds take no gradient away, so ``clip_fraction`` counts
    the tokens whose weight one of them changed.
    """

    kind: ClassVar[str] = "cispo"
    needs_ratio: ClassVar[bool] = True

    clip_low: float = 1.0
    """The weight is held above 1 - clip_low; 0 to 1, 1 is no lower bound."""

    clip_high: float = 0.2
    """The weight is held below 1 + clip_high; at least 0."""

    def __post_init__(self) -> None:
        check_bounds(self.clip_low, self.clip_high)

    def loss(self, tokens: TokenBatch, bounds: Bounds | None = None) -> tuple[Tensor, Metrics]:
        low, high = self.bounds if bounds is None else bounds
        loss = cispo(tokens.logprobs, tokens.old_logprobs, tokens.advantages, clip_low=low, clip_high=high)
        metrics = ratio_metrics(tokens.logprobs, tokens.old_logprobs)
        ratio = metrics["ratio"]
        return loss, metrics | {
            "clip_fraction/low": (ratio < 1.0 - low).to(ratio),
            "clip_fraction/high": (ratio > 1.0 + high).to(ratio),
        }
