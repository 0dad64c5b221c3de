"""Tokens as one flat, ragged batch, the shape that all token mathematics shares.

Letters: ``P`` prompts, ``G`` responses a prompt (the group), ``N = P * G`` responses, ``T`` loss
tokens of all responses together, ``V`` vocabulary, ``D`` hidden size.

There is no padding in here.  Token ``k`` belongs to response ``response[k]``; a response without
tokens simply has none.  Every denominator is in ``weights``, fixed over the whole minibatch before
it is cut into micro-batches, so a loss is ``(weights * per_token).sum()`` on every cut of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

PER_RESPONSE = ("rewards", "group", "domain")


def domain_code(name: str) -> int:
    """The number that stands for a domain in a batch: 63 bits of BLAKE2b, the same on every rank."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """``T`` loss tokens of ``N`` responses.

    ``logprobs`` and ``entropy`` carry gradient inside a loss and none inside a plan; everything
    else is constant.  All log-probabilities are at the temperature that was sampled from.
    """

    response: Tensor  # [T] int64, ascending, 0..N-1: the response a token belongs to
    position: Tensor  # [T] int64: its place in that response, from 0
    logprobs: Tensor  # [T] log pi of the sampled token under the current policy
    old_logprobs: Tensor  # [T] the same at the start of the update (ratio 1 there)
    entropy: Tensor  # [T] full-vocabulary Shannon entropy under the current policy [nats]
    advantages: Tensor  # [T] broadcast from responses, unless an actuator shaped them
    weights: Tensor  # [T] aggregation weights of the whole minibatch (see objectives.py)
    rewards: Tensor  # [N] score of each response, 0..1
    group: Tensor  # [N] int64: the prompt a response answers, 0..P-1

    domain: Tensor | None = None  # [N] int64: `domain_code` of the kind of problem a response answers

    turn: Tensor | None = None  # [T] int64, from 1: the turn of an episode that a token is of

    old_entropy: Tensor | None = None  # [T] at the start of the update [nats]; None: that is ``entropy``

    # Only where an actuator asks for them:
    filtered_logprobs: Tensor | None = None  # [T] of the vocabulary cut, at the start of the update
    filtered_entropy: Tensor | None = None  # [T] of the vocabulary cut, under the current policy [nats]
    reference_logprobs: Tensor | None = None  # [T] log π_ref of the sampled token
    scale: Tensor | None = None  # [T] factor on the logits, in all log-probs and entropies of the update
    importance: Tensor | None = None  # [T] weights for the engine's probabilities, see `policies.importance`

    @property
    def num_responses(self) -> int:
        return self.rewards.shape[0]

    @property
    def lengths(self) -> Tensor:
        """[N] loss tokens of each response."""
        return torch.bincount(self.response, minlength=self.num_responses)

    def to(self, device: torch.device) -> TokenBatch:
        """The batch on a device."""
        return self._map(lambda _, values: values.to(device))

    def select(self, responses: Tensor) -> tuple[TokenBatch, Tensor]:
        """The sub-batch of some responses ([M] int64 indices, any order), and its tokens' indices [t].

        Tokens come in the order of ``responses`` and are renumbered 0..M-1; group numbers are kept.
        """
        rank = torch.full((self.num_responses,), -1, dtype=torch.int64, device=self.response.device)
        rank[responses] = torch.arange(len(responses), device=rank.device)
        new_response = rank[self.response]
        tokens = torch.nonzero(new_response >= 0).flatten()
        tokens = tokens[torch.argsort(new_response[tokens], stable=True)]
        picked = self._map(lambda name, values: values[responses if name in PER_RESPONSE else tokens])
        return replace(picked, response=new_response[tokens]), tokens

    def part(self, domain: str | None) -> Part | None:
        """What belongs to a domain, in the order of the batch; all of it for None.

        None if no response is of that domain.  If all are, the batch itself is the part, so that a
        task of one domain computes to the bit what it computes without.
        """
        N, T = self.num_responses, self.response.shape[0]
        rows = torch.arange(N, device=self.response.device)
        if domain is not None:
            assert self.domain is not None, "a batch that is cut by domain must know its domains"
            rows = torch.nonzero(self.domain == domain_code(domain)).flatten()
            if len(rows) == 0:
                return None
        if len(rows) == N:
            return Part(self, rows, torch.arange(T, device=rows.device))
        batch, tokens = self.select(rows)
        return Part(batch, rows, tokens)

    def _map(self, change: Callable[[str, Tensor], Tensor]) -> TokenBatch:
        """Every tensor changed, by name."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: dict[str, Any] = {n: v if v is None else change(n, v) for n, v in tensors.items()}
        return TokenBatch(**changed)


@dataclass(frozen=True, slots=True)
class Part:
    """Some responses of a batch as a batch of their own, and their places in the whole."""

    batch: TokenBatch
    responses: Tensor  # [n] int64, ascending
    tokens: Tensor  # [t] int64, ascending

    def put_responses(self, values: Tensor, whole: Tensor) -> Tensor:
        """``whole`` [N] with ``values`` [n] at the places of the part's responses."""
        return whole.index_copy(0, self.responses, values.to(whole.dtype))

    def put_tokens(self, values: Tensor, whole: Tensor) -> Tensor:
        """``whole`` [T] with ``values`` [t] at the places of the part's tokens."""
        return whole.index_copy(0, self.tokens, values.to(whole.dtype))
