"""What a little more entropy now would bring: the slope of pass@G and of pass@1 in the temperature.

A tilt of every token's distribution to π^(1/T), at T = 1 times the temperature that was sampled at, has the score

    s_i = Σ_t (−ln π(y_t) − H_t)          surprisal over entropy of response i; mean 0, ∂ ln π_T(y_i) / ∂T at 1

over the policy's own tokens: all its turns of an episode.  With R the rewards of a group of G responses

    A_i = max R − max over the others         ψ    = mean over groups of Σ_i A_i s_i  =  ∂ E[max R] / ∂T
    B_i = (R_i − mean of the others) / G      ψ_1  = mean over groups of Σ_i B_i s_i  =  ∂ E[R] / ∂T

both without bias.  For rewards of 0 and 1, max R is pass@G and A_i is R_i where no other of the group passed (the
estimator of arXiv 2505.15201 at k = G); rewards between stand for themselves, so ψ is then the slope of a group's
best reward.  The tilt changes the entropy of a response, on the states that it visited, by the variance of s.
Hence ψ over that variance is reward per nat, a nat of a whole response.

A response is scored by the policy that learns.  If an engine sampled from another one, the mean of s is not 0
and ψ is biased.  A group counts if it has two responses and a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, nan, sqrt
from typing import TYPE_CHECKING

import torch

from policies.advantages import rloo
from policies.statistics.responses import response_sums

if TYPE_CHECKING:
    from torch import Tensor

COVERAGE_DOMAIN = "coverage/domain/"
"""Prefix of the readings of one domain: ``coverage/domain/<name>/psi`` and ``.../psi_at_1``."""

SLOPES = ("psi", "psi_at_1")


def scores(logprobs: Tensor, entropy: Tensor, response: Tensor, num_responses: int) -> Tensor:
    """s [N] of each response [nats] from log π and H of its tokens [T]; 0 without tokens."""
    return response_sums(-logprobs - entropy, response, num_responses)


def alone_weights(rewards: Tensor, group: Tensor) -> Tensor:
    """A [N]: how far the best reward of a group would fall without this response; infinite if alone."""
    best = _largest(rewards, group)
    own_best = best.index_select(0, group)
    is_best = rewards == own_best
    num_best = torch.zeros_like(best).index_add_(0, group, is_best.to(best.dtype)).index_select(0, group)
    second = _largest(torch.where(is_best, -torch.inf, rewards), group).index_select(0, group)
    falls = torch.where(is_best & (num_best == 1), rewards - second, 0.0)
    return torch.where(torch.isfinite(own_best), falls, torch.nan)


def mean_weights(rewards: Tensor, group: Tensor) -> Tensor:
    """B [N]: how far a reward is above the mean of the others in its group, over the group's size G; 0 alone."""
    return rloo(rewards, group) / torch.bincount(group).index_select(0, group)


def coverage_sums(
    rewards: Tensor, group: Tensor, score: Tensor, spoken: Tensor, domains: Mapping[str, Tensor]
) -> dict[str, tuple[float, float]]:
    """Totals and counts by name, as those of `policies.statistics.sensors`; all tensors are [N].

    Those of several ranks add up where no group is on two of them.  ``spoken`` says which responses have a token,
    ``domains`` which are of a domain.
    """
    sizes = torch.bincount(group)
    P = len(sizes)
    counts = (sizes > 1) & (response_sums(spoken.double(), group, P) > 0)
    psi = response_sums(alone_weights(rewards, group) * score, group, P).masked_select(counts)
    psi_at_1 = response_sums(mean_weights(rewards, group) * score, group, P).masked_select(counts)
    squares = score.square().masked_select(counts.index_select(0, group))
    result = {"coverage/variance": (squares.sum().item(), float(len(squares)))}
    for name, values in zip(SLOPES, (psi, psi_at_1), strict=True):
        result[f"coverage/{name}"] = (values.sum().item(), float(len(values)))
        result[f"coverage/{name}/square"] = (values.square().sum().item(), float(len(values)))
    for domain, responses in domains.items():
        own = (response_sums(responses.double(), group, P) > 0).masked_select(counts)
        for name, values in zip(SLOPES, (psi, psi_at_1), strict=True):
            chosen = values.masked_select(own)
            result[f"{COVERAGE_DOMAIN}{domain}/{name}"] = (chosen.sum().item(), float(len(chosen)))
    return result


def coverage_readings(sums: dict[str, tuple[float, float]]) -> dict[str, float]:
    """What is not a mean alone: the standard errors over groups, and reward per nat; nan where there is none."""
    result: dict[str, float] = {}
    for name in SLOPES:
        (total, count), (square, _) = sums[f"coverage/{name}"], sums[f"coverage/{name}/square"]
        variance = square / count - (total / count) ** 2 if count > 1 else nan
        error = sqrt(max(variance, 0.0) / (count - 1)) if isfinite(variance) else nan
        result[f"coverage/{name}_error"] = error
    (total, count), (squares, num) = sums["coverage/psi"], sums["coverage/variance"]
    result["coverage/reward_per_nat"] = total / count / (squares / num) if count and squares else nan
    return result


def _largest(values: Tensor, group: Tensor) -> Tensor:
    """The largest value of each group; -inf of a group without one, nan where one of its values is."""
    num = int(group.max()) + 1 if len(group) else 0
    start = torch.full((num,), -torch.inf, dtype=values.dtype, device=values.device)
    return start.scatter_reduce_(0, group, values, reduce="amax")
