"""The cut of a batch into micro-batches, the pieces that are in memory at once, for each of several ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from policies.statistics.sequences import Sequences

Pieces: TypeAlias = "list[Tensor]"


class MicroBatches(ABC):
    """How rows are dealt to ranks, and the rows of each rank cut into pieces."""

    @abstractmethod
    def of_ranks(self, sequences: Sequences, num_ranks: int) -> list[Pieces]:
        """The pieces of each rank, [n] int64 row indices each.  Together they hold every row once."""


@dataclass(frozen=True, slots=True)
class ByRows(MicroBatches):
    """At most so many rows in a piece, and rows of like length in one, since they are padded to the longest."""

    rows: int | None = None
    """None is all of the batch."""

    def of_ranks(self, sequences: Sequences, num_ranks: int) -> list[Pieces]:
        size = self.rows or len(sequences.input_ids)
        by_length = torch.argsort(sequences.lengths, descending=True, stable=True)
        # Dealt in turn, so that all have much the same to do.
        shares = [by_length[rank::num_ranks] for rank in range(num_ranks)]
        return [list(torch.split(share, size)) if len(share) else [] for share in shares]


@dataclass(frozen=True, slots=True)
class ByTokens(MicroBatches):
    """At most so many tokens in a piece, a prompt counted once, for rows that are packed (`packed_rows`).

    Rows stand in a line by prompt.  Every rank has a stretch of it of much the same number of tokens, and a piece is
    a stretch of that: responses to one prompt part only where a rank or a piece ends.
    """

    tokens: int

    def of_ranks(self, sequences: Sequences, num_ranks: int) -> list[Pieces]:
        line = torch.argsort(sequences.prompt, stable=True)
        prompts, prompt_lengths = sequences.prompt[line], sequences.prompt_lengths[line]
        responses = sequences.lengths[line] - prompt_lengths
        is_first = torch.cat([torch.ones(1, dtype=torch.bool), prompts[1:] != prompts[:-1]])[: len(line)]
        costs = responses + prompt_lengths * is_first
        # By the middle of a row; an empty response at the end of the line has its middle there.
        rank_of = ((2 * costs.cumsum(0) - costs) * num_ranks // (2 * costs.sum())).clamp(max=num_ranks - 1)
        rows = list(
            zip(line.tolist(), prompts.tolist(), prompt_lengths.tolist(), responses.tolist(), strict=True)
        )
        return [
            self._cut([row for row, owner in zip(rows, rank_of.tolist(), strict=True) if owner == rank])
            for rank in range(num_ranks)
        ]

    def _cut(self, rows: list[tuple[int, int, int, int]]) -> Pieces:
        """Fill one piece after the other; a row that is longer than all of it has one for itself."""
        pieces: list[list[int]] = []
        filled, last = 0, None
        for row, prompt, prompt_length, response in rows:
            cost = response + (0 if prompt == last else prompt_length)
            if not pieces or filled + cost > self.tokens:
                pieces.append([])
                filled, cost = 0, response + prompt_length
            pieces[-1].append(row)
            filled, last = filled + cost, prompt
        return [torch.tensor(piece) for piece in pieces]


@dataclass(frozen=True, slots=True)
class LongestFirst(MicroBatches):
    """At most so many tokens in a piece, as by `ByTokens`, and as few pieces as the longest rows allow.

    Responses to one prompt stay together where a piece holds them.  Ranks that run a sharded model together have as
    many pieces, which are made much the same in size and dealt in turn by it, so that they wait little for each other.
    """

    tokens: int

    def of_ranks(self, sequences: Sequences, num_ranks: int) -> list[Pieces]:
        prompt_lengths = sequences.prompt_lengths.tolist()
        responses = (sequences.lengths - sequences.prompt_lengths).tolist()
        siblings: dict[int, list[int]] = {}
        for row, prompt in enumerate(sequences.prompt.tolist()):
            siblings.setdefault(prompt, []).append(row)
        parts: list[list[int]] = []
        sizes: list[int] = []
        for rows in siblings.values():
            prompt_length = prompt_lengths[rows[0]]
            for chosen in _first_fit([responses[row] for row in rows], self.tokens - prompt_length):
                parts.append([rows[place] for place in chosen])
                sizes.append(prompt_length + sum(responses[row] for row in parts[-1]))
        bins = _evened(sizes, self.tokens, num_ranks)
        bins.sort(key=lambda chosen: -sum(sizes[part] for part in chosen))
        pieces = [torch.tensor(sorted(row for part in chosen for row in parts[part])) for chosen in bins]
        return [pieces[rank::num_ranks] for rank in range(num_ranks)]


def _evened(sizes: list[int], room: int, num_ranks: int) -> list[list[int]]:
    """The places of the sizes in each bin: as many bins for every rank as first-fit needs, the largest size first into the
    emptiest (Graham 1969).  Those of first-fit, which are full and a few left over, where sizes fit no other way.
    """
    full = _first_fit(sizes, room)
    bins: list[list[int]] = [[] for _ in range(num_ranks * -(-len(full) // num_ranks))]
    filled = [0] * len(bins)
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        number = min(range(len(bins)), key=lambda number: filled[number])
        if bins[number] and filled[number] + sizes[place] > room:
            return full
        bins[number].append(place)
        filled[number] += sizes[place]
    return [chosen for chosen in bins if chosen]


def _first_fit(sizes: list[int], room: int) -> list[list[int]]:
    """The places of the sizes in each bin: the largest first, each in the first bin with room for it.

    One that is larger than the room has a bin for itself.  First-fit decreasing takes at most 11/9 of the fewest bins
    and 6/9 of one (Dósa 2007).
    """
    bins: list[list[int]] = []
    free: list[int] = []
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        fitting = (number for number, left in enumerate(free) if sizes[place] <= left)
        number = next(fitting, len(bins))
        if number == len(bins):
            bins.append([])
            free.append(room)
        bins[number].append(place)
        free[number] -= sizes[place]
    return bins
