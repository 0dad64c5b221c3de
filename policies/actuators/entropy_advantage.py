"""Entropy-shaped advantage: the command adds a share of a token's entropy to its advantage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from policies.actuators.base import AdvantageActuator, Command
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class EntropyAdvantage(AdvantageActuator):
    """A + min(u · H_t, |A| / κ), no gradient through H_t.  arXiv 2506.14758, u = 0.4 (GRPO) or 0.1 (PPO).

    With κ > 1 no advantage changes sign, and one of 0 stays 0.  H_t is that of the policy at the start of
    the update, for all its optimiser steps [code of the baseline in Linn3a/siren: of the current policy,
    with κ = 1, where a negative advantage can become 0].

    What it does to entropy is not promised.  H_t belongs to the state and not to the token that was sampled,
    so where the cap does not bind the bonus is a baseline, and its expected gradient is zero.  When it
    binds, the bonus is |A| / κ, which makes right responses weigh 1 + 1/κ and wrong ones 1 - 1/κ: that
    *lowers* entropy by the covariance theorem (METHODS 1.2), and more so the larger u is.  Give it a fixed
    command; a loop that expects more entropy from more of it may run away.
    """

    kind: ClassVar[str] = "entropy_advantage"
    command: ClassVar[Command] = Command(low=0.0, high=10.0, neutral=0.0, unit="advantage per nat")

    cap: float = 2.0
    """κ: the bonus is at most |A| / κ; at least 1, 2 published."""

    def __post_init__(self) -> None:
        if not self.cap >= 1.0:
            raise ValueError(f"cap must be at least 1 (below it advantages change sign), got {self.cap}")

    def advantages(self, batch: TokenBatch, u: float) -> Tensor:
        return batch.advantages + torch.minimum(u * batch.entropy, batch.advantages.abs() / self.cap)
