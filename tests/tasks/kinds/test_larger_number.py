"""Comparisons of two numbers after examples: the text, the split, the grade."""

from __future__ import annotations

import pytest

from tasks.kinds.larger_number import LargerNumber


def pair(problem):
    question, left, right = problem.prompt.splitlines()[-1].removesuffix(":").split(" ")
    return question, int(left), int(right)


def test_a_prompt_is_examples_and_a_question():
    problem = LargerNumber(num_examples=2).problem("train", 0, 0)
    *examples, asked = problem.prompt.split("\n")
    assert len(examples) == 2
    for example in examples:
        question, left, right, answer = example.replace(":", "").split(" ")
        assert question == "larger"
        assert int(answer) == max(int(left), int(right))
    assert asked.endswith(":")
    _, left, right = pair(problem)
    assert problem.answer == str(max(left, right))
    assert (problem.domain, problem.difficulty) == ("larger", float(len(problem.answer)))
    assert LargerNumber(num_examples=0).problem("train", 0, 0).prompt.count("\n") == 0


def test_examples_are_the_same_in_every_prompt_and_go_through_the_questions():
    task = LargerNumber(questions=("larger", "smaller"), num_examples=4)
    problems = [task.problem("train", 1, index) for index in range(30)]
    assert len({problem.prompt.rpartition("\n")[0] for problem in problems}) == 1
    assert [line.split(" ")[0] for line in problems[0].prompt.split("\n")[:4]] == ["larger", "smaller"] * 2
    assert {problem.domain for problem in problems} == {"larger", "smaller"}
    for problem in problems:
        question, left, right = pair(problem)
        assert problem.answer == str({"larger": max, "smaller": min}[question](left, right))


def test_numbers_differ_and_reach_the_largest():
    drawn = [pair(LargerNumber(largest_number=9).problem("train", 0, index))[1:] for index in range(500)]
    assert all(left != right for left, right in drawn)
    assert {number for numbers in drawn for number in numbers} == set(range(10))


@pytest.mark.parametrize(
    ("response", "score"),
    [
        (" 71", 1.0),
        ("71", 1.0),
        ("71 ", 1.0),
        ("071", 0.0),
        ("71.", 0.0),
        ("71\n", 0.0),
        ("34", 0.0),
        ("", 0.0),
    ],
)
def test_the_whole_response_must_be_the_number(response, score):
    task = LargerNumber()
    problem = next(p for p in (task.problem("train", 0, i) for i in range(20_000)) if p.answer == "71")
    assert task.grade(problem, response) == score


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"questions": ()}, "questions must name at least one of larger, smaller, got none"),
        ({"questions": ("largest",)}, "questions must be among larger, smaller, got 'largest'"),
        ({"questions": ("larger", "larger")}, "questions must differ"),
        ({"largest_number": 8}, "largest_number must be between 9 and 1000000, got 8"),
        ({"num_examples": -1}, "num_examples must be between 0 and 32, got -1"),
    ],
)
def test_settings_are_guarded(settings, rule):
    with pytest.raises(ValueError, match=rule):
        LargerNumber(**settings)
