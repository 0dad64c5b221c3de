from random import Random

import pytest

from tasks.base import Problem
from tasks.demonstrations import demonstration
from tasks.kinds.number_guessing import NumberGuessing


def problem_with(low, high, number):
    return Problem(
        prompt=f"{low}-{high}:",
        answer=str(number),
        domain="guess",
        difficulty=3.0,
        facts={"low": low, "high": high, "number": number},
    )


def test_hints_until_the_number_is_found():
    task, problem = NumberGuessing(), problem_with(43, 49, 48)
    assert task.reply(problem, ["46"]) == ">"
    assert task.reply(problem, ["46", "49"]) == "<"
    assert task.reply(problem, ["46", "49", "48"]) is None
    assert task.reply(problem, ["48"]) is None
    assert (task.grade(problem, "48"), task.grade(problem, "49")) == (1.0, 0.0)


def test_the_last_guess_gets_no_hint():
    assert NumberGuessing().reply(problem_with(43, 49, 48), ["46", "46", "46"]) is None


@pytest.mark.parametrize("turn", ["", "no", "48 ", "4 8", "-48", "٤٨", "9" * 7, "48\n"])
def test_what_is_no_guess_ends_it(turn):
    task, problem = NumberGuessing(), problem_with(43, 49, 48)
    assert task.reply(problem, [turn]) is None
    assert task.grade(problem, turn) == 0.0


def test_in_words_the_last_number_is_the_guess():
    task, problem = NumberGuessing(words=True), problem_with(43, 49, 48)
    assert task.reply(problem, ["Not 43. Perhaps 46?"]) == "Higher."
    assert task.grade(problem, "It must be 48.") == 1.0
    assert "from" in task.problem("train", 0, 0).prompt


def test_a_demonstration_halves_what_is_left():
    # 46, then of 47..49 the middle, 48, then 47
    assert demonstration(NumberGuessing(), problem_with(43, 49, 47), Random(0), 0.0) == [
        "46",
        ">",
        "48",
        "<",
        "47",
    ]


def test_halving_always_finds_it():
    task = NumberGuessing(num_numbers=7)
    for number in range(43, 50):
        problem = problem_with(43, 49, number)
        assert task.grade(problem, demonstration(task, problem, Random(0), 0.0)[-1]) == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_guesses": 2}, "max_guesses must be between 3, which halving needs, and 32, got 2"),
        ({"max_number": 5}, "max_number must be between 10 and 999999, got 5"),
        ({"num_numbers": 1}, "num_numbers must be between 2 and 90, got 1"),
        ({"num_numbers": 91}, "num_numbers must be between 2 and 90, got 91"),
    ],
)
def test_settings_are_guarded(settings, message):
    with pytest.raises(ValueError, match=message):
        NumberGuessing(**settings)
