"""CE-GPPO: tokens beyond a bound keep a bounded share of their gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from policies.objectives.base import (
    BoundedObjective,
    Bounds,
    Metrics,
    check_bounds,
    check_dual_clip,
    clip_metrics,
    ratio_metrics,
)
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


def gradient_preserving(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    keep_low: float,
    keep_high: float,
    dual_clip: float | None = None,
) -> Tensor:
    """The ratio form of the policy gradient, with a bounded weight outside the bounds [T].  2509.20712.

        A < 0 and r < 1 - low:    -A · keep_low  · (1 - low)  · r / sg(r)      gradient -A · keep_low (1 - low)
        A > 0 and r > 1 + high:   -A · keep_high · (1 + high) · r / sg(r)      gradient -A · keep_high (1 + high)
        otherwise:                -A · r                                       gradient -A · r

    With keep 0 the gradient is PPO's.  ``dual_clip`` as in ``clipped_surrogate``.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    one = torch.exp(logprobs - logprobs.detach())
    below = (advantages < 0) & (ratio < 1.0 - clip_low)
    above = (advantages > 0) & (ratio > 1.0 + clip_high)
    weight = torch.where(below, keep_low * (1.0 - clip_low) * one, ratio)
    weight = torch.where(above, keep_high * (1.0 + clip_high) * one, weight)
    loss = -advantages * weight
    if dual_clip is None:
        return loss
    return torch.where(advantages < 0, torch.minimum(loss, -advantages * dual_clip), loss)


@dataclass(frozen=True, kw_only=True)
class GradientPreserving(BoundedObjective):
    """Clipped surrogate whose clipped tokens keep a scaled gradient.  CE-GPPO, arXiv 2509.20712.

    Beyond the upper bound are rewarded unlikely tokens, whose gradient raises entropy; beyond the lower one
    penalised unlikely tokens, whose gradient lowers it.  PPO drops both.  The paper's β1 and β2 are
    ``keep_low`` and ``keep_high`` [code: Kwai-Klear/CE-GPPO, README and core_algos.py].  Its dual clip of 3
    (``clip_ratio_c``; the recipe's own value was not looked up) is off by default here.
    """

    kind: ClassVar[str] = "gradient_preserving"
    needs_ratio: ClassVar[bool] = True

    clip_low: float = 0.2
    """A penalised token below 1 - clip_low has keep_low of the gradient at the bound; 0 to 1."""

    clip_high: float = 0.28
    """A rewarded token above 1 + clip_high has keep_high of the gradient at the bound; at least 0."""

    keep_low: float = 0.5
    """β1, at least 0: 0.5 for 1.5B, 0.75 for 7B (0.25 or 0.75 as the function's own default)."""

    keep_high: float = 1.0
    """β2, at least 0; 1 published."""

    dual_clip: float | None = None
    """Cap on the ratio where the advantage is negative; above 1, null for no cap."""

    def __post_init__(self) -> None:
        check_bounds(self.clip_low, self.clip_high)
        if not self.keep_low >= 0.0:
            raise ValueError(f"keep_low must be at least 0, got {self.keep_low}")
        if not self.keep_high >= 0.0:
            raise ValueError(f"keep_high must be at least 0, got {self.keep_high}")
        check_dual_clip(self.dual_clip)

    def loss(self, tokens: TokenBatch, bounds: Bounds | None = None) -> tuple[Tensor, Metrics]:
        low, high = self.bounds if bounds is None else bounds
        loss = gradient_preserving(
            tokens.logprobs,
            tokens.old_logprobs,
            tokens.advantages,
            clip_low=low,
            clip_high=high,
            keep_low=self.keep_low,
            keep_high=self.keep_high,
            dual_clip=self.dual_clip,
        )
        metrics = ratio_metrics(tokens.logprobs, tokens.old_logprobs)
        return loss, metrics | clip_metrics(
            tokens.logprobs, tokens.old_logprobs, tokens.advantages, (low, high)
        )
