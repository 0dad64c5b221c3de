"""What packing saves, counted: passes, tokens that are computed, and how long ranks wait for each other.

Lengths of responses are log-normal, as in `benchmarks/packed_rows.py`, and groups of responses share their prompt.
All three cuts hold as many tokens in memory at once, padding included: `padded` by rows, `in_order` and
`longest_first` packed (``learner.packing``).  Nothing is timed, so the numbers are the same on any machine.

    python benchmarks/packing.py [--quick] [--prompts 32 12 4]

passes          of the rank that has most of them
computed        tokens that all ranks compute, over those that rows have when every prompt is counted once a row
padding         share of the computed tokens
slowest rank    its tokens, over the mean of the ranks
in step         what ranks compute that wait for each other after every pass, as those of a sharded model do, over the same
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.packed_rows import lengths
from policies.statistics.micro_batches import ByRows, ByTokens, LongestFirst, MicroBatches
from policies.statistics.packed_rows import packed_rows
from policies.statistics.sequences import Sequences, pack

COLUMNS = ("passes", "computed", "padding", "slowest rank", "in step")
RANKS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Prompts, the responses to each, and what one device holds of them."""

    prompts: int
    group: int
    prompt_tokens: int
    limit: int
    """Longest response [tokens]."""
    budgets: tuple[int, ...]
    """Tokens in memory at once, each a table of its own."""

    def rows(self, seed: int) -> Sequences:
        """Rows of random lengths; their tokens mean nothing."""
        prompts = [
            torch.full((self.prompt_tokens,), n) for n in range(self.prompts) for _ in range(self.group)
        ]
        drawn = lengths(len(prompts), self.limit, seed).tolist()
        return pack(prompts, [torch.zeros(n, dtype=torch.int64) for n in drawn], pad_id=0)


BATCH = Batch(prompts=32, group=8, prompt_tokens=256, limit=4096, budgets=(8192, 16384, 65536))
QUICK = Batch(prompts=4, group=4, prompt_tokens=16, limit=128, budgets=(512,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A cut, and the tokens that one of its pieces computes."""

    cut: MicroBatches
    tokens: Callable[[Sequences], int]


def ways(batch: Batch, budget: int) -> dict[str, Way]:
    """The cuts of a batch that hold that number of tokens."""

    def padded(rows: Sequences) -> int:
        return rows.input_ids.numel()

    def packed(rows: Sequences) -> int:
        return len(packed_rows(rows).rows)

    num_rows = max(1, budget // (batch.prompt_tokens + batch.limit))
    return {
        "padded": Way(cut=ByRows(num_rows), tokens=padded),
        "in_order": Way(cut=ByTokens(budget), tokens=packed),
        "longest_first": Way(cut=LongestFirst(budget), tokens=packed),
    }


def counts(sequences: Sequences, way: Way, num_ranks: int) -> dict[str, float]:
    """The figures of ``COLUMNS`` for one batch."""
    by_rank = [
        [way.tokens(sequences.select(rows)) for rows in pieces]
        for pieces in way.cut.of_ranks(sequences, num_ranks)
    ]
    of_rank = [sum(pieces) for pieces in by_rank]
    together = list(itertools.zip_longest(*by_rank, fillvalue=0))
    computed, tokens = sum(of_rank), int(sequences.lengths.sum())
    is_padded = isinstance(way.cut, ByRows)
    return {
        "passes": float(len(together)),
        "computed": computed / tokens,
        "padding": 1 - tokens / computed if is_padded else 0.0,
        "slowest rank": max(of_rank) * num_ranks / computed,
        "in step": sum(map(max, together)) * num_ranks / computed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small batch, drawn twice")
    parser.add_argument("--batches", type=int, default=10, help="drawn by as many seeds")
    parser.add_argument(
        "--prompts", type=int, nargs="+", default=[32, 12, 4], help="of a batch, each a table of its own"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        table(QUICK, range(2))
        return
    for prompts in arguments.prompts:
        table(replace(BATCH, prompts=prompts), range(arguments.batches))


def table(batch: Batch, seeds: range) -> None:
    """Print the means over batches drawn by some seeds."""
    drawn = [batch.rows(seed) for seed in seeds]
    shares = [float(rows.lengths.sum()) / rows.input_ids.numel() for rows in drawn]
    print(
        f"{batch.prompts} prompts of {batch.prompt_tokens} tokens, {batch.group} responses each of at most {batch.limit}; "
        f"means of {len(drawn)} batches"
    )
    print(f"a batch in one piece would be {1 - statistics.mean(shares):.0%} padding")
    print(f"{'tokens at once':>14}{'ranks':>7}  {'cut':14}" + "".join(f"{name:>14}" for name in COLUMNS))
    for budget, num_ranks in itertools.product(batch.budgets, RANKS):
        for name, way in ways(batch, budget).items():
            found = [counts(rows, way, num_ranks) for rows in drawn]
            passes, *others = (statistics.mean(each[column] for each in found) for column in COLUMNS)
            cells = f"{passes:>14.1f}" + "".join(f"{each:>14.3f}" for each in others)
            print(f"{budget:>14}{num_ranks:>7}  {name:14}{cells}", flush=True)


if __name__ == "__main__":
    main()
