"""Lp-Reg: the command keeps up the unlikely but plausible tokens of wrong responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from policies.actuators.base import Command, LossActuator, Plan
from policies.statistics.batch import TokenBatch
from policies.statistics.vocabulary import MinP, VocabularyFilter

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_PENALTY = 10.0
"""Bound on k3.  Past it, where π_prox > 13.6 π, there is no gradient any more."""

LARGEST_GAP = 20.0
"""Bound on d before exp: beyond it k3 is at its own bound anyway, and exp could overflow."""


@dataclass(frozen=True, kw_only=True)
class LpReg(LossActuator):
    """Adds u · k3 to the loss of unlikely tokens with A < 0 that the policy still finds plausible.

        k3 = min(exp(d) - d - 1, 10),   d = log π_prox - log π                  arXiv 2510.03222, u = 1
        selected: the K = int(fraction · n) lowest log π of the n tokens with A < 0, only if K > 1;
                  of these, those with log π < log π_prox

    π_prox is the policy at the start of the update, cut to π(v) >= threshold · max π and renormalised (as
    the recipes' ``minp_old_log_prob``).  A token that was cut off has log π_prox near -80, so the second
    condition leaves noise alone and protects what is called reasoning sparks.  The gradient with respect to
    log π is u · (1 - π_prox / π) < 0: it pushes the token up.

    As CarlanLark/Lp-Reg-dev @33b27e2 (core_algos.py, dp_actor.py), of which these are the traps:
    - it *replaces* the PPO loss of a selected token by -A r + β k3; here k3 is added.  Under the recipe's
      bounds (clip_low 1.0, clip_high 9.0) a token with A < 0 has the loss -A r anyway, so the two are the
      same.  The recipe's dual clip of 10 is dead: at r > 10 a token keeps its gradient, so leave it out here;
    - means, n and K are per micro-batch there, over the whole minibatch here;
    - positives run through the same code with a fraction of 0; they are left out here;
    - the paper calls it a forward KL(π_prox, π); it is k3 at the sampled token, not the sum over V.

    Weak at r = 1: with Z the kept mass of π_prox the gradient there is u · (1 - 1 / Z), 0.1 at most for the
    usual Z of 0.9 to 1, against |A| near 1 (METHODS 5).  It grows once π has fallen below π_prox, in later
    steps on the batch, and is gone where π < π_prox / 13.6.
    """

    kind: ClassVar[str] = "lp_reg"
    command: ClassVar[Command] = Command(low=0.0, high=10.0, neutral=0.0, unit="loss per nat")

    fraction: float = 0.01
    """ρ, share of the tokens with A < 0 that are looked at, above 0 and at most 1: 0.01 for Qwen3-14B, 0.005
    for Qwen2.5-32B.  Below 2 / n nothing is ever selected."""

    threshold: float = 0.02
    """κ, probability relative to the likeliest token below which a token is noise; above 0, at most 1.  0.02
    in every recipe (the code's own default is 0.1)."""

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction <= 1.0:
            raise ValueError(f"fraction must be in (0, 1], got {self.fraction}")
        if not 0.0 < self.threshold <= 1.0:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")

    @property
    def vocabulary(self) -> VocabularyFilter:
        return MinP(threshold=self.threshold)

    def plan(self, batch: TokenBatch, u: float) -> Plan:
        assert batch.filtered_logprobs is not None, "lp_reg needs the log-probs of its vocabulary"
        negative = torch.nonzero(batch.advantages < 0).flatten()
        count = int(self.fraction * len(negative))
        lowest = negative[torch.argsort(batch.logprobs[negative], stable=True)][: count if count > 1 else 0]
        chosen = torch.zeros_like(batch.advantages, dtype=torch.bool)
        chosen[lowest] = True
        chosen &= batch.logprobs < batch.filtered_logprobs
        return {"weights": torch.where(chosen, batch.weights, 0.0)}

    def loss(self, tokens: TokenBatch, plan: Plan, u: float) -> Tensor:
        assert tokens.filtered_logprobs is not None, "lp_reg needs the log-probs of its vocabulary"
        d = (tokens.filtered_logprobs - tokens.logprobs).clamp(max=LARGEST_GAP)
        k3 = torch.clamp(torch.exp(d) - d - 1.0, -LARGEST_PENALTY, LARGEST_PENALTY)
        return u * plan["weights"] * k3
