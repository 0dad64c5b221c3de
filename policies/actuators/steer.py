"""STEER: the command takes weight from the tokens that would change entropy most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from policies.actuators.base import Command, WeightActuator
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class Steer(WeightActuator):
    """Weights between 1 - u and 1, lower where a token's push on entropy is larger.  STEER, 2510.10150.

        Ω = (A / π_old) · π (1 - π) (log π + H_old) = A · r · (1 - π) (log π + H_old)
        exponential:  w = exp(-k |Ω|),  k = -ln(1 - u) / max(max |Ω|, omega_floor)
        linear:       w = (1 + u) - 2u (|Ω| - min |Ω|) / (max |Ω| - min |Ω|);  1 where all |Ω| are equal

    Published: w_min 0.8, so u = 0.2, in both forms [code: zz-haooo/STEER, ``compute_token_weights``; its
    default is linear, its main script exponential].  Ω > 0 lowers entropy to first order, Ω < 0 raises it.
    H_old is the entropy at the start of the update, which the code stores and uses for all its steps.
    Minimum and maximum are over the minibatch; there over a micro-batch, and one outlier sets the scale of
    all.  The code's clamp of π_old at 1e-8 is left out: r is taken from the logarithms.

    Direction: the sign of Ω does not enter, so u slows entropy down, whichever way it goes.  It raises
    entropy against an update that lowers it, the case it was made for, and not against one that raises it.
    The linear form does not promise even that: |Ω| has a long tail, most tokens come out near 1 + u, and
    the update as a whole grows.
    """

    kind: ClassVar[str] = "steer"
    command: ClassVar[Command] = Command(low=0.0, high=1.0, neutral=0.0, unit="1 - lowest weight")

    mapping: Literal["exponential", "linear"] = "exponential"
    """From |Ω| to weights: ``exponential`` only takes weight away, ``linear`` keeps the middle at 1."""

    omega_floor: float = 0.02
    """Exponential form: a minibatch whose largest |Ω| is below it keeps its weights nearer to 1; above 0."""

    def __post_init__(self) -> None:
        if self.mapping not in ("exponential", "linear"):
            raise ValueError(f"mapping must be 'exponential' or 'linear', got {self.mapping!r}")
        if not self.omega_floor > 0.0:
            raise ValueError(f"omega_floor must be above 0, got {self.omega_floor}")

    def weights(self, batch: TokenBatch, u: float, generator: Generator) -> Tensor:
        if len(batch.logprobs) == 0:
            return torch.ones_like(batch.logprobs)
        size = entropy_push(batch).abs().nan_to_num(nan=0.0, posinf=0.0)
        low, high = size.aminmax()
        if self.mapping == "exponential":
            return (1.0 - u) ** (size / high.clamp(min=self.omega_floor))
        if low == high:
            return torch.ones_like(size)
        return 1.0 + u - 2.0 * u * (size - low) / (high - low)


def entropy_push(batch: TokenBatch) -> Tensor:
    """Ω [T] = A · r · (1 - π) (log π + H): above 0 where the update of that token lowers its entropy."""
    ratio = torch.exp(batch.logprobs - batch.old_logprobs)
    unlikely = 1.0 - batch.logprobs.exp()
    entropy = batch.entropy if batch.old_entropy is None else batch.old_entropy
    return batch.advantages * ratio * unlikely * (batch.logprobs + entropy)
