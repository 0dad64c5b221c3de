"""ERA's logit activation: the update sees a sharper policy where a rewarded response has little entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from policies.actuators.base import Command, LogitActuator
from policies.statistics.batch import TokenBatch
from policies.statistics.responses import top_means

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LogitActivation(LogitActuator):
    """Logits times u, advantage divided by u, in the update of right responses.  ERA, arXiv 2510.08549.

        A > 0 and H_resp < low_nats:    z' = u · z,   A' = A / u         published u = k = 2
        A > 0 and H_resp > high_nats:   z' = z / u,   A' = u · A
        otherwise:                      z' = z,       A' = A
        H_resp = mean of the max(1, floor(0.2 · length)) largest token entropies of the response

    The gradient at the raw logits is A · (e_a - softmax(u z)): the sharper π' is already sure of a likely
    token and pushes it less, so the policy that samples, the raw one, keeps its entropy.  H_resp is of the
    raw policy and only compared, so no gradient goes through it.

    The command is k itself.  1 is neutral, above it entropy is raised where it is below the band and
    lowered where it is above; the actuator has a band of its own and wants no loop but an open one.

    Reference code: xtqqwq/ERA-LLM @b34cb58 and nothingbutbut/era @4b7320b (dp_actor.py), METHODS 4.
    - The paper speaks of the forking tokens; both scale every token of a qualifying response, as here.
    - A' is the paper's, always on here (code: ``adv_scale``, off in the shipped top-k script, and without
      the test A > 0 in the first of the two repositories).
    - Suspected bug there, by reading: advantages pass through an int64 tensor and are truncated toward 0, so
      only A >= 1 triggers.  Not copied; compare trigger rates before comparing with published numbers.
    - The script's ``topk`` variant (log-probs over 20 logits) is not here.
    """

    kind: ClassVar[str] = "logit_activation"
    command: ClassVar[Command] = Command(low=0.2, high=5.0, neutral=1.0, unit="times the logits")

    low_nats: float = 0.45
    """ω_low: below this H_resp a right response is scaled by u; at least 0 [nats/token]."""

    high_nats: float = 3.0
    """ω_high: above this H_resp it is scaled by 1/u; above low_nats [nats/token]."""

    def __post_init__(self) -> None:
        if not self.low_nats >= 0.0:
            raise ValueError(f"low_nats must be at least 0, got {self.low_nats}")
        if not self.low_nats < self.high_nats:
            raise ValueError(f"high_nats must be above low_nats = {self.low_nats}, got {self.high_nats}")

    def scale(self, batch: TokenBatch, u: float) -> Tensor:
        spread = top_means(batch.entropy, batch.response, batch.num_responses)[batch.response]
        rewarded = batch.advantages > 0
        scale = torch.ones_like(batch.advantages)
        scale[rewarded & (spread < self.low_nats)] = u
        scale[rewarded & (spread > self.high_nats)] = 1.0 / u
        return scale
