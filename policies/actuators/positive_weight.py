"""Positive-advantage reweighting: the command takes weight from the tokens that are rewarded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.actuators.base import Command, WeightActuator
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class PositiveWeight(WeightActuator):
    """Weight λ = 1 - u where A > 0, 1 elsewhere.  Positive-advantage reweighting, arXiv 2511.05993.

    At u = 1 only wrong responses teach (NSR, 2506.01347); its W-REINFORCE is u = 0.9.  A response is mostly
    made of likely tokens, and rewarding them is what lowers entropy (METHODS 1.2); so less of it raises
    entropy, unless what was rewarded was unlikely.  Denominators stay, so the gradient shrinks with u.
    """

    kind: ClassVar[str] = "positive_weight"
    command: ClassVar[Command] = Command(low=0.0, high=1.0, neutral=0.0, unit="weight of A > 0")
    looks_at_policy: ClassVar[bool] = False

    def weights(self, batch: TokenBatch, u: float, generator: Generator) -> Tensor:
        return 1.0 - u * (batch.advantages > 0).to(batch.logprobs)
