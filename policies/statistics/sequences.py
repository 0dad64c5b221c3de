"""Rows of prompt and response for the model, and the positions of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """``N`` rows ``[prompt | response | padding]`` and where their loss tokens are.

    Loss tokens are those that the policy spoke: the response, but for the replies in an episode.
    """

    input_ids: Tensor  # [N, L] int64
    attention_mask: Tensor  # [N, L] int64
    spoken: Tensor  # [N, L] bool: loss tokens
    prompt: Tensor  # [N] int64: rows with the same number have the same prompt
    prompt_lengths: Tensor  # [N] int64

    @property
    def lengths(self) -> Tensor:
        """[N] tokens of each row without its padding."""
        return self.attention_mask.sum(dim=1)

    @property
    def num_spoken(self) -> Tensor:
        """[N] loss tokens of each row."""
        return self.spoken.sum(dim=1)

    def select(self, rows: Tensor) -> Sequences:
        """Some rows, cut to the longest of them so that no padding is computed for nothing."""
        longest = int(self.lengths[rows].max()) if len(rows) else 0
        return Sequences(
            input_ids=self.input_ids[rows, :longest],
            attention_mask=self.attention_mask[rows, :longest],
            spoken=self.spoken[rows, :longest],
            prompt=self.prompt[rows],
            prompt_lengths=self.prompt_lengths[rows],
        )

    def places(self) -> tuple[Tensor, Tensor]:
        """Row [T] and column [T] of every loss token, row by row."""
        rows, columns = torch.nonzero(self.spoken, as_tuple=True)
        return rows, columns

    def tokens_of(self, rows: Tensor) -> Tensor:
        """Positions of the loss tokens of some rows in the flat order of all rows."""
        starts = torch.cumsum(self.num_spoken, 0) - self.num_spoken
        owner, place = _ragged(self.num_spoken[rows])
        return starts[rows][owner] + place


def pack(
    prompts: Sequence[Tensor],
    responses: Sequence[Tensor],
    pad_id: int,
    spoken: Sequence[Tensor] | None = None,
) -> Sequences:
    """Lay out one row a response.

    Args:
        prompts: [N] of int64 [length].
        responses: the same.
        pad_id: token of the padding.
        spoken: [N] of bool [length], which tokens of a response the policy spoke; None is all of them.
    """
    prompt_lengths = torch.tensor([prompt.numel() for prompt in prompts], dtype=torch.int64)
    lengths = prompt_lengths + torch.tensor([response.numel() for response in responses], dtype=torch.int64)
    column = torch.arange(int(lengths.max()) if len(lengths) else 0)
    is_token = column < lengths[:, None]
    is_response = is_token & (column >= prompt_lengths[:, None])
    input_ids = torch.full(is_token.shape, pad_id)
    # A mask is filled row by row, which is the order of what is laid end to end.
    input_ids[is_token & ~is_response] = torch.cat(list(prompts))
    input_ids[is_response] = torch.cat(list(responses))
    loss_tokens = is_response
    if spoken is not None:
        loss_tokens = is_response.masked_scatter(is_response, torch.cat(list(spoken)))
    number: dict[tuple[int, ...], int] = {}
    return Sequences(
        input_ids=input_ids,
        attention_mask=is_token.long(),
        spoken=loss_tokens,
        prompt=torch.tensor([number.setdefault(tuple(prompt.tolist()), len(number)) for prompt in prompts]),
        prompt_lengths=prompt_lengths,
    )


def token_index(sequences: Sequences) -> tuple[Tensor, Tensor]:
    """Row [T] of every loss token, row by row, and its position [T] among those of the row."""
    return _ragged(sequences.num_spoken)


def _ragged(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Owner [T] and place [T] of each element of ragged rows laid end to end."""
    owner = torch.repeat_interleave(lengths)
    starts = torch.cumsum(lengths, 0) - lengths
    return owner, torch.arange(len(owner)) - starts[owner]
