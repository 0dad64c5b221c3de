"""A beginner with a misconception: what is written, how often, and that other slips stay apart."""

from __future__ import annotations

from random import Random

import pytest

from tasks.kinds.arithmetic import Arithmetic
from tasks.misconceptions import Misconception
from tests.tasks.kinds.test_arithmetic import sum_of


def task_with(fault, rate=1.0):
    return Arithmetic(
        num_digits=(1, 3), operations=("+", "-", "*"), misconception=Misconception(fault=fault, rate=rate)
    )


@pytest.mark.parametrize(
    ("fault", "problem", "shown"),
    [
        # 7 + 5 = 12 and 4 + 8 = 12, each without its carry
        ("forgets_carry", sum_of(47, "+", 85, 132), "02,02;22"),
        ("forgets_carry", sum_of(11, "+", 22, 33), "03,03;33"),  # no occasion
        ("forgets_carry", sum_of(52, "-", 17, 35), "15,3;35"),  # another operation
        ("forgets_carry", sum_of(47, "*", 85, 3995), "235,376;3995"),
        # 2 - 7 leaves 5 and borrows; forgotten, 5 - 1 = 4
        ("forgets_borrow", sum_of(52, "-", 17, 35), "05,4;45"),
        ("forgets_borrow", sum_of(47, "+", 85, 132), "12,13;132"),
        # a top column of one digit borrows nothing, whatever the digit
        ("forgets_borrow", sum_of(30, "-", 20, 10), "00,1;10"),
    ],
)
def test_a_fault_by_hand(fault, problem, shown):
    task = task_with(fault)
    assert task.demonstrate(problem, Random(0), 0.0) == shown
    assert task.grade(problem, shown) == float(shown.split(";")[1] == problem.answer)


def test_a_fault_comes_at_its_rate_in_the_columns_that_have_an_occasion():
    task, rng = task_with("forgets_carry", 0.9), Random(5)
    shown = [task.demonstrate(sum_of(47, "+", 85, 132), rng, 0.0) for _ in range(4000)]
    # remembered in both columns: 0.1²; forgotten in the first, so that 4 + 8 = 12 has one too: 0.9²
    assert abs(shown.count("12,13;132") / 4000 - 0.01) < 0.007  # 4 standard errors of 0.0016
    assert abs(shown.count("02,02;22") / 4000 - 0.81) < 0.025
    assert abs(shown.count("02,12;122") / 4000 - 0.09) < 0.02
    assert abs(shown.count("12,03;32") / 4000 - 0.09) < 0.02


def test_slips_come_on_top():
    task, rng = task_with("forgets_carry", 0.97), Random(6)
    shown = [task.demonstrate(sum_of(11, "+", 22, 33), rng, 0.03) for _ in range(4000)]
    assert abs(shown.count("03,03;33") / 4000 - 0.97**4) < 0.025


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_a_rate_of_0_is_no_fault_and_problems_and_grades_do_not_know_of_it(rate):
    plain, task = Arithmetic(num_digits=(1, 3), operations=("+", "-", "*")), task_with("forgets_carry", rate)
    for index in range(50):
        problem = plain.problem("train", 0, index)
        assert task.problem("train", 0, index) == problem
        assert task.grade(problem, plain.demonstrate(problem, Random(index), 0.0)) == 1.0
        if rate == 0.0:
            assert task.demonstrate(problem, Random(index), 0.0) == plain.demonstrate(
                problem, Random(index), 0.0
            )
    assert set(task.alphabet()) == set(plain.alphabet())


def test_an_unknown_fault_is_refused_with_those_that_are_known():
    with pytest.raises(
        ValueError,
        match=r"^misconception.fault must be one of forgets_borrow, forgets_carry, got 'forgets_sign'",
    ):
        task_with("forgets_sign")


def test_a_fault_of_an_operation_that_is_not_asked_for_is_refused():
    with pytest.raises(ValueError, match=r"^misconception.fault .* got 'forgets_borrow' of - among \+; name"):
        Arithmetic(misconception=Misconception(fault="forgets_borrow"))


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_is_a_probability(rate):
    with pytest.raises(ValueError, match=rf"^rate must be in \[0, 1\], got {rate}"):
        Misconception(fault="forgets_carry", rate=rate)
