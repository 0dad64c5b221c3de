"""Rows laid end to end without padding, each prompt once: where their tokens are, and what each may attend to.

Two kinds of segments follow each other.  A prompt with one row is a segment together with its response.  A prompt
that several rows share is a segment, and each of their responses is another, whose keys are those of the prompt and
its own: all in one pass through the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from policies.statistics.sequences import Sequences

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segments:
    """``S`` segments of queries, one behind the other; a segment's own tokens are the last of its keys.

    Segments equal themselves alone, so that what is made of them for one layer is found by the others.
    """

    queries: tuple[int, ...]  # S numbers of tokens
    keys: tuple[int, ...]  # S numbers of keys
    index: Tensor | None  # [keys] int64, the token of each key; None: a token is the key of itself alone
    query_starts: Tensor  # [S + 1] int32, from 0
    key_starts: Tensor  # [S + 1] int32, from 0

    def to(self, device: torch.device) -> Segments:
        """The segments on a device."""
        return replace(
            self,
            index=None if self.index is None else self.index.to(device),
            query_starts=self.query_starts.to(device),
            key_starts=self.key_starts.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRows:
    """The ``t`` tokens of some rows that are read, in one line."""

    rows: Tensor  # [t] int64: the row that a token is taken from
    columns: Tensor  # [t] int64: its column there, which is its position
    place: Tensor  # [N, L] int64: where in the line each token of each row is; 0 for one that is not read
    segments: Segments


def packed_rows(sequences: Sequences) -> PackedRows:
    """Lay the rows end to end.  Nothing comes after the last token of a row, so it is not read."""
    place = torch.zeros_like(sequences.input_ids)
    parts: list[tuple[int, int, int]] = []  # row, first column, number of tokens
    keys: list[Tensor] = []
    end = 0

    def lay(row: int, start: int, stop: int, before: Tensor) -> Tensor:
        """Read a part of a row, which attends to what is ``before`` it; give its places."""
        nonlocal end
        own = torch.arange(end, end + stop - start)
        end += len(own)
        parts.append((row, start, len(own)))
        keys.append(torch.cat([before, own]))
        place[row, start:stop] = own
        return own

    nothing = torch.arange(0)
    lengths, prompts = sequences.lengths.tolist(), sequences.prompt_lengths.tolist()
    for siblings in _siblings(sequences.prompt):
        first = siblings[0]
        if len(siblings) == 1:
            lay(first, 0, max(lengths[first] - 1, prompts[first]), nothing)
            continue
        prompt = lay(first, 0, prompts[first], nothing)
        for row in siblings:
            place[row, : prompts[row]] = prompt
            if lengths[row] - 1 > prompts[row]:
                lay(row, prompts[row], lengths[row] - 1, prompt)

    queries, num_keys = tuple(length for _, _, length in parts), tuple(map(len, keys))
    return PackedRows(
        rows=torch.repeat_interleave(torch.tensor([row for row, _, _ in parts]), torch.tensor(queries)),
        columns=torch.cat([torch.arange(start, start + length) for _, start, length in parts]),
        place=place,
        segments=Segments(
            queries=queries,
            keys=num_keys,
            index=torch.cat(keys) if num_keys != queries else None,
            query_starts=_starts(queries),
            key_starts=_starts(num_keys),
        ),
    )


def _siblings(prompt: Tensor) -> list[list[int]]:
    """Rows of each prompt, prompts in the order of their first row."""
    rows: dict[int, list[int]] = {}
    for row, number in enumerate(prompt.tolist()):
        rows.setdefault(number, []).append(row)
    return list(rows.values())


def _starts(lengths: tuple[int, ...]) -> Tensor:
    return torch.tensor((0, *lengths)).cumsum(0).to(torch.int32)
