"""Rewards of a user's own: what a function may ask for and give, and what graders make of its faults."""

import math
import sys

import pytest

from tasks import TASKS
from tasks.base import Problem
from tasks.grading.pool import GradingPool
from tasks.kinds.mixture import Member
from tasks.rewards import Reward, combined

SOURCE = """
import os, sys, time
import helper

def partial(response, answer):
    return sum(a == b for a, b in zip(response, answer)) / max(len(answer), len(response), 1)

def everything(prompt, response, answer, facts):
    return float(prompt == "2+3=" and answer == "5" and facts == {"hint": [1, 2]})

def named(response): return {"digits": 0.5, "format": True}
def scored(**given): return {"score": 0.25, "length": len(given["response"]), "below": -3}
def half(response): return helper.HALF
def spare(response, scale=2, *rest): return 1 / scale

def raises(response): raise KeyError("x")
def leaves(response): sys.exit(3)
def hangs(response):
    while True: pass
def dies(response): os._exit(7)
def is_nan(response): return float("nan")
def is_none(response): pass
def is_text(response): return "1"
def is_low(response): return -0.5
def is_high(response): return {"a": 0.5, "b": 1.5}
def is_empty(response): return {}
def odd_name(response): return {"a\\nb": 1}
def many(response): return {f"n{i}": 1 for i in range(33)}
def writes(response): open(os.path.join(os.path.dirname(__file__), "leak"), "w")
def sockets(response):
    import socket
    socket.socket()
def moves(response):
    os.chdir("/")
    print("[\\"GradedAnswer\\", 1.0]" * 1000)
    os.write(1, b"not a message")
    return 0.5

def other(completion): return 1
def no_response(prompt): return 1
def by_place(response, /): return 1
async def later(response): return 1
def stream(response): yield 1
class Judge:
    def __call__(self, response): return 1
def by_response(response): return {response: 1.0}
THING = 3
"""
PROBLEM = Problem(prompt="2+3=", answer="5", domain="sum", difficulty=1.0, facts={"hint": [1, 2]})
GIVEN = {"prompt": "2+3=", "response": "5", "answer": "5", "facts": {"hint": [1, 2]}}


@pytest.fixture
def of(tmp_path):
    """A reward by the name of a function of the file above."""
    (tmp_path / "rewards.py").write_text(SOURCE)
    (tmp_path / "helper.py").write_text("HALF = 0.5\n")

    def make(name, **settings):
        return Reward(function=f"{tmp_path / 'rewards.py'}:{name}", **settings)

    yield make
    sys.modules.pop("helper", None)


def sums(*rewards):
    return TASKS["arithmetic"](num_digits=1, operations=("+",), reward=rewards)


def test_a_function_is_given_what_it_names(of):
    assert of("everything").score(GIVEN) == (1.0, {"everything": 1.0})
    assert of("everything").score(GIVEN | {"facts": {}}) == (0.0, {"everything": 0.0})
    assert of("partial").score(GIVEN | {"response": "51"}).value == 0.5
    assert of("half").score(GIVEN).value == 0.5
    assert of("spare").score(GIVEN).value == 0.5


def test_named_numbers_count_by_their_mean_or_by_the_one_called_score(of):
    assert of("named").score(GIVEN) == (0.75, {"named/digits": 0.5, "named/format": 1.0})
    assert of("scored").score(GIVEN) == (
        0.25,
        {"scored/score": 0.25, "scored/length": 1.0, "scored/below": -3.0},
    )


