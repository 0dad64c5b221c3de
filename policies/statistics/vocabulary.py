"""Parts of the vocabulary: statistics of the distribution cut to its plausible tokens, renormalised.

A filter looks at the logits of a token's distribution and says which entries stay.  No gradient goes
through that choice, only through the probabilities of what stays.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class VocabularyFilter(ABC):
    """Selects the entries of a distribution that stay."""

    @abstractmethod
    def keep(self, shifted: Tensor, num_masked: int = 0) -> Tensor:
        """Mask [c, V] of what stays, given logits [c, V] minus their maximum (so the best is 0).

        ``num_masked`` of the entries of each row are -inf, and no part of the vocabulary: ids without a token.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class MinP(VocabularyFilter):
    """Keeps v with π(v) >= threshold · max π: the proxy of Lp-Reg (2510.03222)."""

    threshold: float

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")

    def keep(self, shifted: Tensor, num_masked: int = 0) -> Tensor:
        return shifted >= math.log(self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopP(VocabularyFilter):
    """Keeps the fewest likeliest entries that hold at least ``mass`` of the probability (SIREN, 2509.25133)."""

    mass: float

    def __post_init__(self) -> None:
        if not 0.0 < self.mass <= 1.0:
            raise ValueError(f"mass must be in (0, 1], got {self.mass}")

    def keep(self, shifted: Tensor, num_masked: int = 0) -> Tensor:
        ranked, order = torch.softmax(shifted, dim=1).sort(dim=1, descending=True)
        before = ranked.cumsum(dim=1) - ranked
        return torch.zeros_like(shifted, dtype=torch.bool).scatter_(1, order, before < self.mass)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropLowest(VocabularyFilter):
    """Drops the lowest ``share`` of the entries by logit (AEnt's clamped entropy, 2509.03493)."""

    share: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.share < 1.0:
            raise ValueError(f"share must be in [0, 1), got {self.share}")

    def keep(self, shifted: Tensor, num_masked: int = 0) -> Tensor:
        V = shifted.shape[1] - num_masked
        num_kept = V - int(self.share * V)
        kept = shifted.topk(num_kept, dim=1).indices
        return torch.zeros_like(shifted, dtype=torch.bool).scatter_(1, kept, True)
