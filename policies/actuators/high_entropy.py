"""80/20: the command is the fraction of tokens, those of lowest entropy, whose gradient is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from policies.actuators.base import Command, WeightActuator
from policies.statistics.batch import TokenBatch
from policies.statistics.responses import ROUNDING

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class HighEntropyTokens(WeightActuator):
    """Weight 1 where H_t is at or above the u-quantile of entropies, else 0.  arXiv 2506.01939, u = 0.8.

    The entropies ranked ceil(u · (n - 1)) or above (from 0) of n stay, which is H >= the interpolated
    quantile, as in TRL (``top_entropy_quantile`` = 1 - u); tokens equal to the threshold all stay.

    Denominators are those of all tokens, as in TRL (the mask is on the loss, the mean over the completion);
    so the objective shrinks with u, and Adam makes up for most of it.

    Direction: entropy rises with u where the dropped tokens lower it, which is the common case, likely
    tokens of right responses.  A batch whose likely tokens are mostly penalised moves the other way.  The
    first tokens to go are near certain and move entropy little, so a small u has no clear sign.
    Hazard: over a whole minibatch long and hard responses hold most of what stays.
    """

    kind: ClassVar[str] = "high_entropy"
    command: ClassVar[Command] = Command(low=0.0, high=1.0, neutral=0.0, unit="fraction of tokens")

    scope: Literal["minibatch", "response"] = "minibatch"
    """Whose quantile: ``minibatch`` as TRL; ``response`` takes the fraction from each response alike, as
    the masks of SIREN and Archer do."""

    def __post_init__(self) -> None:
        if self.scope not in ("minibatch", "response"):
            raise ValueError(f"scope must be 'minibatch' or 'response', got {self.scope!r}")

    def weights(self, batch: TokenBatch, u: float, generator: Generator) -> Tensor:
        if len(batch.entropy) == 0:
            return torch.ones_like(batch.entropy)
        segment = batch.response if self.scope == "response" else torch.zeros_like(batch.response)
        return (batch.entropy >= segment_quantile(batch.entropy, segment, u)[segment]).to(batch.entropy)


def segment_quantile(values: Tensor, segment: Tensor, u: float) -> Tensor:
    """The value ranked ceil(u · (n - 1)), from 0, in each segment; ``values`` has at least one entry."""
    order = torch.argsort(values, stable=True)
    order = order[torch.argsort(segment[order], stable=True)]
    sizes = torch.bincount(segment)
    rank = torch.ceil(u * (sizes - 1).double() - ROUNDING).clamp(min=0).long()
    place = sizes.cumsum(dim=0) - sizes + rank
    return values[order[place.clamp(0, len(values) - 1)]]  # a segment without values gives any, unread
