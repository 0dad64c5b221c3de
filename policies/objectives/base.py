"""The interface of an objective: a loss for each token, and metrics beside it.

A token's loss is summed with the weights of ``token_weights``, which hold every denominator, so nothing
here averages.  Per-token metrics come back beside the loss, detached and unreduced, for the same reason:
``reduce_metrics`` gives the same numbers on every cut of a batch into micro-batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import torch

from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor

Metrics: TypeAlias = "dict[str, Tensor]"
"""Detached, one value a token [T]; names that end in ``/max`` are reduced by maximum, others by mean."""

Bounds = tuple[float, float]
"""(low, high): the ratio is held inside [1 - low, 1 + high]."""


def check_bounds(clip_low: float, clip_high: float) -> None:
    """Refuse bounds that no ratio can meet."""
    if not 0.0 <= clip_low <= 1.0:
        raise ValueError(f"clip_low must be between 0 and 1, got {clip_low}")
    if not clip_high >= 0.0:
        raise ValueError(f"clip_high must be at least 0, got {clip_high}")


def check_dual_clip(dual_clip: float | None) -> None:
    """Refuse a cap on the ratio that is not above 1."""
    if dual_clip is not None and not dual_clip > 1.0:
        raise ValueError(f"dual_clip must be above 1, or null for none, got {dual_clip}")


class Objective(ABC):
    """A loss for each token.  Subclasses that hold the ratio inside bounds say so and give their own."""

    kind: ClassVar[str]
    has_bounds: ClassVar[bool] = False
    needs_ratio: ClassVar[bool] = False
    """Whether it is plain policy gradient, whatever its constants, while the ratio is 1: on-policy."""

    @property
    def bounds(self) -> Bounds | None:
        """The bounds as configured, for a RatioActuator to move; None where there are none."""
        return None

    @abstractmethod
    def loss(self, tokens: TokenBatch, bounds: Bounds | None = None) -> tuple[Tensor, Metrics]:
        """Loss and metrics of each token [T].

        Args:
            tokens: a micro-batch, whole responses; its ``logprobs`` with gradient.
            bounds: (low, high) in place of the objective's own; ignored by one without bounds.
        """


class BoundedObjective(Objective):
    """An objective that holds the ratio inside [1 - clip_low, 1 + clip_high]."""

    has_bounds: ClassVar[bool] = True

    clip_low: float
    clip_high: float

    @property
    def bounds(self) -> Bounds:
        return self.clip_low, self.clip_high


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
