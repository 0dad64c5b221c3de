"""Sums over the tokens of each response, and the tokens of each response that stand out.

Everything takes ``values`` [T], ``response`` [T] (int64, the response a token belongs to) and the number N
of responses, those without tokens included.
"""

from __future__ import annotations

import torch
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
    ranked = ranked[torch.argsort(response[ranked], stable=True)]  # by response, largest first
    lengths = torch.bincount(response, minlength=num_responses)
    place = torch.arange(len(ranked), device=ranked.device) - (lengths.cumsum(0) - lengths)[response[ranked]]
    counts = (share * lengths.double() + ROUNDING).floor().clamp(min=1)
    return torch.zeros_like(response, dtype=torch.bool).scatter_(0, ranked, place < counts[response[ranked]])


def top_means(values: Tensor, response: Tensor, num_responses: int, share: float = TOP_SHARE) -> Tensor:
    """[N] mean of the ``top_tokens`` of each response; nan without tokens."""
    chosen = top_tokens(values, response, num_responses, share)
    return response_means(values[chosen], response[chosen], num_responses)
