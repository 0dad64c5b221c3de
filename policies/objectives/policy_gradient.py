"""Plain policy gradient: REINFORCE, without a ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.objectives.base import Bounds, Metrics, Objective, ratio_metrics
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


def policy_gradient(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """-A log π [T], whose gradient is REINFORCE's: -A ∇ log π.

    The ratio form -A r has this gradient times r, so the two are one on the first optimiser step of a
    batch; off-policy it is ``clipped_surrogate`` with bounds wide open (low 1, high inf).
    """
    return -advantages * logprobs


@dataclass(frozen=True, kw_only=True)
class PolicyGradient(Objective):
    """Plain policy gradient, -A log π: no ratio, no bounds."""

    kind: ClassVar[str] = "policy_gradient"

    def loss(self, tokens: TokenBatch, bounds: Bounds | None = None) -> tuple[Tensor, Metrics]:
        loss = policy_gradient(tokens.logprobs, tokens.advantages)
        return loss, ratio_metrics(tokens.logprobs, tokens.old_logprobs)
