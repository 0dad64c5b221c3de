"""Cuts of a batch: all rows once, what is in a piece, and who stays together."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.statistics.micro_batches import ByRows, ByTokens
from policies.statistics.packed_rows import packed_rows
from policies.statistics.sequences import pack


def rows_of(groups):
    """Rows of (prompt length, response lengths); prompts differ in their first token."""
    prompts = [torch.full((length,), 4 + n) for n, (length, own) in enumerate(groups) for _ in own]
    return pack(prompts, [torch.full((r,), 3) for _, own in groups for r in own], pad_id=0)


ragged = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.integers(0, 8), min_size=1, max_size=5)), min_size=1, max_size=5
)


def listed(pieces):
    return [[rows.tolist() for rows in each] for each in pieces]


@given(ragged, st.integers(1, 40), st.integers(1, 4), st.sampled_from([ByRows, ByTokens]))
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_one_piece_of_one_rank(groups, size, num_ranks, kind):
    sequences = rows_of(groups)
    pieces = kind(size).of_ranks(sequences, num_ranks)
    assert len(pieces) == num_ranks
    found = [row for each in pieces for rows in each for row in rows.tolist()]
    assert sorted(found) == list(range(len(sequences.prompt)))


@given(ragged, st.integers(1, 40), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_no_piece_reads_more_tokens_than_its_budget_unless_it_is_one_row(groups, budget, num_ranks):
    sequences = rows_of(groups)
    for rows in (rows for each in ByTokens(budget).of_ranks(sequences, num_ranks) for rows in each):
        assert len(packed_rows(sequences.select(rows)).rows) <= budget or len(rows) == 1


def test_rows_are_dealt_in_turn_by_length_and_cut_longest_first():
    sequences = rows_of([(2, [3, 1, 5, 2, 4])])
    assert listed(ByRows(2).of_ranks(sequences, 2)) == [[[2, 0], [1]], [[4, 3]]]
    assert listed(ByRows().of_ranks(sequences, 1)) == [[[2, 4, 0, 3, 1]]]


def test_siblings_stay_together_where_their_lengths_would_part_them():
    sequences = rows_of([(10, [1, 8, 1, 8]), (10, [7, 2, 7, 2])])
    assert listed(ByTokens(1000).of_ranks(sequences, 2)) == [[[0, 1, 2, 3]], [[4, 5, 6, 7]]]
    assert sorted(ByRows().of_ranks(sequences, 2)[0][0].tolist()) != [0, 1, 2, 3]


def test_a_budget_counts_a_prompt_once_in_each_piece():
    sequences = rows_of([(10, [3, 3, 3])])
    assert listed(ByTokens(16).of_ranks(sequences, 1)) == [[[0, 1], [2]]]
    assert listed(ByTokens(19).of_ranks(sequences, 1)) == [[[0, 1, 2]]]


def test_ranks_have_much_the_same_number_of_tokens():
    sequences = rows_of([(4, [n % 13 for n in range(p, p + 8)]) for p in range(6)])
    shares = [torch.cat(each) for each in ByTokens(50).of_ranks(sequences, 3)]
    tokens = [len(packed_rows(sequences.select(rows)).rows) for rows in shares]
    assert max(tokens) - min(tokens) <= int(sequences.lengths.max())


def test_an_empty_response_at_the_end_is_the_last_ranks():
    assert listed(ByTokens(50).of_ranks(rows_of([(4, [2, 0])]), 1)) == [[[0, 1]]]


def test_a_rank_for_which_nothing_is_left_has_no_piece():
    assert listed(ByTokens(50).of_ranks(rows_of([(4, [2])]), 3))[1] == [[0]]
    assert ByRows(4).of_ranks(rows_of([(4, [2])]), 2)[1] == []
