"""KL coefficient: the command is the coefficient of the KL to a reference policy in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.actuators.base import Command, LossActuator, Plan
from policies.statistics.batch import TokenBatch
from policies.statistics.reference_kl import Estimator, check_estimator, kl_estimate

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KlCoefficient(LossActuator):
    """Adds u · w_t · k(log π, log π_ref) to the loss of a token.  GRPO, arXiv 2402.03300, equation 3: u = 0.04.

    w are the objective's own aggregation weights.  π_ref is ``policy.reference``: the policy that the run started
    from, unless another is named.  The pull is towards the reference, which raises entropy as long as the reference has
    more of it; at the start the two are one and the pull is 0.

    Two roads are not taken.  k1 in a loss: its gradient is ∇log π, of mean 0 whatever the KL, so it only adds noise
    (`kl_reward` has it).  The ratio π / π_old on the term (DeepSeek-V3.2), which would make it unbiased on later steps
    of a batch: GRPO, verl and TRL have none.
    """

    kind: ClassVar[str] = "kl_coefficient"
    command: ClassVar[Command] = Command(low=0.0, high=10.0, neutral=0.0, unit="loss per nat")
    needs_reference: ClassVar[bool] = True
    looks_at_policy: ClassVar[bool] = False

    estimator: Estimator = "k3"
    """``k3`` is GRPO's; ``k2`` has the gradient of KL(π, π_ref) itself while the policy is the one that sampled;
    ``k1`` is for the actuator ``kl_reward``."""

    def __post_init__(self) -> None:
        check_estimator(self.estimator)
        if self.estimator == "k1":
            raise ValueError(
                "estimator must be k2 or k3, got 'k1', whose gradient has mean 0 in a loss; take one of them, or the "
                "actuator kl_reward"
            )

    def plan(self, batch: TokenBatch, u: float) -> Plan:
        return {"weights": batch.weights}

    def loss(self, tokens: TokenBatch, plan: Plan, u: float) -> Tensor:
        assert tokens.reference_logprobs is not None, "kl_coefficient needs the log-probs of the reference"
        return u * plan["weights"] * kl_estimate(tokens.logprobs, tokens.reference_logprobs, self.estimator)
