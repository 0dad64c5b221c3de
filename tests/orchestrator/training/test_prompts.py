"""The loader of a run: every iteration its own prompts, whatever went before."""

from __future__ import annotations

import json

from orchestrator.training.prompts import PromptLoader
from tasks.kinds.arithmetic import Arithmetic

TASK = Arithmetic(num_digits=2)


def loader(seed=1, **changes):
    settings = {"task_at": lambda _: TASK, "prompts_per_iteration": 3, "num_iterations": 5}
    return PromptLoader(**settings | {"seed": seed} | changes)


def prompts(given):
    return [[problem.prompt for problem in given.problems(t)] for t in given]


def test_problems_go_on_from_iteration_to_iteration():
    expected = [TASK.problem("train", 1, i).prompt for i in range(15)]
    batches = prompts(loader())
    assert [prompt for batch in batches for prompt in batch] == expected
    assert [len(batch) for batch in batches] == [3] * 5


def test_it_has_a_length_so_that_nothing_is_fetched_ahead():
    assert len(loader()) == 5


def test_other_seed_other_problems():
    assert prompts(loader(seed=1)) != prompts(loader(seed=2))


def test_continues_where_it_stopped():
    straight = prompts(loader())
    stopped = loader()
    iterator = iter(stopped)
    head = [[problem.prompt for problem in stopped.problems(next(iterator))] for _ in range(2)]
    again = loader()
    again.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert head + prompts(again) == straight
    assert prompts(again) == []  # used up


def test_nothing_is_drawn_before_it_is_asked_for():
    stopped = loader()
    next(iter(stopped))
    assert stopped.state_dict() == {"next_iteration": 1}


def test_each_iteration_draws_from_its_own_task_at_the_same_place():
    tasks = {0: TASK, 3: Arithmetic(num_digits=3)}
    given = loader(task_at=lambda t: tasks[3 if t >= 3 else 0])
    assert [[problem.domain for problem in given.problems(t)] for t in given] == [["add2"] * 3] * 3 + [
        ["add3"] * 3
    ] * 2
    assert given.problems(3)[0] == tasks[3].problem("train", 1, 9)
