"""KL in the reward: the command is what a nat of KL to a reference policy takes from a response's reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.actuators.base import Command, RewardActuator
from policies.statistics.batch import TokenBatch
from policies.statistics.reference_kl import Estimator, check_estimator, kl_estimate
from policies.statistics.responses import response_sums

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KlReward(RewardActuator):
    """reward - u · Σ_t k(log π_old, log π_ref) over the tokens of a response.

    InstructGPT (2203.02155, equation 2) with k1, whose sum is log π(y) - log π_ref(y).  There PPO spreads the penalty
    over the tokens by a value function; here it is of the response, and its group is the baseline, so what the
    siblings have in common falls out.  GRPO divides by the group's deviation: a group that is all right or all wrong
    then has advantages from the KL alone, at full size; ``dr_grpo`` and ``rloo`` leave it in proportion.

    A reward may become negative by it; `maxrl`, which divides by the mean reward, needs rewards of 0 and more.
    """

    kind: ClassVar[str] = "kl_reward"
    command: ClassVar[Command] = Command(low=0.0, high=10.0, neutral=0.0, unit="reward per nat")
    needs_reference: ClassVar[bool] = True
    looks_at_policy: ClassVar[bool] = False

    estimator: Estimator = "k1"
    """``k1`` alone makes the policy gradient that of the reward less u times the KL; ``k2`` and ``k3`` are never
    negative and vary less."""

    def __post_init__(self) -> None:
        check_estimator(self.estimator)

    def rewards(self, batch: TokenBatch, u: float) -> Tensor:
        assert batch.reference_logprobs is not None, "kl_reward needs the log-probs of the reference"
        kl = kl_estimate(batch.old_logprobs, batch.reference_logprobs, self.estimator)
        return batch.rewards - u * response_sums(kl, batch.response, batch.num_responses).to(batch.rewards)
