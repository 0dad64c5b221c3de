"""The reward of a response as a member of a team of k: the best of the team counts.

A policy that will be judged by the best of k samples should learn from the best of k.  For a response i of a group
of n, and a real k from 1 to n,

    R_i = E max(r_i, M),   M the best of k - 1 others, drawn from the group without replacement,

is the mean, over the teams of k that i is in, of the best reward in the team.  At k = 1 it is r_i.  The mean of R_i
over the group is the unbiased estimate of pass@k (2107.03374, equation 1; of max-reward@k where rewards are not 0
and 1), and k / n · R_i is the reward that makes its gradient: the mean of Σ_i k / n · R_i ∇ log π(y_i) is the
gradient of the expected best of k.  PKPO, arXiv 2505.15201 [equations from memory, unverified; the tests enumerate
teams instead].

Functions take ``rewards`` [N] and ``group`` [N] (int64), as those of `policies.advantages` do.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6
"""Added to a standard deviation, as GRPO's is."""

Scale = Literal["leave_one_out", "deviation"]


def best_of_k(rewards: Tensor, group: Tensor, k: float) -> Tensor:
    """R_i of each response [N].

    A whole k counts teams.  Between two whole numbers the counts C(m, k - 1) are those of the gamma function, so
    R_i moves continuously with k, and not down as k goes up.  A group of at most k takes n - 1, since all are in its
    one team of n.

    Raises:
        ValueError: k is below 1 or not finite.
    """
    if not 1.0 <= k < inf:
        raise ValueError(f"k must be at least 1 and finite, got {k}")
    check_shapes(rewards, group)
    result = rewards.clone()
    for members in _members(group):
        if members.shape[1] > 1 and k > 1.0:
            teams = _best_of_teams(rewards[members].double(), min(k, members.shape[1] - 1.0))
            result[members] = teams.to(rewards)
    return result


def pass_k(rewards: Tensor, group: Tensor, k: float, scale: Scale = "leave_one_out") -> Tensor:
    """A_i = s · (R_i - mean R) [N].

    ``leave_one_out``: s = n / (n - k).  A_i is then R_i minus the mean best of the teams of k without i, a
    baseline that does not know i, so k / n times the gradient is unbiased for the expected best of k (PKPO, arXiv
    2505.15201).  k = 1 is RLOO.  ``deviation``: s = 1 / (σ + 1e-6), σ the standard deviation of the best over all
    teams, √(ρ (1 - ρ)) for rewards of 0 and 1 and ρ = pass@k: the analytic form of Pass@k Training, arXiv
    2508.10751.  Both are from memory, unverified.

    A group of at most k has no team without i; it takes k = n - 1.  A group of one gives 0.
    """
    check_shapes(rewards, group)
    result = torch.zeros_like(rewards)
    for members in _members(group):
        n = members.shape[1]
        if n == 1:
            continue
        teams = min(k, n - 1)
        own = rewards[members].double()
        own = own - own.amin(
            dim=1, keepdim=True
        )  # equal rewards then give exact zeros, and squares keep order
        best = _best_of_teams(own, teams)
        mean = best.mean(dim=1, keepdim=True)
        if scale == "leave_one_out":
            factor = torch.full_like(mean, n / (n - teams))
        else:
            square = _best_of_teams(own.square(), teams).mean(dim=1, keepdim=True)
            factor = 1.0 / ((square - mean.square()).clamp(min=0.0).sqrt() + EPSILON)
        result[members] = (factor * (best - mean)).to(rewards)
    return result


def team_weight(rewards: Tensor, group: Tensor, k: float, scale: Scale) -> Tensor:
    """What the advantages of each response's group weigh under pass@k, against pass@1 [N].

    The ratio of the standard deviations that ``pass_k`` has over the group at k and at 1; 1 where rewards are equal.
    Advantages of rewards of 0 and 1 are two values that sum to 0, so for those ``pass_k`` at k is this times
    ``pass_k`` at 1, exactly.
    """
    weight = torch.ones_like(rewards)
    many, one = pass_k(rewards, group, k, scale).double(), pass_k(rewards, group, 1.0, scale).double()
    for members in _members(group):
        spread = one[members].square().sum(dim=1, keepdim=True).sqrt()
        teams = many[members].square().sum(dim=1, keepdim=True).sqrt()
        ratio = torch.where(spread > 0.0, teams / spread.where(spread > 0.0, 1.0), 1.0)
        weight[members] = ratio.expand(members.shape).to(rewards)
    return weight


def check_shapes(rewards: Tensor, group: Tensor) -> None:
    """Raise ``ValueError`` unless both are vectors of one length."""
    if rewards.ndim != 1 or rewards.shape != group.shape:
        shapes = f"{tuple(rewards.shape)} and {tuple(group.shape)}"
        raise ValueError(f"rewards and group must be two vectors of one length, got {shapes}")


def _members(group: Tensor) -> Iterator[Tensor]:
    """Indices of the responses of all groups of one size [P, n], one size after another."""
    sizes = torch.bincount(group)
    for n in sorted(set(sizes[sizes > 0].tolist())):
        own = torch.nonzero(sizes[group] == n).flatten()
        yield own[torch.argsort(group[own], stable=True)].view(-1, n)


def _best_of_teams(rewards: Tensor, k: float) -> Tensor:
    """R_i of groups [P, n], n >= 2.

    With F(m) = C(m, k - 1) / C(n - 1, k - 1), the chance that all of a team's others are among m given ones, the
    response at place j (from 0, lowest first) is the best of its team with chance F(j), and the one at a later
    place l is with chance F(l) - F(l - 1).  Equal rewards may be put in any order.
    """
    ranked, order = rewards.sort(dim=1, stable=True)
    among = _all_among(torch.arange(rewards.shape[1], dtype=rewards.dtype, device=rewards.device), k - 1.0)
    surpassed = torch.zeros_like(ranked)
    surpassed[:, 1:] = (among[1:] - among[:-1]) * ranked[:, 1:]
    later = surpassed.flip(1).cumsum(1).flip(1) - surpassed
    return torch.empty_like(ranked).scatter_(1, order, ranked * among + later)


def _all_among(m: Tensor, draws: float) -> Tensor:
    """F [n]: C(m, draws) / C(n - 1, draws) for m = 0..n - 1, and 0 where m is too few to draw from."""
    room = m - draws + 1.0
    enough = room > 1e-12
    log_count = torch.lgamma(m + 1.0) - torch.lgamma(room.where(enough, 1.0))
    return torch.where(enough, torch.exp(log_count - log_count[-1]), 0.0)
