"""What a response that is too long, or was cut, is worth: DAPO's soft penalty, and the treatment of truncated ones."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Tensor

Truncated = Literal["keep", "mask", "zero"]
"""``keep``: as graded.  ``mask``: no loss, but its reward counts in its group.  ``zero``: its reward is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlong:
    """A penalty on the last tokens before the limit.  DAPO, arXiv 2503.14476, equation 13 (soft overlong punishment).

        0                                            where |y| <= L - B
        -penalty · (|y| - (L - B)) / B               where L - B < |y| <= L

    L is the longest response there can be and B the buffer; it is added to the reward.  The paper has a third line, -1
    beyond L, for responses that are generated past the limit and cut after; here generation ends at L, where the second
    line has come to -penalty.  DAPO: L = 20480, B = 4096, penalty 1 for rewards of -1 and 1; for rewards of 0 and 1 half
    of it is the same share.
    """

    buffer_tokens: int
    """B, tokens before the limit in which the penalty rises; below the longest response."""

    penalty: float = 1.0
    """What a response at the limit loses [reward]."""

    def __post_init__(self) -> None:
        if self.buffer_tokens < 1:
            raise ValueError(f"buffer_tokens must be >= 1, got {self.buffer_tokens}")
        if not 0 < self.penalty < inf:
            raise ValueError(f"penalty must be > 0 and finite, got {self.penalty}")

    def on(self, lengths: Tensor, max_tokens: int) -> Tensor:
        """What is added to the reward of each response [N], 0 or less, for its length [N, tokens]."""
        beyond = (lengths - (max_tokens - self.buffer_tokens)).clamp(min=0, max=self.buffer_tokens)
        return -self.penalty * beyond / self.buffer_tokens


def length_rewards(
    rewards: Tensor,
    truncated: Tensor,
    lengths: Tensor,
    *,
    treatment: Truncated,
    overlong: Overlong | None,
    max_tokens: int,
) -> Tensor:
    """The rewards [N] that advantages are made from, of those that were graded.

    Args:
        rewards: [N] as graded.
        truncated: [N] of bool, cut at the limit.
        lengths: [N] the policy's own tokens.
        treatment: of truncated responses.
        overlong: penalty on the length, on top.
        max_tokens: the longest response there can be, of an episode all its turns.
    """
    if treatment == "zero":
        rewards = torch.where(truncated, 0.0, rewards)
    if overlong is not None:
        rewards = rewards + overlong.on(lengths, max_tokens).to(rewards)
    return rewards
