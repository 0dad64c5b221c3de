"""Advantages from the rewards of a group: how much better a response is than its siblings.

Every function takes ``rewards`` [N] and ``group`` [N] (int64, the prompt that each response answers; any
numbers, in any order) and gives advantages [N].  Those with a mean for a baseline sum to zero over a group.
A group whose rewards are all equal, and so a group of one, gives exact zeros: it holds no comparison.  (verl
gives a group of one A = r under GRPO and RLOO alike; that is a reward without a baseline, so it is not taken.)

The part that a campaign names is a frozen dataclass at the end, whose fields are its constants.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from policies.best_of_k import Scale, check_shapes, pass_k

if TYPE_CHECKING:
    from torch import Tensor

STD_EPSILON = 1e-6
"""Added to the standard deviation in GRPO [verl core_algos]."""

_ROUNDING = 1e-9
"""Taken off before a rank is rounded up: 0.07 · 100 is 7.000000000000001."""


def grpo(rewards: Tensor, group: Tensor) -> Tensor:
    """A_i = (r_i - mean) / (std + 1e-6), std unbiased.  GRPO, arXiv 2402.03300, section 4.1.2.

    The paper writes ``std`` without saying which; the unbiased one (n - 1) is what verl and TRL compute.
    """
    centred, size = _centred(rewards, group)
    return centred / (_std(centred, size, group) + STD_EPSILON)


def dr_grpo(rewards: Tensor, group: Tensor) -> Tensor:
    """A_i = r_i - mean.  Dr. GRPO, arXiv 2503.20783: no std, so no bias between prompts."""
    centred, _ = _centred(rewards, group)
    return centred


def rloo(rewards: Tensor, group: Tensor) -> Tensor:
    """A_i = r_i - mean of the others = n / (n - 1) · (r_i - mean).  RLOO, arXiv 2402.14740."""
    centred, size = _centred(rewards, group)
    return centred * size / (size - 1).clamp(min=1)


def maxrl(rewards: Tensor, group: Tensor, exponent: float = 1.0) -> Tensor:
    """A_i = (r_i - mean) / ((std + 1e-6)^(1 - x) · mean^x).  MaxRL, arXiv 2602.02710, is x = 1; for
    rewards >= 0 GRPO is x = 0.

    For rewards of 0 and 1 and a share p of successes, std is about √(p (1 - p)): a success on a hard prompt
    weighs 1/p under MaxRL, 1/√p under GRPO.  The exponent between them, on a geometric scale, is ours.  A group
    whose mean is not above 0 gives zeros, as the code's does.
    """
    centred, size = _centred(rewards, group)
    mean = _group_sum(rewards, group) / size
    known = mean > 0.0
    scale = (_std(centred, size, group) + STD_EPSILON) ** (1.0 - exponent) * mean.where(
        known, 1.0
    ) ** exponent
    return torch.where(known, centred / scale, 0.0)


def grpo_over_maxrl(rewards: Tensor, group: Tensor) -> Tensor:
    """(std + 1e-6) / mean of each response's group [N]: what takes a GRPO advantage to MaxRL's.

    1 where the mean is not above 0, and where the std is no more than the 1e-6 that stands in for it.
    """
    centred, size = _centred(rewards, group)
    mean, std = _group_sum(rewards, group) / size, _std(centred, size, group)
    known = (mean > 0.0) & (std > STD_EPSILON)
    return torch.where(known, (std + STD_EPSILON) / mean.where(known, 1.0), 1.0)


def uniform_share(rewards: Tensor, group: Tensor) -> float:
    """Share of the groups whose rewards are all equal, and whose advantages are zero for that; nan without any."""
    there = torch.bincount(group) > 0
    return 1.0 - (_differs(rewards, group)[there].double().mean().item() if there.any() else math.nan)


def uniform_groups(rewards: Tensor, group: Tensor) -> Tensor:
    """Whether all rewards of each response's group are equal [N] of bool.  DAPO (2503.14476) drops such groups."""
    return ~_differs(rewards, group)[group]


