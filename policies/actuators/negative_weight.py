"""Negative weight: the command gives weight to the tokens that are penalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.actuators.base import Command, WeightActuator
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class NegativeWeight(WeightActuator):
    """Weight 1 + u where A < 0, 1 elsewhere.  One of the two modulations of AsymGRPO, arXiv 2604.04894.

    At u = -1 only right responses teach.  The other modulation is ``positive_weight``.  A response is mostly made of
    likely tokens, and penalising those raises entropy (METHODS 1.2); more u lowers it where what is penalised is
    unlikely.  For one prompt and in expectation over samples of the policy itself both signs have the same direction,
    so a weight on one is a larger step; across prompts it gives weight to those with a high pass rate p, about
    1 + u·p each.  On a batch of few samples one side pulls towards what was sampled, the other pushes away from it.
    Denominators stay, so the gradient grows with u.  Paper and code not seen: the form is that of
    ``positive_weight``.
    """

    kind: ClassVar[str] = "negative_weight"
    command: ClassVar[Command] = Command(low=-1.0, high=1.0, neutral=0.0, unit="weight of A < 0")
    looks_at_policy: ClassVar[bool] = False

    def weights(self, batch: TokenBatch, u: float, generator: Generator) -> Tensor:
        return 1.0 + u * (batch.advantages < 0).to(batch.logprobs)