def test_several_rewards_are_one_by_their_weights(of):
    score = combined([of("partial", weight=3), of("named"), of("half", weight=0.5)], GIVEN)
    assert math.isclose(score.value, (3 * 1 + 1 * 0.75 + 0.5 * 0.5) / 4.5)
    assert score.parts == {"partial": 1.0, "named/digits": 0.5, "named/format": 1.0, "half": 0.5}
    assert combined([of("partial", weight=0.1), of("everything", weight=0.7)], GIVEN).value == 1.0


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf])
def test_a_weight_is_positive(weight):
    with pytest.raises(ValueError, match="weight must be above 0 and finite"):
        Reward(function="rewards.py:f", weight=weight)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("is_nan", "is_nan must be finite, got nan"),
        ("is_none", "is_none must be a number, got None"),
        ("is_text", "is_text must be a number, got '1'"),
        ("is_low", r"is_low must be between 0 \(wrong\) and 1 \(right\), got -0.5; scale it"),
        ("is_high", r"is_high/b must be between 0 \(wrong\) and 1 \(right\), got 1.5"),
        ("is_empty", "is_empty must give 1 to 32 numbers, got 0"),
        ("many", "many must give 1 to 32 numbers, got 33"),
        ("odd_name", "names of numbers must be short"),
    ],
)
def test_what_is_no_fraction_is_an_error_and_no_score(of, name, said):
    with pytest.raises(ValueError, match=said):
        of(name).score(GIVEN)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other", "asks for 'completion', and a reward is given prompt, response, answer, facts"),
        ("no_response", r"must take 'response', got \(prompt\)"),
        ("by_place", "asks for 'response', and a reward is given .* by name"),
        ("later", "must give its number by return"),
        ("stream", "must give its number by return"),
        ("Judge", "must be a function"),
        ("THING", "must be a function"),
        ("absent", "has no 'absent'; it has partial, everything"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_before_it_is(of, name, said):
    with pytest.raises(ValueError, match=said):
        of(name).load()


def test_graders_reward_with_functions_and_sum_their_numbers(of):
    task = sums(of("partial"), of("named"))
    problems = [task.problem("train", 0, index) for index in range(3)]
    responses = [problems[0].answer, "x", problems[2].answer]
    with GradingPool(task, num_workers=2) as pool:
        grades = pool.grade(problems, responses)
    assert grades.scores == [0.875, 0.375, 0.875]
    assert grades.means == {"partial": 2 / 3, "named/digits": 0.5, "named/format": 1.0}
    assert grades.sums["partial"] == (2.0, 3)
    twice = type(grades).join([grades, grades])
    assert twice.sums["named/digits"] == (3.0, 6)
    assert twice.means == grades.means


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        ("raises", "num_errors", "KeyError: 'x'"),
        ("leaves", "num_errors", "SystemExit: 3"),
        ("is_nan", "num_errors", "ValueError: is_nan must be finite, got nan"),
        ("hangs", "num_timeouts", ""),
        ("dies", "num_crashes", "its worker ended with exit code 7"),
        ("writes", "num_errors", "PermissionError"),
        ("sockets", "num_errors", "a reward may read and compute, and no more"),
    ],
)
def test_a_reward_that_goes_wrong_is_a_graders_fault_and_scores_nothing(of, tmp_path, name, fault, said):
    task = sums(of(name))
    with GradingPool(task, timeout_seconds=0.3) as pool:
        if any("NOT HELD" in pool.confinement[rule] for rule in ("network", "writing")):
            pytest.skip("this system confines no graders")
        grades = pool.grade([PROBLEM, PROBLEM], ["a", "b"])
    assert grades.scores == [0.0, 0.0]
    assert getattr(grades, fault) == 2
    assert grades.means == {}
    assert said in grades.first_error
    assert not (tmp_path / "leak").exists()


def test_what_a_reward_prints_is_no_message_and_no_output(of, capfd):
    with GradingPool(sums(of("moves"))) as pool:
        assert pool.grade([PROBLEM] * 2, ["a", "b"]).scores == [0.5, 0.5]
    output = capfd.readouterr()
    assert "not a message" in output.err
    assert output.out == ""


def test_a_worker_that_starts_later_rewards_by_the_text_that_the_run_began_with(of, tmp_path):
    task = sums(of("partial"), of("half"))
    with GradingPool(task) as pool:
        before = pool.grade([PROBLEM], ["5"]).scores
        (tmp_path / "rewards.py").write_text(
            "def partial(response): return 0\ndef half(response): return 0\n"
        )
        (tmp_path / "helper.py").write_text("HALF = 0\n")
        pool._workers[0].kill()
        assert pool.grade([PROBLEM], ["5"]).scores == before == [0.75]


def test_the_members_of_a_mixture_have_rewards_of_their_own(of):
    members = (
        Member(task=sums(of("half")), name="mine"),
        Member(task=TASKS["arithmetic"](num_digits=1, operations=("-",)), name="ours"),
    )
    task = TASKS["mixture"](tasks=members)
    assert list(task.rewards()) == ["tasks.0.task.reward.0"]
    problems = [task.problem("train", 0, index) for index in range(2)]
    assert [task.score(each, each.answer).value for each in problems] == [0.5, 1.0]
    whole = TASKS["mixture"](tasks=members, reward=(of("named"),))
    assert list(whole.rewards()) == ["reward.0"]
    assert [whole.score(each, "").value for each in problems] == [0.75, 0.75]


def test_facts_are_the_other_keys_of_a_row(tmp_path):
    path = tmp_path / "data.jsonl"
    row = '{"prompt": "2+3=", "answer": "5", "tags": ["a"], "scale": 0.5}\n'
    path.write_text(row * 3 + row.replace("2+3", "1+4"))
    task = TASKS["jsonl"](path=str(path))
    assert task.problem("train", 0, 0).facts == {"tags": ["a"], "scale": 0.5}


def test_names_that_depend_on_the_response_are_an_error_beyond_a_limit_over_all_batches(of):
    with GradingPool(sums(of("by_response"))) as pool:
        first = pool.grade([PROBLEM] * 60, [f"a{place}" for place in range(60)])
        second = pool.grade([PROBLEM] * 8, ["a0", *(f"b{place}" for place in range(6)), "b0"])
    assert (first.num_errors, len(first.sums)) == (0, 60)
    assert second.scores == [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    assert second.num_errors == 2
    assert "at most 64 names in a run, got 'by_response/b4' too" in second.first_error
    assert second.sums["by_response/b0"] == (2.0, 2)
    assert len(second.sums) == 5
