"""Aggregation: the weight of each token in the loss of a minibatch, which holds every denominator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Tensor

Aggregation = Literal["token_mean", "sequence_mean", "fixed_length"]


def token_weights(
    response: Tensor,
    num_responses: int,
    mode: Aggregation,
    *,
    max_tokens: int | None = None,
    denominator: float | None = None,
) -> Tensor:
    """Weight of each token [T] in the loss of a minibatch: its share over the ``denominator``.

    =================  ================  ==================================  =======================
    mode               share of a token  denominator                         source
    =================  ================  ==================================  =======================
    token_mean         1                 number of tokens                    DAPO, arXiv 2503.14476
    sequence_mean      1 / length        number of responses with a token    GRPO, arXiv 2402.03300
    fixed_length       1 / max_tokens    number of responses                 Dr. GRPO, 2503.20783
    =================  ================  ==================================  =======================

    A response without tokens has no loss; under ``sequence_mean`` it is not counted either, so that the
    weights add up to 1 as they do under ``token_mean``.  (GRPO as written divides by the group size and
    meets no empty response.)  Under ``fixed_length`` it is counted: that denominator is a constant.

    Args:
        response: [T] int64, the response a token belongs to, 0..num_responses-1.
        num_responses: N, those without tokens included.
        mode: as in the table.
        max_tokens: longest response there can be, of an episode all its turns; ``fixed_length`` needs it.
        denominator: instead of this minibatch's own, for a minibatch spread over ranks: the sum of their
            ``weight_denominator``, divided by the number of ranks where gradients are averaged over them.
    """
    if denominator is None:
        denominator = weight_denominator(response, num_responses, mode)
    share = torch.ones(response.shape, device=response.device)
    if mode == "sequence_mean":
        share = 1.0 / torch.bincount(response, minlength=num_responses)[response]
    elif mode == "fixed_length":
        if max_tokens is None or max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1 for 'fixed_length', got {max_tokens}")
        share = share / max_tokens
    return share / max(denominator, 1.0)


def weight_denominator(response: Tensor, num_responses: int, mode: Aggregation) -> float:
    """What the shares of tokens are divided by; adds up over ranks."""
    if mode == "token_mean":
        return float(len(response))
    if mode == "sequence_mean":
        return float((torch.bincount(response, minlength=num_responses) > 0).sum())
    if mode == "fixed_length":
        return float(num_responses)
    raise ValueError(f"mode must be 'token_mean', 'sequence_mean' or 'fixed_length', got {mode!r}")
