"""KL-Cov: the command pulls the few tokens of highest covariance back to where the update began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from policies.actuators.base import Command, LossActuator, Plan, UpdateFacts
from policies.actuators.clip_cov import covariance
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KlCov(LossActuator):
    """Adds u · |log π - log π_old| to the loss of the tokens of highest covariance.  KL-Cov, 2505.22617.

        cov_i = (log π_i - mean log π) · (A_i - mean A)          means over the T tokens of the minibatch
        selected: the K = max(1, int(fraction · T)) largest cov_i, signed; published u = 1

    Those tokens lower entropy most (METHODS 1.2); the pull undoes part of what they were moved.

    As verl's ``compute_policy_loss_kl_cov`` [code: PRIME-RL/Entropy-Mechanism-of-RL]: the term goes on top
    of -A r without any clip, so the preset opens the objective's bounds wide (clip_low 1, clip_high large);
    ``policy_gradient`` is not that objective, its gradient has no r.  Two differences: means and selection
    are over the minibatch, there over a micro-batch; and a token needs a covariance above 0, where the
    code takes K tokens in any case, arbitrary ones of a minibatch without advantages.

    Zero-gradient trap: |log r| has no slope at r = 1, so the first optimiser step on a batch is plain
    policy gradient, and with one step a batch the command never acts.
    """

    kind: ClassVar[str] = "kl_cov"
    command: ClassVar[Command] = Command(low=0.0, high=10.0, neutral=0.0, unit="loss per nat")

    fraction: float = 2e-3
    """Share of the tokens that are selected, above 0 and at most 0.1: 2e-3 for 7B models, 2e-4 for 32B.
    Not a percentage: the original ``k_percent: 0.2`` is 0.2 %, a fraction of 0.002."""

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction <= 0.1:
            raise ValueError(
                f"fraction must be in (0, 0.1], got {self.fraction}; "
                "it is a fraction and not a percentage: the published 0.2 % is 0.002"
            )

    def plan(self, batch: TokenBatch, u: float) -> Plan:
        terms = covariance(batch)
        ranked = torch.argsort(terms, descending=True, stable=True)
        selected = torch.zeros_like(terms, dtype=torch.bool)
        selected[ranked[: max(1, int(self.fraction * len(terms)))]] = True
        return {"weights": torch.where(selected & (terms > 0), batch.weights, 0.0)}

    def loss(self, tokens: TokenBatch, plan: Plan, u: float) -> Tensor:
        return u * plan["weights"] * (tokens.logprobs - tokens.old_logprobs).abs()

    def why_inert(self, facts: UpdateFacts) -> str | None:
        if facts.ratio_stays_at_one:
            return "with one optimiser step a batch the ratio is 1, where |log ratio| has no gradient"
        return None
