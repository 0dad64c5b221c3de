"""The cut of a batch into micro-batches, the pieces that are in memory at once, for each of several ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from heapq import heapreplace
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
    """At most so many tokens in a piece, as by `ByTokens`, and few pieces, the longest rows first.

    Ranks that run a sharded model together wait for each other after each piece.  So all have as many, unless there are
    too few rows, and pieces are of like size and dealt in turn by it.  Responses to one prompt stay together unless a
    piece does not hold them, or parting them, which reads their prompt again, lets ranks wait so much less that they end earlier.
    """

    tokens: int

    def of_ranks(self, sequences: Sequences, num_ranks: int) -> list[Pieces]:
        rows = _Rows(
            prompts=sequences.prompt.tolist(),
            prompt_lengths=sequences.prompt_lengths.tolist(),
            responses=(sequences.lengths - sequences.prompt_lengths).tolist(),
        )
        every = list(range(len(rows.prompts)))
        parts = rows.parts(every, self.tokens)
        full = [
            [row for place in chosen for row in parts[place]]
            for chosen in _first_fit([rows.size(part) for part in parts], self.tokens)
        ]
        wanted = num_ranks * -(-len(full) // num_ranks)
        mean = sum(map(rows.size, full)) / max(wanted, 1)
        # The finer the parts, the more even the pieces, and the more often prompts are read.
        finer = [rows.parts(every, min(int(mean / n), self.tokens)) for n in range(1, FINEST + 1)]
        cuts = [rows.evened(each, wanted) for each in (parts, *finer)]
        cuts = [
            cut for cut in cuts if all(rows.size(piece) <= self.tokens or len(piece) == 1 for piece in cut)
        ]

        def takes(cut: list[list[int]]) -> tuple[int, int]:
            sizes = sorted(map(rows.size, cut), reverse=True)
            return sum(sizes[::num_ranks]), sum(sizes)

        best = min((rows.divided(cut, wanted) for cut in (*cuts, full)), key=takes)
        best.sort(key=lambda piece: -rows.size(piece))
        pieces = [torch.tensor(sorted(piece)) for piece in best]
        return [pieces[rank::num_ranks] for rank in range(num_ranks)]


FINEST = 8
"""Parts of a piece of mean size that siblings are cut into at most, for evenness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What rows cost, and how they are put together; an entry a row."""

    prompts: list[int]
    prompt_lengths: list[int]
    responses: list[int]

    def size(self, rows: list[int]) -> int:
        """Tokens of a piece, each prompt once."""
        prompts = {self.prompts[row]: self.prompt_lengths[row] for row in rows}
        return sum(prompts.values()) + sum(self.responses[row] for row in rows)

    def parts(self, rows: list[int], room: int) -> list[list[int]]:
        """Siblings together, as many as the room [tokens] holds."""
        siblings: dict[int, list[int]] = {}
        for row in rows:
            siblings.setdefault(self.prompts[row], []).append(row)
        return [
            [own[place] for place in chosen]
            for own in siblings.values()
            for chosen in _first_fit([self.responses[row] for row in own], room - self.prompt_lengths[own[0]])
        ]

    def evened(self, parts: list[list[int]], number: int) -> list[list[int]]:
        """At most so many pieces: the largest part first into the emptiest (Graham 1969)."""
        pieces: list[list[int]] = [[] for _ in range(number)]
        filled = [(0, place) for place in range(number)]
        for part in sorted(parts, key=lambda part: -self.size(part)):
            _, place = filled[0]
            pieces[place] += part
            heapreplace(filled, (self.size(pieces[place]), place))
        return [piece for piece in pieces if piece]

    def divided(self, pieces: list[list[int]], number: int) -> list[list[int]]:
        """So many pieces, the largest cut in two while there are fewer; less where there are too few rows."""
        pieces = list(pieces)
        while len(pieces) < number and max(map(len, pieces)) > 1:
            piece = max((piece for piece in pieces if len(piece) > 1), key=self.size)
            pieces.remove(piece)
            groups = self.parts(piece, self.size(piece))
            pieces += self.evened(groups if len(groups) > 1 else [[row] for row in piece], 2)
        return pieces


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
