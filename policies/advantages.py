"""Advantages from the rewards of a group: how much better a response is than its siblings.

Every function takes ``rewards`` [N] and ``group`` [N] (int64, the prompt that each response answers; any
numbers, in any order) and gives advantages [N].  They sum to zero over a group.  A group whose rewards are
all equal, and so a group of one, gives exact zeros: it holds no comparison.  (verl gives a group of one
A = r under GRPO and RLOO alike; that is a reward without a baseline, so it is not taken.)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STD_EPSILON = 1e-6
"""Added to the standard deviation in GRPO [verl core_algos]."""


def grpo(rewards: Tensor, group: Tensor) -> Tensor:
    """A_i = (r_i - mean) / (std + 1e-6), std unbiased.  GRPO, arXiv 2402.03300, section 4.1.2.

    The paper writes ``std`` without saying which; the unbiased one (n - 1) is what verl and TRL compute.
    """
    centred, size = _centred(rewards, group)
    variance = _group_sum(centred.square(), group) / (size - 1).clamp(min=1)
    return centred / (variance.sqrt() + STD_EPSILON)


def dr_grpo(rewards: Tensor, group: Tensor) -> Tensor:
    """A_i = r_i - mean.  Dr. GRPO, arXiv 2503.20783: no std, so no bias between prompts."""
    centred, _ = _centred(rewards, group)
    return centred


def rloo(rewards: Tensor, group: Tensor) -> Tensor:
    """A_i = r_i - mean of the others = n / (n - 1) · (r_i - mean).  RLOO, arXiv 2402.14740."""
    centred, size = _centred(rewards, group)
    return centred * size / (size - 1).clamp(min=1)


ADVANTAGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"grpo": grpo, "dr_grpo": dr_grpo, "rloo": rloo}


def _centred(rewards: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Rewards minus their group's mean [N], and the size of that group [N].

    The lowest reward of the group is taken out first, so that equal rewards give exact zeros; their
    mean need not equal them in floating point, and 1e-8 over 1e-6 is not nothing.
    """
    if rewards.ndim != 1 or rewards.shape != group.shape:
        shapes = f"{tuple(rewards.shape)} and {tuple(group.shape)}"
        raise ValueError(f"rewards and group must be two vectors of one length, got {shapes}")
    size = _group_sum(torch.ones_like(rewards), group)
    lowest = torch.zeros(_num_groups(group), dtype=rewards.dtype, device=rewards.device)
    lowest.scatter_reduce_(0, group, rewards, reduce="amin", include_self=False)
    above = rewards - lowest[group]
    return above - _group_sum(above, group) / size, size


def _group_sum(values: Tensor, group: Tensor) -> Tensor:
    """Sum of each response's group [N]."""
    sums = torch.zeros(_num_groups(group), dtype=values.dtype, device=values.device)
    return sums.index_add_(0, group, values)[group]


def _num_groups(group: Tensor) -> int:
    return int(group.max()) + 1 if len(group) else 0
