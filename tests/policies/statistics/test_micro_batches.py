"""Cuts of a batch: all rows once, what is in a piece, and who stays together."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.statistics.micro_batches import ByRows, ByTokens, LongestFirst
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


@given(ragged, st.integers(1, 40), st.integers(1, 4), st.sampled_from([ByRows, ByTokens, LongestFirst]))
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_one_piece_of_one_rank(groups, size, num_ranks, kind):
    sequences = rows_of(groups)
    pieces = kind(size).of_ranks(sequences, num_ranks)
    assert len(pieces) == num_ranks
    found = [row for each in pieces for rows in each for row in rows.tolist()]
    assert sorted(found) == list(range(len(sequences.prompt)))


@given(ragged, st.integers(1, 40), st.integers(1, 4), st.sampled_from([ByTokens, LongestFirst]))
@settings(max_examples=60, deadline=None)
def test_no_piece_reads_more_tokens_than_its_budget_unless_it_is_one_row(groups, budget, num_ranks, kind):
    sequences = rows_of(groups)
    for rows in (rows for each in kind(budget).of_ranks(sequences, num_ranks) for rows in each):
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


def test_the_longest_go_first_each_where_there_is_room():
    """Prompts of 2: responses of 4 and 9 to one part, and the shorter ones stand where there is most room."""
    sequences = rows_of([(2, [4, 9]), (2, [3]), (2, [1])])
    assert listed(LongestFirst(12).of_ranks(sequences, 1)) == [[[1], [2, 3], [0]]]  # 11, 5 + 3, and 6
    assert listed(LongestFirst(14).of_ranks(sequences, 1)) == [[[1, 3], [0, 2]]]  # 11 + 3, 6 + 5
    assert listed(ByTokens(14).of_ranks(sequences, 1)) == [[[0], [1], [2, 3]]]


def test_siblings_that_a_piece_holds_stay_together_by_length_too():
    sequences = rows_of([(10, [1, 8, 1, 8]), (10, [7, 2, 7, 2])])
    assert listed(LongestFirst(28).of_ranks(sequences, 1)) == [[[0, 1, 2, 3], [4, 5, 6, 7]]]


def test_pieces_are_evened_for_the_ranks_and_dealt_in_turn_the_largest_first():
    sequences = rows_of([(1, [length]) for length in (3, 9, 5, 7)])
    assert listed(LongestFirst(10).of_ranks(sequences, 2)) == [[[1], [2]], [[3], [0]]]  # 10 and 8, 6 and 4
    assert listed(LongestFirst(100).of_ranks(sequences, 2)) == [[[0, 1]], [[2, 3]]]  # 4 + 10 and 6 + 8
    assert listed(LongestFirst(100).of_ranks(sequences, 8)) == [[[1]], [[3]], [[2]], [[0]], [], [], [], []]


def test_pieces_are_full_where_they_cannot_be_even():
    """With 10 at once, 6 + 4 and 5 + 5 are two pieces, and no third one would be needed for evenness."""
    sequences = rows_of([(1, [length - 1]) for length in (6, 5, 5, 4)])
    assert listed(LongestFirst(10).of_ranks(sequences, 1)) == [[[0, 3], [1, 2]]]
    unequal = rows_of([(1, [length - 1]) for length in (3, 3, 2, 2, 2)])
    assert listed(LongestFirst(6).of_ranks(unequal, 1)) == [
        [[0, 1], [2, 3, 4]]
    ]  # the emptiest have 3 + 2 + 2 and 3 + 2


def test_siblings_part_where_ranks_would_wait():
    """On one rank a prompt of 2 is read once; two ranks read it twice, for 2 + 8 and 2 + 4 + 5 tokens instead of 19 and none."""
    sequences = rows_of([(2, [4, 8, 5])])
    assert listed(LongestFirst(100).of_ranks(sequences, 1)) == [[[0, 1, 2]]]
    assert listed(LongestFirst(100).of_ranks(sequences, 2)) == [[[0, 2]], [[1]]]


def test_siblings_stay_together_where_parting_them_reads_more_than_it_evens():
    """Pieces of 30 and 27; a prompt of 20 read by both ranks would make both longer."""
    sequences = rows_of([(20, [5, 5]), (20, [4, 3])])
    assert listed(LongestFirst(100).of_ranks(sequences, 2)) == [[[0, 1]], [[2, 3]]]


def test_full_pieces_are_divided_where_no_others_fit():
    """In a budget of 6, sizes 3, 3 and 2, 2, 2 are two full pieces; three ranks need a third, and one rank does not."""
    unequal = rows_of([(1, [length - 1]) for length in (3, 3, 2, 2, 2)])
    sizes = [
        [len(packed_rows(unequal.select(rows)).rows) for rows in each]
        for each in LongestFirst(6).of_ranks(unequal, 3)
    ]
    assert [len(each) for each in sizes] == [1, 1, 1]


@given(ragged, st.integers(1, 40), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_ranks_have_as_many_pieces_unless_each_is_a_row(groups, budget, num_ranks):
    pieces = LongestFirst(budget).of_ranks(rows_of(groups), num_ranks)
    counts = {len(each) for each in pieces}
    assert len(counts) == 1 or all(len(rows) == 1 for each in pieces for rows in each)
    assert max(counts) - min(counts) <= 1


def test_few_long_responses_take_fewer_passes_and_ranks_wait_less():
    """Passes are those of the rank with most of them; what a pass takes is the longest piece of any rank."""
    sequences = rows_of([(5, [10 + 5 * p + 90 * (n == p % 8) for n in range(8)]) for p in range(12)])

    def passes(kind):
        by_rank = [
            [len(packed_rows(sequences.select(rows)).rows) for rows in each]
            for each in kind(160).of_ranks(sequences, 4)
        ]
        together = list(itertools.zip_longest(*by_rank, fillvalue=0))
        return len(together), sum(map(max, together)), sum(map(sum, by_rank))

    in_order, longest_first = passes(ByTokens), passes(LongestFirst)
    assert longest_first[0] < in_order[0]
    assert longest_first[1] < 0.9 * in_order[1]
    assert longest_first[2] <= 1.05 * in_order[2]  # prompts that are read again
