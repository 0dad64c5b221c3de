"""What every registered task must do.  A new task needs an entry in ``small_tasks`` and no more."""

import json
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import TASKS, Task
from tasks.demonstrations import demonstration
from tasks.grading.pool import GradingPool
from tasks.kinds.mixture import Member
from tasks.splits import held_out_set

HOSTILE = [
    "",
    " ",
    "\x00",
    "\ud800",
    "9**9**9",
    "(" * 10_000,
    "9" * 10_000,
    "٣" * 50,
    "<answer>" * 1000,
    "nan",
]
SPLITS = ("train", "held_out")


def small_tasks(jsonl_file, questions_file):
    return {
        "arithmetic": {"num_digits": (1, 3), "operations": ("+", "-", "*")},
        "calculator": {"operations": ("+", "-", "*"), "num_operations": (1, 3)},
        "larger_number": {"questions": ("larger", "smaller")},
        "countdown": {"num_numbers": (2, 4)},
        "graph_paths": {"num_nodes": 12, "edge_probability": 0.25, "train_share": 0.5, "max_steps": 6},
        "jsonl": {"path": jsonl_file, "held_out_fraction": 0.2},
        "math_word": {"path": questions_file, "held_out_fraction": 0.2},
        "mixture": {
            "tasks": (
                Member(task=TASKS["arithmetic"](num_digits=1, operations=("+", "-")), weight=2),
                Member(task=TASKS["jsonl"](path=jsonl_file, held_out_fraction=0.2)),
                Member(task=TASKS["number_guessing"]()),
            )
        },
        "number_guessing": {"num_numbers": (3, 7)},
        "reasoning_gym": {"dataset": "chain_sum", "prompt": "expression"},
        "route_trap": {"scratchpad_rate": 0.5},
    }


@pytest.fixture(params=sorted(TASKS))
def task(request, jsonl_file, questions_file):
    return TASKS[request.param](**small_tasks(jsonl_file, questions_file)[request.param])


EVERYWHERE = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
PLACES = {"split": st.sampled_from(SPLITS), "seed": st.integers(0, 2**40), "index": st.integers(0, 2**40)}


def test_the_registry_holds_every_task():
    assert set(TASKS) >= {"arithmetic", "countdown", "jsonl", "math_word", "mixture", "reasoning_gym"}
    assert {kind for kind, task in TASKS.items() if task.reply is not Task.reply} >= {
        "calculator",
        "number_guessing",
    }
    assert all(TASKS[kind].kind == kind and issubclass(TASKS[kind], Task) for kind in TASKS)


def test_importing_the_package_is_cheap():
    heavy = (
        "torch",
        "reasoning_gym",
        "numpy",
        "sympy",
        "datasets",
        "controllers",
        "policies",
        "orchestrator",
    )
    code = f"import sys, tasks; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_a_task_is_a_frozen_keyword_only_dataclass(task):
    assert is_dataclass(task)
    assert all(field.kw_only for field in fields(task))
    with pytest.raises(FrozenInstanceError):
        setattr(task, fields(task)[0].name, None)


@EVERYWHERE
@given(**PLACES)
def test_a_problem_depends_on_nothing_but_its_place(task, split, seed, index):
    problem = task.problem(split, seed, index)
    assert pickle.loads(pickle.dumps(task)).problem(split, seed, index) == problem
    assert problem.prompt
    assert problem.domain
    assert problem.difficulty >= 0
    assert json.loads(json.dumps(problem.facts)) == problem.facts


def test_seeds_and_indices_bring_other_problems(task):
    first = [task.problem("train", 0, index).prompt for index in range(20)]
    second = [task.problem("train", 1, index).prompt for index in range(20)]
    assert len(set(first)) > 10
    assert first != second


@EVERYWHERE
@given(seeds=st.tuples(st.integers(), st.integers()))
def test_no_prompt_is_in_both_splits(task, seeds):
    train = {task.problem("train", seeds[0], index).prompt for index in range(30)}
    held_out = {task.problem("held_out", seeds[1], index).prompt for index in range(10)}
    assert train.isdisjoint(held_out)


