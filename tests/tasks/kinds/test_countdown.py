from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.answers.expressions import evaluate
from tasks.base import Problem
from tasks.kinds.countdown import Countdown, _join, _Term

TASK = Countdown(num_numbers=(2, 6), max_number=12)
PROBLEM = Problem(
    prompt="2,3,3,7=13:",
    answer="2*3+7",
    domain="countdown4",
    difficulty=4.0,
    facts={"numbers": [2, 3, 3, 7], "target": 13},
)


@pytest.mark.parametrize("response", ["2*3+7", "7+3*2", "(2*3)+7", "3+3+7", " 7 + 3 + 3 ", "7*2-3/3"])
def test_any_right_expression_scores_1(response):
    assert TASK.grade(PROBLEM, response) == 1.0


@pytest.mark.parametrize(
    "response",
    [
        "13",  # not among the numbers
        "7+7-1",  # 7 is there once
        "3+3+3+3+1",
        "2*3+6",
        "2*3+7=13",
        "2*3+7;",
        "27/2",  # digits may not be glued together
        "2*3+7 is right",
        "",
        "9**9**9",
        "(" * 200,
        "2*3+7\n",
        "7+6/1",
        "٢*٣+٧",
    ],
)
def test_everything_else_scores_0(response):
    assert TASK.grade(PROBLEM, response) == 0.0


@given(index=st.integers(0, 10**9), seed=st.integers(), split=st.sampled_from(["train", "held_out"]))
def test_every_problem_is_solved_by_its_answer(index, seed, split):
    problem = TASK.problem(split, seed, index)
    numbers, target = problem.facts["numbers"], problem.facts["target"]
    value, used = evaluate(problem.answer)
    assert value == target
    assert sorted(used) == numbers == sorted(numbers)
    assert target not in numbers
    assert 1 <= target <= 99
    assert 1 <= min(numbers) <= max(numbers) <= 12
    assert problem.prompt == ",".join(map(str, numbers)) + f"={target}:"
    assert problem.difficulty == len(numbers)
    assert problem.domain == f"countdown{len(numbers)}"
    assert TASK.grade(problem, problem.answer) == 1.0


@pytest.mark.parametrize(
    ("left", "operation", "right", "text"),
    [
        ("2+3", "+", "4+5", "2+3+4+5"),
        ("2+3", "-", "4+5", "2+3-(4+5)"),
        ("2+3", "*", "4-5", "(2+3)*(4-5)"),
        ("2*3", "+", "4/5", "2*3+4/5"),
        ("2*3", "*", "4/5", "2*3*4/5"),
        ("2*3", "/", "4*5", "2*3/(4*5)"),
        ("2", "-", "4*5", "2-4*5"),
        ("2", "/", "4", "2/4"),
    ],
)
def test_parentheses_are_only_where_they_are_needed(left, operation, right, text):
    joined = _join(term(left), operation, term(right))
    assert joined.text == text
    assert evaluate(joined.text).value == joined.value


def term(text):
    precedence = 1 if set(text) & set("+-") else 2 if set(text) & set("*/") else 3
    return _Term(text, evaluate(text).value, precedence)


def test_the_operations_of_the_solution_can_be_chosen():
    task = Countdown(operations=("+",), max_target=20)
    answers = [task.problem("train", 0, index).answer for index in range(50)]
    assert all(set(answer) <= set("0123456789+") for answer in answers)


def test_slips_hit_digits_and_operations_and_leave_the_rest():
    wrong = TASK.demonstrate(PROBLEM, Random(0), 1.0)
    assert len(wrong) == len("2*3+7")
    assert all(a != b for a, b in zip(wrong, "2*3+7", strict=True))
    assert wrong[0].isdigit()
    assert wrong[1] in "+-/"


def test_an_unreachable_target_is_reported():
    task = Countdown(num_numbers=2, max_number=2, min_target=90, max_target=99)
    with pytest.raises(ValueError, match="max_target must be reachable, got targets 90 to 99"):
        task.problem("train", 0, 0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_numbers": 1}, "num_numbers must be between 2 and 6, got 1"),
        ({"num_numbers": (2, 9)}, "num_numbers must be between 2 and 6, got 9"),
        ({"max_number": 0}, "max_number must be between 1 and 999, got 0"),
        ({"min_target": 0}, r"min_target must be between 1 and max_target \(99\), got 0"),
        ({"min_target": 50, "max_target": 20}, r"min_target must be between 1 and max_target \(20\), got 50"),
        ({"operations": ()}, "operations must name at least one"),
        ({"operations": ("^",)}, r"operations must be among \+, -, \*, /, got '\^'"),
    ],
)
def test_settings_are_guarded(setting, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Countdown(**setting)
