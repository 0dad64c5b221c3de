"""Sums with two routes: what each writes, where the shortcut is right, and how often each comes."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tasks.base import Problem
from tasks.kinds.route_trap import RouteTrap, _columns

SHORTCUT = RouteTrap(scratchpad_rate=0.0)
SCRATCHPAD = RouteTrap(scratchpad_rate=1.0)
TINY = 1e-12
"""An error rate at which no slip is made, and that is not 0."""


def sum_of(left, right):
    return Problem(
        prompt=f"{left}+{right}=",
        answer=str(left + right),
        domain="test",
        difficulty=3.0,
        facts={"left": left, "right": right},
    )


@pytest.mark.parametrize(
    ("left", "right", "direct", "pad"),
    [
        # 3 + 5 = 8; 7 + 8 = 15, of which 5 stays; 4 + 2 = 6
        (473, 285, ";658", "08,15,07;758"),
        (123, 456, ";579", "09,07,05;579"),
        # 5 + 5 = 10 in each column
        (555, 555, ";000", "10,11,11;1110"),
    ],
)
def test_both_routes_by_hand(left, right, direct, pad):
    problem = sum_of(left, right)
    assert SHORTCUT.demonstrate(problem, Random(0), TINY) == direct
    assert SCRATCHPAD.demonstrate(problem, Random(0), TINY) == pad
    assert SHORTCUT.demonstrate(problem, Random(0), 0.0) == pad  # without errors it has to be right
    assert SHORTCUT.grade(problem, pad) == 1.0
    assert SHORTCUT.grade(problem, direct) == float(direct == ";579")


def test_only_an_answer_after_a_semicolon_is_right():
    problem = sum_of(123, 456)
    right = [";579", "x;579", "09,07,05;579"]
    wrong = ["579", ";579;", ";0579", ";579 ", "", ";", "09;07;579"]
    assert [SHORTCUT.grade(problem, response) for response in right] == [1.0] * len(right)
    assert [SHORTCUT.grade(problem, response) for response in wrong] == [0.0] * len(wrong)


@pytest.mark.parametrize(("split", "share"), [("train", 0.6), ("held_out", 0.3)])
def test_the_shortcut_is_right_on_the_share_of_problems_that_is_asked_for(split, share):
    problems = [SHORTCUT.problem(split, 0, index) for index in range(1500)]
    right = [SHORTCUT.grade(p, SHORTCUT.demonstrate(p, Random(0), TINY)) == 1.0 for p in problems]
    assert right == [problem.domain == "no_carry" for problem in problems]
    assert abs(sum(right) / len(right) - share) < 0.05  # 4 standard errors of 0.0126
    assert all(SCRATCHPAD.grade(p, SCRATCHPAD.demonstrate(p, Random(0), TINY)) == 1.0 for p in problems)


@pytest.mark.parametrize(("carries", "num_pairs"), [(False, 36 * 55), (True, 90 * 90 - 36 * 55)])
def test_all_pairs_of_a_kind_are_equally_likely(carries, num_pairs):
    """No column of two digits carries in 36 pairs of tens (1 + 1 to 8 + 1) times 55 of ones (0 + 0 to 9 + 0)."""
    rng, expected = Random(4), 10
    drawn = Counter(_columns(2, carries, rng) for _ in range(expected * num_pairs))
    for left, right in drawn:
        assert (left % 10 + right % 10 >= 10 or left // 10 + right // 10 >= 10) == carries
    missing = num_pairs - len(drawn)
    square = sum((count - expected) ** 2 for count in drawn.values()) / expected + missing * expected
    # chi squared has the mean num_pairs - 1 and the variance twice that
    assert abs(square - (num_pairs - 1)) < 4 * (2 * (num_pairs - 1)) ** 0.5


def test_the_routes_come_at_their_rate_and_slip_apart():
    task, rng = RouteTrap(scratchpad_rate=0.1), Random(3)
    shown = [task.demonstrate(sum_of(473, 285), rng, 0.03) for _ in range(4000)]
    pads = [text for text in shown if text[0] != ";"]
    assert abs(len(pads) / len(shown) - 0.1) < 0.02
    # six digits without a slip: 0.97⁶ = 0.833, ± 4 standard errors of 0.019
    assert abs(sum(text == "08,15,07;758" for text in pads) / len(pads) - 0.833) < 0.08
    assert abs(shown.count(";658") / (len(shown) - len(pads)) - 0.97**3) < 0.02


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_digits": 1}, "num_digits must be between 2 and 6, got 1"),
        ({"scratchpad_rate": 1.1}, r"scratchpad_rate must be in \[0, 1\], got 1.1"),
        ({"no_carry_train": 1.0}, r"no_carry_train must be in \[0, 0.999\] .*, got 1.0"),
        ({"no_carry_held_out": -0.1}, r"no_carry_held_out must be in \[0, 0.999\] .*, got -0.1"),
    ],
)
def test_settings_are_guarded(setting, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        RouteTrap(**setting)
