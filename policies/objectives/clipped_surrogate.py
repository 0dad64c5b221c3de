"""The clipped surrogate of PPO, with separate bounds and a dual clip."""

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


def clipped_surrogate(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> Tensor:
    """max(-A r, -A clip(r, 1 - low, 1 + high)) [T].  PPO, arXiv 1707.06347, equation 7.

    Separate bounds as in DAPO (2503.14476, clip-higher).  ``dual_clip`` c > 1 caps the loss of a negative
    advantage at -A c, which bounds what one runaway ratio can do (dual-clip PPO, 1912.09729).
    """
    ratio = torch.exp(logprobs - old_logprobs)
    clipped = torch.clamp(ratio, 1.0 - clip_low, 1.0 + clip_high)
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    if dual_clip is None:
        return loss
    return torch.where(advantages < 0, torch.minimum(loss, -advantages * dual_clip), loss)


@dataclass(frozen=True, kw_only=True)
class ClippedSurrogate(BoundedObjective):
    """PPO's clipped surrogate with separate bounds; 0.2 and 0.28 with dual clip 10 is DAPO's."""

    kind: ClassVar[str] = "clipped_surrogate"

    clip_low: float = 0.2
    """The ratio is held above 1 - clip_low; 0 to 1."""

    clip_high: float = 0.2
    """The ratio is held below 1 + clip_high; at least 0."""

    dual_clip: float | None = None
    """Cap on the ratio where the advantage is negative; above 1, null for no cap."""

    def __post_init__(self) -> None:
        check_bounds(self.clip_low, self.clip_high)
        check_dual_clip(self.dual_clip)

    def loss(self, tokens: TokenBatch, bounds: Bounds | None = None) -> tuple[Tensor, Metrics]:
        low, high = self.bounds if bounds is None else bounds
        loss = clipped_surrogate(
            tokens.logprobs,
            tokens.old_logprobs,
            tokens.advantages,
            clip_low=low,
            clip_high=high,
            dual_clip=self.dual_clip,
        )
        metrics = ratio_metrics(tokens.logprobs, tokens.old_logprobs)
        return loss, metrics | clip_metrics(
            tokens.logprobs, tokens.old_logprobs, tokens.advantages, (low, high)
        )
