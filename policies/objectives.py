"""Objectives: from log-probabilities and advantages to a loss for each token.

A token's loss is summed with the weights of ``token_weights``, which hold every denominator, so nothing
here averages.  Per-token metrics come back beside the loss, detached and unreduced, for the same reason:
``reduce_metrics`` gives the same numbers on every cut of a batch into micro-batches.

An objective is a frozen dataclass whose fields are its constants; its mathematics is a pure function
above it.  r = π / π_old is the ratio at the sampled token, A the advantage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

Aggregation = Literal["token_mean", "sequence_mean", "fixed_length"]

Metrics = dict[str, Tensor]
"""Detached, one value a token [T]; names that end in ``/max`` are reduced by maximum, others by mean."""

Bounds = tuple[float, float]
"""(low, high): the ratio is held inside [1 - low, 1 + high]."""


# Aggregation ------------------------------------------------------------------------------------------


def token_weights(
    response: Tensor,
    num_responses: int,
    mode: Aggregation,
    *,
    max_tokens: int | None = None,
    denominator: float | None = None,
) -> Tensor:
    """Weight of each token [T] in the loss of a minibatch: its share over the ``denominator``.

    =================  ================  ==================================  =======================
    mode               share of a token  denominator                         source
    =================  ================  ==================================  =======================
    token_mean         1                 number of tokens                    DAPO, arXiv 2503.14476
    sequence_mean      1 / length        number of responses with a token    GRPO, arXiv 2402.03300
    fixed_length       1 / max_tokens    number of responses                 Dr. GRPO, 2503.20783
    =================  ================  ==================================  =======================

    A response without tokens has no loss; under ``sequence_mean`` it is not counted either, so that the
    weights add up to 1 as they do under ``token_mean``.  (GRPO as written divides by the group size and
    meets no empty response.)  Under ``fixed_length`` it is counted: that denominator is a constant.

    Args:
        response: [T] int64, the response a token belongs to, 0..num_responses-1.
        num_responses: N, those without tokens included.
        mode: as in the table.
        max_tokens: longest response there can be; ``fixed_length`` needs it.
        denominator: instead of this minibatch's own, for a minibatch spread over ranks: the sum of their
            ``weight_denominator``, divided by the number of ranks where gradients are averaged over them.
    """
    if denominator is None:
        denominator = weight_denominator(response, num_responses, mode)
    share = torch.ones(response.shape, device=response.device)
    if mode == "sequence_mean":
        share = 1.0 / torch.bincount(response, minlength=num_responses)[response]
    elif mode == "fixed_length":
        if max_tokens is None or max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1 for 'fixed_length', got {max_tokens}")
        share = share / max_tokens
    return share / max(denominator, 1.0)


def weight_denominator(response: Tensor, num_responses: int, mode: Aggregation) -> float:
    """What the shares of tokens are divided by; adds up over ranks."""
    if mode == "token_mean":
        return float(len(response))
    if mode == "sequence_mean":
        return float((torch.bincount(response, minlength=num_responses) > 0).sum())
    if mode == "fixed_length":
        return float(num_responses)
    raise ValueError(f"mode must be 'token_mean', 'sequence_mean' or 'fixed_length', got {mode!r}")


# Per-token losses -------------------------------------------------------------------------------------


def policy_gradient(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """-A log π [T], whose gradient is REINFORCE's: -A ∇ log π.

    The ratio form -A r has this gradient times r, so the two are one on the first optimiser step of a
    batch; off-policy it is ``clipped_surrogate`` with bounds wide open (low 1, high inf).
    """
    return -advantages * logprobs


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


# Metrics ----------------------------------------------------------------------------------------------


def ratio_metrics(logprobs: Tensor, old_logprobs: Tensor) -> Metrics:
    """Distance from the policy that was sampled, a value a token [T].

    ``approx_kl`` is r - 1 - ln r at r = π / π_old: non-negative, and under tokens of π_old its mean is
    KL(π_old, π) (k3 of joschu.net/blog/kl-approx.html).
    """
    log_ratio = (logprobs - old_logprobs).detach()
    ratio = log_ratio.exp()
    return {"approx_kl": ratio - 1.0 - log_ratio, "ratio": ratio, "ratio/max": ratio}


def clip_metrics(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, bounds: Bounds) -> Metrics:
    """1 where a bound took the gradient away [T]: low needs A < 0, high needs A > 0."""
    ratio = torch.exp(logprobs - old_logprobs).detach()
    low = (advantages < 0) & (ratio < 1.0 - bounds[0])
    high = (advantages > 0) & (ratio > 1.0 + bounds[1])
    return {"clip_fraction/low": low.to(ratio), "clip_fraction/high": high.to(ratio)}


def reduce_metrics(parts: Sequence[Metrics]) -> dict[str, float]:
    """Metrics of all micro-batches to one number each: the token mean, or the maximum; nan without tokens."""
    reduced = {}
    for name in parts[0] if parts else ():
        values = torch.cat([part[name] for part in parts]).double()
        if not len(values):
            reduced[name] = float("nan")
        else:
            reduced[name] = float(values.max() if name.endswith("/max") else values.mean())
    return reduced


# Objectives -------------------------------------------------------------------------------------------


class Objective(ABC):
    """A loss for each token.  Subclasses that hold the ratio inside bounds say so and give their own."""

    kind: ClassVar[str]
    has_bounds: ClassVar[bool] = False

    @property
    def bounds(self) -> Bounds | None:
        """The bounds as configured, for a RatioActuator to move; None where there are none."""
        return None

    @abstractmethod
    def loss(
        self,
        logprobs: Tensor,
        old_logprobs: Tensor,
        advantages: Tensor,
        response: Tensor,
        bounds: Bounds | None = None,
    ) -> tuple[Tensor, Metrics]:
        """Loss and metrics of each token [T].

        Args:
            logprobs: [T] log π of the sampled tokens, with gradient.
            old_logprobs: [T] the same at the start of the update.
            advantages: [T].
            response: [T] int64, the response a token belongs to; a micro-batch holds whole responses.
            bounds: (low, high) in place of the objective's own; ignored by one without bounds.
        """


@dataclass(frozen=True, kw_only=True)
class PolicyGradient(Objective):
    """Plain policy gradient, -A log π: no ratio, no bounds."""

    kind: ClassVar[str] = "policy_gradient"

    def loss(
        self,
        logprobs: Tensor,
        old_logprobs: Tensor,
        advantages: Tensor,
        response: Tensor,
        bounds: Bounds | None = None,
    ) -> tuple[Tensor, Metrics]:
        return policy_gradient(logprobs, advantages), ratio_metrics(logprobs, old_logprobs)


@dataclass(frozen=True, kw_only=True)
class ClippedSurrogate(Objective):
    """PPO's clipped surrogate with separate bounds; 0.2 and 0.28 with dual clip 10 is DAPO's."""

    kind: ClassVar[str] = "clipped_surrogate"
    has_bounds: ClassVar[bool] = True

    clip_low: float = 0.2
    """The ratio is held above 1 - clip_low; 0 to 1."""

    clip_high: float = 0.2
    """The ratio is held below 1 + clip_high; at least 0."""

    dual_clip: float | None = None
    """Cap on the ratio where the advantage is negative; above 1, null for no cap."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.clip_low <= 1.0:
            raise ValueError(f"clip_low must be between 0 and 1, got {self.clip_low}")
        if not self.clip_high >= 0.0:
            raise ValueError(f"clip_high must be at least 0, got {self.clip_high}")
        if self.dual_clip is not None and not self.dual_clip > 1.0:
            raise ValueError(f"dual_clip must be above 1, or null for none, got {self.dual_clip}")

    @property
    def bounds(self) -> Bounds:
        return self.clip_low, self.clip_high

    def loss(
        self,
        logprobs: Tensor,
        old_logprobs: Tensor,
        advantages: Tensor,
        response: Tensor,
        bounds: Bounds | None = None,
    ) -> tuple[Tensor, Metrics]:
        low, high = self.bounds if bounds is None else bounds
        loss = clipped_surrogate(
            logprobs, old_logprobs, advantages, clip_low=low, clip_high=high, dual_clip=self.dual_clip
        )
        metrics = ratio_metrics(logprobs, old_logprobs)
        return loss, metrics | clip_metrics(logprobs, old_logprobs, advantages, (low, high))


OBJECTIVES: dict[str, type[Objective]] = {
    objective.kind: objective for objective in (PolicyGradient, ClippedSurrogate)
}
