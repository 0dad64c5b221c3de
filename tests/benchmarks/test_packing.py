"""The counts of the benchmark of packing, by hand, and that few prompts leave no rank idle."""

from __future__ import annotations

import sys
from dataclasses import replace
from statistics import mean

import pytest
import torch

from benchmarks import packing
from benchmarks.packing import BATCH, QUICK, Way, counts, ways
from policies.statistics.micro_batches import ByRows, ByTokens
from policies.statistics.packed_rows import packed_rows
from policies.statistics.sequences import pack

TWO = pack(
    [torch.tensor([1, 2])] * 2, [torch.ones(2, dtype=torch.int64), torch.ones(4, dtype=torch.int64)], 0
)
PADDED = Way(cut=ByRows(1), tokens=lambda rows: rows.input_ids.numel())
PACKED = Way(cut=ByTokens(100), tokens=lambda rows: len(packed_rows(rows).rows))


def test_rows_of_4_and_6_tokens_in_pieces_of_one_row():
    alone = counts(TWO, PADDED, 1)
    assert alone == {"passes": 2, "computed": 1, "padding": 0, "slowest rank": 1, "in step": 1}
    # 6 and 4 tokens on a rank each, where 5 would be even
    assert counts(TWO, PADDED, 2) == alone | {"passes": 1, "slowest rank": 1.2, "in step": 1.2}


def test_rows_of_4_and_6_tokens_in_one_piece():
    found = counts(TWO, Way(cut=ByRows(2), tokens=PADDED.tokens), 1)
    assert (found["passes"], found["computed"]) == (1, 1.2)
    assert found["padding"] == pytest.approx(1 / 6)
    # a prompt of 2 once, then 2 and 4 tokens without the last of each, which is never read
    assert counts(TWO, PACKED, 1) | {"in step": 1} == found | {"computed": 0.6, "padding": 0.0}


def test_all_ways_hold_the_same_number_of_tokens():
    rows, budget = QUICK.rows(0), QUICK.budgets[0]
    for way in ways(QUICK, budget).values():
        pieces = way.cut.of_ranks(rows, 1)[0]
        assert max(way.tokens(rows.select(piece)) for piece in pieces) <= budget


@pytest.mark.parametrize(("prompts", "budget"), [(4, 65536), (8, 65536), (12, 65536), (12, 16384)])
def test_few_prompts_on_eight_ranks_leave_none_idle(prompts, budget):
    """The longest first, on each batch as many pieces for every rank, and on average less waiting than in order."""
    batch = replace(BATCH, prompts=prompts, budgets=(budget,))
    drawn, cuts = [batch.rows(seed) for seed in range(10)], ways(batch, budget)
    longest_first, in_order = cuts["longest_first"], cuts["in_order"]
    for rows in drawn:
        assert len({len(pieces) for pieces in longest_first.cut.of_ranks(rows, 8)}) == 1

    def together(way):
        found = [counts(rows, way, 8) for rows in drawn]
        return mean(each["in step"] for each in found), mean(
            each["in step"] * each["computed"] for each in found
        )

    for ours, theirs in zip(together(longest_first), together(in_order), strict=True):
        assert ours <= theirs
    assert together(longest_first)[0] <= 1.04


def test_each_number_of_prompts_has_a_table(monkeypatch, capsys):
    monkeypatch.setattr(packing, "BATCH", QUICK)
    monkeypatch.setattr(sys, "argv", ["packing.py", "--prompts", "3", "2", "--batches", "1"])
    packing.main()
    heads = [line for line in capsys.readouterr().out.splitlines() if "prompts of 16 tokens" in line]
    assert [head.split()[0] for head in heads] == ["3", "2"]
