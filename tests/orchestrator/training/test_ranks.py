"""How work is dealt over ranks, and what they hold together."""

from __future__ import annotations

import pytest
import torch

from orchestrator.training.ranks import Ranks, RanksDisagreeError
from policies.statistics.micro_batches import ByRows
from policies.statistics.response_statistics import Statistics
from policies.statistics.sequences import pack
from tasks.grading.pool import Grades

LENGTHS = (3, 1, 5, 2, 4)


@pytest.fixture
def sequences():
    return pack([torch.tensor([1, 1])] * 5, [torch.full((n,), 4) for n in LENGTHS], pad_id=0)


def all_ranks(size):
    return [Ranks(rank=rank, size=size) for rank in range(size)]


@pytest.mark.parametrize(("num_items", "size"), [(6, 2), (7, 3), (3, 3), (2, 4)])
def test_shares_are_neighbours_and_cover_all(num_items, size):
    shares = [ranks.share(num_items) for ranks in all_ranks(size)]
    assert [i for share in shares for i in share] == list(range(num_items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_every_rank_gets_as_many_pieces(sequences):
    pieces = [ranks.pieces(sequences, ByRows(1)) for ranks in all_ranks(2)]
    assert [[(rows.tolist(), counts) for rows, counts in each] for each in pieces] == [
        [([2], True), ([0], True), ([1], True)],
        [([4], True), ([3], True), ([0], False)],
    ]


def test_more_ranks_than_rows(sequences):
    pieces = [ranks.pieces(sequences.select(torch.arange(2)), ByRows(8)) for ranks in all_ranks(3)]
    assert [[counts for _, counts in each] for each in pieces] == [[True], [True], [False]]


def test_one_rank_has_the_pieces_of_no_ranks(sequences):
    mine = [(rows.tolist(), counts) for rows, counts in Ranks().pieces(sequences, ByRows(2))]
    assert mine == [([2, 4], True), ([0, 3], True), ([1], True)]


def test_statistics_go_where_their_tokens_are():
    places = [torch.tensor([3, 0]), torch.tensor([1, 2])]
    parts = [
        Statistics(logprobs=torch.tensor([-3.0, -0.5]), entropy=torch.tensor([3.0, 0.5])),
        Statistics(logprobs=torch.tensor([-1.0, -2.0]), entropy=torch.tensor([1.0, 2.0])),
    ]
    whole = Statistics.assembled(places, parts)
    assert whole.logprobs.tolist() == [-0.5, -1.0, -2.0, -3.0]
    assert whole.entropy.tolist() == [0.5, 1.0, 2.0, 3.0]
    assert whole.filtered_entropy is None
    of_five = Statistics.assembled(places, parts, 5)
    assert of_five.entropy[:4].tolist() == whole.entropy.tolist()
    assert of_five.entropy[4].isnan()


def test_grades_of_parts():
    one = Grades(scores=[1.0], num_timeouts=1)
    other = Grades(scores=[0.0, 0.5], num_errors=2, num_crashes=1, first_error="odd")
    assert Grades.join([one, other]) == Grades(
        scores=[1.0, 0.0, 0.5], num_timeouts=1, num_errors=2, num_crashes=1, first_error="odd"
    )


def test_ranks_that_disagree_say_how(monkeypatch):
    monkeypatch.setattr(Ranks, "gather", lambda _, value: [value, {"bonus": 0.2}])
    Ranks().check_agreement("the commands", {"bonus": 0.2})
    with pytest.raises(RanksDisagreeError, match=r"the commands: rank 0 has .*0.1.*; rank 1 has .*0.2"):
        Ranks().check_agreement("the commands", {"bonus": 0.1})
