"""Checks whether the rewards of a user's own can reward anything, by grading one response as a run would."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache

from orchestrator.configuration.models import RunConfig
from orchestrator.errors import one_line
from tasks import Task, own_code
from tasks.demonstrations import demonstration
from tasks.grading.pool import GradingPool
from tasks.names import look_alikes

TRIAL_SECONDS = 20.0
"""Processor time of the one response that is graded to see whether a reward works."""


def check_rewards(config: RunConfig, *, with_problems: bool) -> Iterator[str]:
    """Whether each function can be found and called, and rewards the right answer to a problem without a fault."""
    found = False
    for key, reward in config.task.rewards().items():
        try:
            reward.load()
        except ValueError as error:
            found = True
            yield f"task.{_in_file(config.task, key)}: {error}"
    names = [reward.name for reward in config.task.reward]
    for name in sorted({name for name in names if names.count(name) > 1}):
        found = True
        yield f"task.reward: two functions are called {name!r}, and so would be their metrics; rename one"
    if alike := look_alikes(names):
        found = True
        yield f"task.reward: {alike[0]!r} and {alike[1]!r} differ by case alone, and some trackers merge them; rename one"
    for place, phase in enumerate(config.phases):
        if phase.task.rewards() != config.task.rewards():
            found = True
            yield f"phases.{place}.task.reward: must be that of the run's task, which grades all phases; remove it"
    if config.task.rewards() and with_problems and not found:
        texts = tuple(sorted(own_code.sources().items()))
        # A task of the user's own may hold what cannot be remembered by.
        of = _fault if _is_hashable(config.task) else _fault.__wrapped__
        if fault := of(config.task, texts):
            yield f"task.{_in_file(config.task, next(iter(config.task.rewards())))}: {fault}"


def _in_file(task: Task, key: str) -> str:
    """The key as a user writes it who has one function, and no list."""
    return key.removesuffix(".0") if len(task.rewards()) == 1 else key


def _is_hashable(task: Task) -> bool:
    try:
        hash(task)
    except TypeError:
        return False
    return True


@lru_cache(maxsize=16)
def _fault(task: Task, texts: tuple[tuple[str, bytes], ...]) -> str | None:
    """What goes wrong when a right response is rewarded, in a confined worker; None where nothing does.

    ``texts`` are those of the files, which decide it beside the task.
    """
    try:
        problem = task.problem("train", 0, 0)
    except ValueError:  # the task's data cannot be read, which another check says
        return None
    try:
        response = demonstration(task, problem, random.Random(0), 0.0)[-1]  # nosec B311  # chance of problems, not of keys
    except ValueError:  # it has no solution to show
        response = problem.answer
    try:
        with GradingPool(task, timeout_seconds=TRIAL_SECONDS, warn=False) as graders:
            grades = graders.grade([problem], [response])
    except RuntimeError as error:
        return f"cannot be used: {one_line(error)}; mend it"
    if grades.num_timeouts:
        return f"took more than {TRIAL_SECONDS:g} s on one response, {response[:40]!r}; make it faster"
    if grades.first_error:
        return (
            f"fails on a right response, {response[:40]!r}: {' '.join(grades.first_error.split())}; mend it"
        )
    return None
