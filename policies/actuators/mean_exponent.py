"""Mean exponent: the command moves the weights of prompts from GRPO's towards MaxRL's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.actuators.base import AdvantageActuator, Command
from policies.advantages import grpo_over_maxrl
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor

LEAST, MOST = 0.1, 10.0
"""Bounds of the factor before its exponent: without them a group of nearly equal rewards outweighs a batch at u < 0."""


@dataclass(frozen=True, kw_only=True)
class MeanExponent(AdvantageActuator):
    """A · clip((std + 1e-6) / mean, 0.1, 10)^u of the group's rewards.  MaxRL, arXiv 2602.02710, is u = 1 over GRPO.

    Over the advantage ``grpo`` it is exactly ``maxrl`` with the exponent u, as long as the factor is within its
    bounds, so a loop drives the exponent; over another it is the same weight of a prompt.  The exponent as a command
    and the bounds are ours.  Rewards are those that were graded, whatever a reward actuator makes of them.  A group
    whose mean is not above 0, or whose rewards are all equal, stays as it is.

    For rewards of 0 and 1 its factor is about √((1 - p) / p)^u, within the bounds in groups of up to 99: more u moves
    weight from prompts with p above a half to those below.
    Direction: the rare responses of a prompt are its right ones where p is low, so more of their reward raises
    entropy, and the likely right ones of easy prompts are rewarded less, which raises it too (METHODS 1.2).  It
    lowers entropy where the few right responses of hard prompts are the likely ones.
    """

    kind: ClassVar[str] = "mean_exponent"
    command: ClassVar[Command] = Command(low=-1.0, high=1.0, neutral=0.0, unit="exponent")
    looks_at_policy: ClassVar[bool] = False

    def advantages(self, batch: TokenBatch, u: float) -> Tensor:
        weight = grpo_over_maxrl(batch.rewards, batch.group).clamp(LEAST, MOST) ** u
        return batch.advantages * weight.to(batch.advantages)[batch.response]
