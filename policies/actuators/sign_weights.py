"""EntroPIC's sign weights: reward and penalty of the likely tokens, traded against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from policies.actuators.base import Command, LossActuator, Plan
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SignWeights(LossActuator):
    """Adds u · r · |A| to the loss of likely tokens, those with π > 0.95.  EntroPIC, arXiv 2511.15248.

    On such a token a positive advantage then weighs 1 - u and a negative one 1 + u: likely tokens are
    rewarded less and penalised more, and by the covariance theorem (METHODS 1.2) both raise entropy.
    The paper's α is -u, and its error has the opposite sign too.  r = π / π_old is not clipped here,
    on-policy (r = 1 in value, not in gradient) and off-policy alike [code: yk7333/EntroPIC @2470730].

    The command has no hold on a minibatch whose advantages are all 0, or that has no likely token.
    """

    kind: ClassVar[str] = "sign_weights"
    command: ClassVar[Command] = Command(low=-1.0, high=1.0, neutral=0.0, unit="weight of |advantage|")

    probability_threshold: float = 0.95
    """Tokens with a probability above it are selected; at least 0, below 1."""

    denominator: Literal["selected", "all"] = "selected"
    """``selected``, as published: under token_mean the added term is divided by the number of selected
    tokens, so that one of them weighs more than 1 ± u, by the ratio of all tokens to those (1.2 to 1.5
    where 70 to 85 % are selected).  ``all``: divided as the objective is, so that 1 ± u is exact.  Either
    way counted over the whole minibatch; the published code counts in a micro-batch, which makes its
    result depend on packing."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability_threshold < 1.0:
            raise ValueError(f"probability_threshold must be in [0, 1), got {self.probability_threshold}")
        if self.denominator not in ("selected", "all"):
            raise ValueError(f"denominator must be 'selected' or 'all', got {self.denominator!r}")

    def plan(self, batch: TokenBatch, u: float) -> Plan:
        likely = batch.logprobs.exp() > self.probability_threshold
        weights = torch.where(likely, batch.weights, 0.0)
        if self.denominator == "selected" and (selected := weights.sum()) > 0.0:
            weights = weights * (batch.weights.sum() / selected)
        return {"weights": weights}

    def loss(self, tokens: TokenBatch, plan: Plan, u: float) -> Tensor:
        ratio = torch.exp(tokens.logprobs - tokens.old_logprobs)
        return u * plan["weights"] * ratio * tokens.advantages.abs()
