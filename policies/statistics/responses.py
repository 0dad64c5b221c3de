"""Sums over the tokens of each response, and the tokens of each response that stand out.

Everything takes ``values`` [T], ``response`` [T] (int64, the response a token belongs to) and the number N
of responses, those without tokens included.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

TOP_SHARE = 0.2
"""Share of a response's tokens that counts as its top: of ERA (2510.08549) and SIREN (2509.25133) alike."""

ROUNDING = 1e-9
"""Added before a share of a length is rounded down, taken before it is rounded up: 0.29 · 100 is
28.999999999999996."""


def response_sums(values: Tensor, response: Tensor, num_responses: int) -> Tensor:
    """[N] sum over the tokens of each response; 0 without tokens."""
    return torch.zeros(num_responses, dtype=values.dtype, device=values.device).index_add_(
        0, response, values
    )


def response_means(values: Tensor, response: Tensor, num_responses: int) -> Tensor:
    """[N] mean over the tokens of each response; nan without tokens."""
    return response_sums(values, response, num_responses) / torch.bincount(response, minlength=num_responses)


def top_tokens(values: Tensor, response: Tensor, num_responses: int, share: float = TOP_SHARE) -> Tensor:
    """[T] bool, the max(1, floor(share · length)) largest values of each response; of equals the earlier.

    The count is ERA's.  SIREN's code takes those above the interpolated quantile, ceil(share · (length - 1))
    of them: at most one more, and none of a response of one token.
    """
    ranked = torch.argsort(values, descending=True, stable=True)
    owner, order = torch.sort(response.index_select(0, ranked), stable=True)
    ranked = ranked.index_select(0, order)  # by response, largest first
    lengths = torch.bincount(response, minlength=num_responses)
    end = lengths.cumsum(0) - lengths + (share * lengths.double() + ROUNDING).floor().clamp(min=1)
    is_top = torch.arange(len(ranked), device=ranked.device) < end.index_select(0, owner)
    return torch.zeros_like(response, dtype=torch.bool).scatter_(0, ranked, is_top)


def top_means(values: Tensor, response: Tensor, num_responses: int, share: float = TOP_SHARE) -> Tensor:
    """[N] mean of the ``top_tokens`` of each response; nan without tokens."""
    chosen = top_tokens(values, response, num_responses, share)
    return response_means(values.masked_select(chosen), response.masked_select(chosen), num_responses)


def standard_error(values: Tensor, response: Tensor, group: Tensor) -> float:
    """How far the mean of ``values`` over all tokens is off, if the prompts are drawn at random; nan for fewer than two.

    With S_p and T_p the sum and the number of tokens of prompt p, of P that have any, and m = Σ S / Σ T,

        se² = P / (P − 1) · Σ_p (S_p − m T_p)² / (Σ_p T_p)²,

    which lets tokens of a response and responses to a prompt resemble each other.  ``group`` [N] has the prompt of
    each response.  Source: the ratio estimate from clusters, Cochran, Sampling Techniques (1977), chapter 6.
    """
    if len(response) == 0:
        return math.nan
    prompt = group[response]
    num = int(group.max()) + 1
    S, T = response_sums(values, prompt, num), torch.bincount(prompt, minlength=num)
    P = int((T > 0).sum())
    if P < 2:
        return math.nan
    squares = (S - values.mean() * T).square().sum().item()
    return math.sqrt(P / (P - 1) * squares) / len(response)
