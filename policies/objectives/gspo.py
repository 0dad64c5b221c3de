"""GSPO: the ratio of whole responses, clipped as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from policies.objectives.base import (
    BoundedObjective,
    Bounds,
    Metrics,
    check_bounds,
    clip_metrics,
    ratio_metrics,
)
from policies.statistics.batch import TokenBatch
from policies.statistics.responses import response_means

if TYPE_CHECKING:
    from torch import Tensor


def gspo(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    response: Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> Tensor:
    """max(-A s, -A clip(s, 1 - low, 1 + high)) [T].  GSPO, arXiv 2507.18071.

        s_i   = exp(mean over the response of log π - log π_old)
        s_i,t = sg(s_i) · π_t / sg(π_t)

    Every token of a response has the value of s_i, and the gradient -A s_i ∇ log π_t where it is not
    clipped; their mean over the response is -A ∇ s_i.  So ``aggregation: sequence_mean`` makes it the
    paper's loss, and advantages may still differ from token to token (its GSPO-token).
    """
    log_sequence_ratio = sequence_log_ratio(logprobs, old_logprobs, response)
    ratio = torch.exp(logprobs - logprobs.detach() + log_sequence_ratio)
    clipped = torch.clamp(ratio, 1.0 - clip_low, 1.0 + clip_high)
    return torch.maximum(-advantages * ratio, -advantages * clipped)


def sequence_log_ratio(logprobs: Tensor, old_logprobs: Tensor, response: Tensor) -> Tensor:
    """ln s of each token's response [T], a constant."""
    log_ratio = (logprobs - old_logprobs).detach()
    num_responses = int(response.max()) + 1 if len(response) else 0
    return response_means(log_ratio, response, num_responses)[response]


@dataclass(frozen=True, kw_only=True)
class Gspo(BoundedObjective):
    """Clipped surrogate on the ratio of the whole response, its length taken out.  Wants sequence_mean.

    The ratio is a mean over hundreds of tokens, so its bounds are far closer to 1 than PPO's: 3e-4 and 4e-4
    are the paper's by memory, unverified.  verl caps ln s at 10, which no bound lets matter.
    """

    kind: ClassVar[str] = "gspo"
    needs_ratio: ClassVar[bool] = True

    clip_low: float = 3e-4
    """The ratio of a response is held above 1 - clip_low; 0 to 1."""

    clip_high: float = 4e-4
    """The ratio of a response is held below 1 + clip_high; at least 0."""

    def __post_init__(self) -> None:
        check_bounds(self.clip_low, self.clip_high)

    def loss(self, tokens: TokenBatch, bounds: Bounds | None = None) -> tuple[Tensor, Metrics]:
        low, high = self.bounds if bounds is None else bounds
        loss = gspo(
            tokens.logprobs,
            tokens.old_logprobs,
            tokens.advantages,
            tokens.response,
            clip_low=low,
            clip_high=high,
        )
        log_ratio = sequence_log_ratio(tokens.logprobs, tokens.old_logprobs, tokens.response)
        metrics = ratio_metrics(tokens.logprobs, tokens.old_logprobs)
        return loss, metrics | clip_metrics(
            log_ratio, torch.zeros_like(log_ratio), tokens.advantages, (low, high)
        )
