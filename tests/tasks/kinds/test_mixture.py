from collections import Counter
from random import Random

import pytest

from tasks.kinds.arithmetic import Arithmetic
from tasks.kinds.countdown import Countdown
from tasks.kinds.jsonl import Jsonl
from tasks.kinds.mixture import Member, Mixture
from tasks.splits import held_out_set

SUMS = Member(task=Arithmetic(num_digits=2), weight=2, name="sums")
GAME = Member(task=Countdown(num_numbers=3))


def test_problems_come_in_proportion_everywhere():
    mixture = Mixture(tasks=(SUMS, GAME))
    # Credits (2, 1): 0 leaves (-1, 1); (1, 2): 1 leaves (1, -1); (3, 0): 0 leaves (0, 0).
    domains = [mixture.problem("train", 0, index).domain for index in range(6)]
    assert domains == ["sums.add2", "countdown.countdown3", "sums.add2"] * 2


def test_a_common_divisor_of_the_weights_changes_nothing():
    small = Mixture(tasks=(SUMS, GAME))
    large = Mixture(
        tasks=(Member(task=SUMS.task, weight=200, name="sums"), Member(task=GAME.task, weight=100))
    )
    assert [small.problem("train", 3, i) for i in range(9)] == [
        large.problem("train", 3, i) for i in range(9)
    ]


def test_members_are_walked_in_their_own_order():
    mixture = Mixture(tasks=(SUMS, GAME))
    sums = [p.prompt for i in range(12) if (p := mixture.problem("train", 5, i)).domain == "sums.add2"]
    assert sums == [SUMS.task.problem("train", 5, index).prompt for index in range(8)]


def test_an_epoch_of_a_member_stays_whole(jsonl_file):
    own = Jsonl(path=jsonl_file)
    mixture = Mixture(tasks=(Member(task=own, weight=1), GAME))
    different = len({own.problem("train", 0, index).prompt for index in range(200)})
    seen = [mixture.problem("train", 0, 2 * index).prompt for index in range(different)]
    assert len(set(seen)) == different


def test_the_exam_covers_every_member_in_proportion():
    evaluation = held_out_set(Mixture(tasks=(SUMS, GAME)), 12)
    assert Counter(p.domain for p in evaluation) == {"sums.add2": 8, "countdown.countdown3": 4}


def test_domains_of_the_same_name_are_told_apart():
    mixture = Mixture(
        tasks=(
            Member(task=Arithmetic(), name="easy"),
            Member(task=Arithmetic(num_digits=(2, 4)), name="hard"),
        )
    )
    assert {mixture.problem("train", 0, index).domain for index in range(60)} == {
        "easy.add2", "hard.add2", "hard.add3", "hard.add4",
    }  # fmt: skip


def test_each_member_judges_its_own():
    mixture = Mixture(tasks=(SUMS, GAME))
    for index in range(6):
        problem = mixture.problem("train", 0, index)
        assert mixture.grade(problem, mixture.demonstrate(problem, Random(0), 0.0)) == 1.0
        assert mixture.grade(problem, "no") == 0.0


def test_problems_are_dispatched_by_name_whatever_the_order_and_the_weights():
    one = Mixture(tasks=(SUMS, GAME))
    other = Mixture(tasks=(Member(task=GAME.task, weight=5), SUMS))
    for index in range(6):
        problem = one.problem("train", 0, index)
        assert other.grade(problem, one.demonstrate(problem, Random(0), 0.0)) == 1.0


def test_a_problem_of_nobody_is_refused():
    problem = Arithmetic().problem("train", 0, 0)
    with pytest.raises(ValueError, match="problem must be of a member of the mixture, got one of None"):
        Mixture(tasks=(SUMS, GAME)).grade(problem, "5")


def test_the_alphabet_is_the_union():
    alphabet = Mixture(tasks=(SUMS, GAME)).alphabet()
    assert set(alphabet) == set(SUMS.task.alphabet()) | set(GAME.task.alphabet())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixture(tasks=(SUMS,)), "tasks must have at least two members, got 1"),
        (lambda: Mixture(tasks=(GAME, GAME)), "different names, got 'countdown' 2 times; give each"),
        (
            lambda: Mixture(tasks=(SUMS, Member(task=Mixture(tasks=(SUMS, GAME))))),
            "not be mixtures themselves",
        ),
        (lambda: Member(task=GAME.task, weight=0), "weight must be a whole number from 1 to 1000, got 0"),
        (lambda: Member(task=GAME.task, name="a.b"), "name must be of letters, digits, _ and -, got 'a.b'"),
    ],
)
def test_settings_are_guarded(make, message):
    with pytest.raises(ValueError, match=message):
        make()