def _differs(rewards: Tensor, group: Tensor) -> Tensor:
    """Whether the rewards of each group differ, of those without a response too: no."""
    centred, _ = _centred(rewards, group)
    differs = torch.zeros(_num_groups(group), dtype=torch.bool, device=group.device)
    differs[group[centred != 0]] = True
    return differs


Interpolation = Literal["inverted_cdf", "linear"]


def quantile(
    rewards: Tensor, group: Tensor, quantile: float, interpolation: Interpolation = "inverted_cdf"
) -> Tensor:
    """A_i = (r_i - Q) / (std + 1e-6), Q the quantile of the group's rewards.  QAE, arXiv 2509.22611.

    For rewards of 0 and 1 and a share p of successes, the paper's rule is Q = 0 where p <= 1 - quantile, so
    that only successes are rewarded, and else Q = 1, so that only failures are penalised.  This is the
    ``inverted_cdf``, the least reward that this share of the group does not exceed.  ``linear`` is what
    ``torch.quantile`` does in the code: near p = 1 - quantile it gives a Q between 0 and 1, and a whole
    group with advantages.

    Divided by the unbiased std as GRPO is; that the paper keeps it is from memory, unverified.
    """
    centred, size = _centred(rewards, group)
    order = torch.argsort(rewards, stable=True)
    order = order[torch.argsort(group[order], stable=True)]  # by group, lowest reward first
    counts = torch.bincount(group)
    first = counts.cumsum(0) - counts
    if interpolation == "inverted_cdf":
        rank = (torch.ceil(quantile * counts.double() - _ROUNDING) - 1).clamp(min=0)
    else:
        rank = quantile * (counts - 1).clamp(min=0).double()
    last = (first + counts - 1).clamp(min=0)

    def ranked(place: Tensor) -> Tensor:
        """The reward ranked ``place`` in each group; any where the group is empty."""
        return rewards[order[torch.minimum(first + place.long(), last)]] if len(order) else rewards

    low, high = ranked(rank.floor()), ranked(rank.ceil())
    baseline = low + (rank - rank.floor()).to(rewards) * (high - low)
    return (rewards - baseline[group]) / (_std(centred, size, group) + STD_EPSILON)