def test_a_held_out_set_has_no_repeats(task):
    prompts = [problem.prompt for problem in held_out_set(task, 4)]
    assert len(set(prompts)) == 4


@EVERYWHERE
@given(**PLACES)
def test_a_demonstration_without_errors_is_right(task, split, seed, index):
    problem = task.problem(split, seed, index)
    said = demonstration(task, problem, Random(seed), 0.0)
    assert task.grade(problem, said[-1]) == 1.0
    assert demonstration(task, problem, Random(seed + 1), 0.0) == said
    assert task.demonstrate(problem, Random(seed), 0.0) == said[0]
    assert task.answers_back or len(said) == 1


def test_a_demonstration_full_of_errors_is_wrong(task):
    problems = [task.problem("train", 0, index) for index in range(40)]
    scores = [task.grade(p, demonstration(task, p, Random(i), 1.0)[-1]) for i, p in enumerate(problems)]
    assert sum(scores) < 4


@EVERYWHERE
@given(**PLACES, error_rate=st.floats(0, 1))
def test_prompts_and_demonstrations_stay_within_the_alphabet(task, split, seed, index, error_rate):
    problem = task.problem(split, seed, index)
    said = demonstration(task, problem, Random(seed), error_rate)
    assert set(problem.prompt).union(*said) <= set(task.alphabet())
    assert len(set(task.alphabet())) == len(task.alphabet())


@EVERYWHERE
@given(index=st.integers(0, 1000), turns=st.lists(st.text(), min_size=1, max_size=4))
def test_a_reply_is_text_or_the_end_and_depends_on_nothing_else(task, index, turns):
    problem = task.problem("train", 0, index)
    reply = task.reply(problem, turns)
    assert reply is None or (isinstance(reply, str) and task.answers_back)
    assert pickle.loads(pickle.dumps(task)).reply(problem, list(turns)) == reply


@pytest.mark.parametrize("turn", HOSTILE)
@pytest.mark.timeout(60)
def test_a_reply_reads_a_turn_in_one_pass_whatever_the_turn(task, turn):
    problem = task.problem("train", 0, 0)
    spam = turn * (10**6 // max(1, len(turn)))  # 10^12 steps for a reading that begins again everywhere
    replies = [task.reply(problem, [spam + ending]) for ending in ("", "=")]
    assert all(len(reply or "") < 1000 for reply in replies)


@pytest.mark.parametrize("number", range(20))
def test_an_episode_ends(task, number):
    problem = task.problem("train", 0, number)
    turns = ["1+1="]
    while task.reply(problem, turns) is not None:
        turns.append(turns[-1])
        assert len(turns) <= 32


@EVERYWHERE
@given(response=st.text(), index=st.integers(0, 1000))
def test_any_text_has_a_score_of_0_or_1(task, response, index):
    assert task.grade(task.problem("train", 0, index), response) in (0.0, 1.0)


@pytest.mark.parametrize("response", HOSTILE)
def test_hostile_text_scores_0(task, response):
    assert task.grade(task.problem("train", 0, 0), response) == 0.0


@pytest.mark.parametrize("error_rate", [-0.1, 1.5])
def test_an_error_rate_is_a_probability(task, error_rate):
    with pytest.raises(ValueError, match="error_rate must be between 0 and 1"):
        task.demonstrate(task.problem("train", 0, 0), Random(0), error_rate)


def test_workers_agree_with_the_task_itself(task):
    problems = [task.problem("train", 0, index) for index in range(20)]
    responses = [demonstration(task, problem, Random(i), 0.2)[-1] for i, problem in enumerate(problems)]
    with GradingPool(task) as pool:
        grades = pool.grade(problems, responses)
    assert grades.scores == [task.grade(p, r) for p, r in zip(problems, responses, strict=True)]
    assert (grades.num_timeouts, grades.num_errors, grades.num_crashes) == (0, 0, 0)
