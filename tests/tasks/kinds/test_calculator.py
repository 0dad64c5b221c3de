from random import Random

import pytest

from tasks.answers.expressions import evaluate
from tasks.base import Problem
from tasks.demonstrations import demonstration
from tasks.kinds.calculator import Calculator

PROBLEM = Problem(
    prompt="38*27+5?",
    answer="1031",
    domain="calculator",
    difficulty=2.0,
    facts={"first": 38, "rest": ["*27", "+5"]},
)


@pytest.mark.parametrize(
    ("turn", "reply"),
    [
        ("38*27=", "1026"),
        ("5-9=", "-4"),
        ("6/3=", "2"),
        ("6/4=", "?"),  # no whole number
        ("38*27+5=", "?"),  # two operations
        ("38=", "?"),
        ("=", "?"),
        ("1/0=", "?"),
        ("9**9**9=", "?"),
        ("9999999999*2=", "?"),  # too long
        ("(" * 10_000 + "=", "?"),
        ("1031", None),
        ("", None),
    ],
)
def test_replies_of_the_calculator(turn, reply):
    assert Calculator().reply(PROBLEM, [turn]) == reply


def test_calls_are_numbered():
    task = Calculator(max_calls=2)
    assert task.reply(PROBLEM, ["38*27=", "1026+5="]) == "1031"
    assert task.reply(PROBLEM, ["1+1="] * 3) is None


def test_the_last_turn_is_the_answer_to_the_letter():
    task = Calculator()
    assert [task.grade(PROBLEM, text) for text in ("1031", "1031=", "01031", " 1031", "1026")] == [
        1.0,
        0,
        0,
        0,
        0,
    ]


def test_in_words_the_last_line_is_the_call_and_the_last_number_the_answer():
    task = Calculator(words=True)
    assert task.reply(PROBLEM, ["First the product:\n38*27="]) == "1026"
    assert task.reply(PROBLEM, ["38*27= is to be found"]) is None
    assert task.grade(PROBLEM, "So it is 1031.") == 1.0
    assert task.grade(PROBLEM, "1026+5=") == 0.0


def test_a_demonstration_makes_the_calls_in_order():
    said = demonstration(Calculator(), PROBLEM, Random(0), 0.0)
    assert said == ["38*27=", "1026", "1026+5=", "1031", "1031"]


def test_a_slip_is_taken_as_it_is():
    task = Calculator()
    said = next(s for i in range(99) if (s := demonstration(task, PROBLEM, Random(i), 0.2))[0] != "38*27=")
    assert said[1] == str(evaluate(said[0].removesuffix("=")).value)


def test_a_call_that_was_refused_is_made_again():
    task = Calculator()
    assert task.demonstrate_turn(PROBLEM, ["08*27="], Random(0), 0.0) == "38*27="


def test_prompts_are_worth_their_answers():
    task = Calculator(operations=("+", "-", "*"), num_operations=(1, 4), num_digits=(1, 3))
    for index in range(200):
        problem = task.problem("train", 0, index)
        assert evaluate(problem.prompt.removesuffix("?")).value == int(problem.answer) >= 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"operations": ("*",)}, "operations must hold \\+ or -"),
        ({"operations": ("/",)}, "operations must be among"),
        ({"max_calls": 1}, "max_calls must be between 2, which the longest chain needs, and 32, got 1"),
        ({"num_operations": 9}, "num_operations must be between 1 and 8, got 9"),
        ({"num_digits": 0}, "num_digits must be between 1 and 4, got 0"),
    ],
)
def test_settings_are_guarded(settings, message):
    with pytest.raises(ValueError, match=message):
        Calculator(**settings)
