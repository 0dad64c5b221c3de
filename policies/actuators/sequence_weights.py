"""EGSW: the command weighs the responses of a group by advantage and entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from policies.actuators.base import Command, WeightActuator
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class SequenceWeights(WeightActuator):
    """w = n · softmax over the group of (A + u · H) / temperature.  EGSW, arXiv 2503.22456; u is its α.

    ``trajectory``: A and H are a response's means, the softmax runs over the n responses of the group.
    ``step``: A and H are a token's, the softmax runs over the n responses that still have a token at that
    position (the paper pads to a common length; masked tokens have no part in the sum here).

    The published weights add up to 1, which against GRPO divides the learning rate by the group size; the
    factor n makes their mean 1.  They carry no gradient.  No official code was found, and neither the
    paper's α nor its temperature: the defaults here and in the presets are ours.

    Neutral is absence, not the softmax at u = 0: that one still holds A, and moves weight from wrong to
    right responses at once, for any u.  So the published form jumps at u = 0+, and that jump itself may
    lower entropy; a loop should work inside u > 0, or have ``advantage_scale`` 0, where w goes to 1.
    Direction: for u > 0 more u moves weight to high-entropy responses.  Entropy rises if a
    group's high-entropy responses raise it (unlikely tokens rewarded), and falls if they are wrong.
    """

    kind: ClassVar[str] = "sequence_weights"
    command: ClassVar[Command] = Command(low=0.0, high=10.0, neutral=0.0, unit="advantage per nat")

    mode: Literal["trajectory", "step"] = "trajectory"
    """Whether a response is weighed as a whole or position by position."""

    temperature: float = 1.0
    """P, above 0: a high one makes the weights equal.  Unpublished."""

    advantage_scale: float = 1.0
    """Factor on A in the exponent; 1 as published.  0 weighs by entropy alone, without the jump at 0."""

    def __post_init__(self) -> None:
        if self.mode not in ("trajectory", "step"):
            raise ValueError(f"mode must be 'trajectory' or 'step', got {self.mode!r}")
        if not self.temperature > 0.0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if not self.advantage_scale >= 0.0:
            raise ValueError(f"advantage_scale must be at least 0, got {self.advantage_scale}")

    def weights(self, batch: TokenBatch, u: float, generator: Generator) -> Tensor:
        scores = (self.advantage_scale * batch.advantages + u * batch.entropy) / self.temperature
        group = batch.group[batch.response]
        if self.mode == "step":
            longest = int(batch.position.max()) + 1 if len(group) else 0
            return softmax_of_mean_one(scores, group * longest + batch.position)
        lengths = batch.lengths
        means = torch.zeros_like(lengths, dtype=scores.dtype).index_add_(0, batch.response, scores) / lengths
        spoken = lengths > 0
        means[spoken] = softmax_of_mean_one(means[spoken], batch.group[spoken])
        return means[batch.response]


def softmax_of_mean_one(scores: Tensor, segment: Tensor) -> Tensor:
    """Softmax over the scores of each segment (any numbers), times how many there are; so its mean is 1."""
    sizes: Tensor
    _, segment, sizes = torch.unique(segment, return_inverse=True, return_counts=True)
    highest = torch.full(sizes.shape, -torch.inf, dtype=scores.dtype, device=scores.device)
    highest.scatter_reduce_(0, segment, scores, reduce="amax")
    raw = torch.exp(scores - highest[segment])
    total = torch.zeros_like(highest).index_add_(0, segment, raw)
    return raw * (sizes / total)[segment]