def _centred(rewards: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Rewards minus their group's mean [N], and the size of that group [N].

    The lowest reward of the group is taken out first, so that equal rewards give exact zeros; their
    mean need not equal them in floating point, and 1e-8 over 1e-6 is not nothing.
    """
    check_shapes(rewards, group)
    size = _group_sum(torch.ones_like(rewards), group)
    lowest = torch.zeros(_num_groups(group), dtype=rewards.dtype, device=rewards.device)
    lowest.scatter_reduce_(0, group, rewards, reduce="amin", include_self=False)
    above = rewards - lowest.index_select(0, group)
    return above - _group_sum(above, group) / size, size


def _std(centred: Tensor, size: Tensor, group: Tensor) -> Tensor:
    """Unbiased standard deviation of each response's group [N]; 0 for a group of one."""
    return (_group_sum(centred.square(), group) / (size - 1).clamp(min=1)).sqrt()


def _group_sum(values: Tensor, group: Tensor) -> Tensor:
    """Sum of each response's group [N]."""
    sums = torch.zeros(_num_groups(group), dtype=values.dtype, device=values.device)
    return sums.index_add_(0, group, values).index_select(0, group)


def _num_groups(group: Tensor) -> int:
    return int(group.max()) + 1 if len(group) else 0


# Parts ------------------------------------------------------------------------------------------------


class Advantage(ABC):
    """How rewards become advantages."""

    kind: ClassVar[str]

    @abstractmethod
    def __call__(self, rewards: Tensor, group: Tensor) -> Tensor:
        """Advantages [N] from rewards [N] and groups [N]; see the head of this file."""


@dataclass(frozen=True, kw_only=True)
class Grpo(Advantage):
    """Reward minus the group's mean, over the group's standard deviation.  GRPO, arXiv 2402.03300."""

    kind: ClassVar[str] = "grpo"

    def __call__(self, rewards: Tensor, group: Tensor) -> Tensor:
        return grpo(rewards, group)


@dataclass(frozen=True, kw_only=True)
class DrGrpo(Advantage):
    """Reward minus the group's mean.  Dr. GRPO, arXiv 2503.20783."""

    kind: ClassVar[str] = "dr_grpo"

    def __call__(self, rewards: Tensor, group: Tensor) -> Tensor:
        return dr_grpo(rewards, group)


@dataclass(frozen=True, kw_only=True)
class Rloo(Advantage):
    """Reward minus the mean of the other responses.  RLOO, arXiv 2402.14740."""

    kind: ClassVar[str] = "rloo"

    def __call__(self, rewards: Tensor, group: Tensor) -> Tensor:
        return rloo(rewards, group)


@dataclass(frozen=True, kw_only=True)
class MaxRL(Advantage):
    """Reward minus the group's mean, over that mean.  MaxRL, arXiv 2602.02710.

    Hard prompts weigh more than under GRPO, easy ones less: in expectation the gradient is that of log p, the
    likelihood of success, and of more of its expansion in pass@k the larger the group is.
    """

    kind: ClassVar[str] = "maxrl"

    exponent: float = 1.0
    """A place between GRPO (0, division by the standard deviation) and MaxRL (1, by the mean), in [0, 1]; 0 is GRPO for
    rewards >= 0.  More of it moves weight from easy prompts to hard ones.  The actuator ``mean_exponent`` moves it in a run."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.exponent <= 1.0:
            raise ValueError(f"exponent must be in [0, 1], got {self.exponent}")

    def __call__(self, rewards: Tensor, group: Tensor) -> Tensor:
        return maxrl(rewards, group, self.exponent)


@dataclass(frozen=True, kw_only=True)
class PassK(Advantage):
    """What a response adds to the best of k.  PKPO, arXiv 2505.15201; Pass@k Training, 2508.10751.

    A prompt that k samples solve anyway teaches nothing, and a wrong response is blamed only as far as it takes
    the place of a better one: so entropy is spent later.
    """

    kind: ClassVar[str] = "pass_k"

    k: int = 4
    """Responses whose best one counts: at least 1, which is no team, and below ``group_size``.  The actuator
    ``best_of`` moves it in a run."""

    scale: Scale = "leave_one_out"
    """``leave_one_out``: n / (n - k), whose gradient is unbiased up to a factor (PKPO); ``deviation``: divided
    by the standard deviation of the best of k, on GRPO's scale (Pass@k Training)."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        if self.scale not in ("leave_one_out", "deviation"):
            raise ValueError(f"scale must be 'leave_one_out' or 'deviation', got {self.scale!r}")

    def __call__(self, rewards: Tensor, group: Tensor) -> Tensor:
        return pass_k(rewards, group, self.k, self.scale)


@dataclass(frozen=True, kw_only=True)
class Quantile(Advantage):
    """Reward minus a quantile of the group's rewards, over their standard deviation.  QAE, arXiv 2509.22611.

    Hard prompts teach by their rare successes alone, easy ones by their failures; most responses (about
    80 % in the paper) have an advantage of 0.
    """

    kind: ClassVar[str] = "quantile"

    quantile: float = 0.4
    """K, above 0 and below 1: 0.4 published, 0.6 where entropy collapses.  A higher one leaves fewer prompts
    whose successes are rewarded, and raises entropy."""

    interpolation: Interpolation = "inverted_cdf"
    """``inverted_cdf``: the paper's two regimes, exactly; ``linear``: torch.quantile's, as in its code."""

    def __post_init__(self) -> None:
        if not 0.0 < self.quantile < 1.0:
            raise ValueError(f"quantile must be in (0, 1), got {self.quantile}")
        if self.interpolation not in ("inverted_cdf", "linear"):
            raise ValueError(f"interpolation must be 'inverted_cdf' or 'linear', got {self.interpolation!r}")

    def __call__(self, rewards: Tensor, group: Tensor) -> Tensor:
        return quantile(rewards, group, self.quantile, self.interpolation)


ADVANTAGES: dict[str, type[Advantage]] = {part.kind: part for part in Advantage.__subclasses__()}
