"""What the rewards of a user's own do with one right response, graded as a run would: a fault, or too little."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import Arm
from orchestrator.errors import one_line
from tasks import Task, own_code
from tasks.demonstrations import demonstration
from tasks.grading.pool import GradingPool
from tasks.kinds.mixture import Mixture
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
    if config.task.rewards() and with_problems and not found and (fault := _tried(config.task).fault):
        yield f"task.{_in_file(config.task, next(iter(config.task.rewards())))}: {fault}"


def reward_notices(arms: Sequence[Arm]) -> list[str]:
    """What functions give a right response, where that is less than evaluation counts as right."""
    found: dict[str, None] = {}
    for arm in arms:
        for key, task in _rewarded(arm.config.task):
            if (trial := _tried(task)).score < 1.0:
                found[
                    f"{key}: gives the right response {trial.response!r} {trial.score:.3g}, and evaluation counts a "
                    "response as right at 1 alone, so its scores may stay 0; let a right response have 1"
                ] = None
    return list(found)


def _rewarded(task: Task, at: str = "task") -> Iterator[tuple[str, Task]]:
    """Tasks with a reward of the user's own, members of mixtures each, whose demonstrations are right."""
    if isinstance(task, Mixture):
        for place, member in enumerate(task.tasks):
            yield from _rewarded(member.task, f"{at}.tasks.{place}.task")
    elif task.rewards() and getattr(task, "misconception", None) is None:
        yield f"{at}.reward", task


def _in_file(task: Task, key: str) -> str:
    """The key as a user writes it who has one function, and no list."""
    return key.removesuffix(".0") if len(task.rewards()) == 1 else key


def _is_hashable(task: Task) -> bool:
    try:
        hash(task)
    except TypeError:
        return False
    return True


class _Trial(NamedTuple):
    """How one right response was graded."""

    response: str = ""
    score: float = 1.0
    fault: str | None = None


def _tried(task: Task) -> _Trial:
    texts = tuple(sorted(own_code.sources().items()))
    # A task of the user's own may hold what cannot be remembered by.
    of = _trial if _is_hashable(task) else _trial.__wrapped__
    return of(task, texts)


@lru_cache(maxsize=16)
def _trial(task: Task, texts: tuple[tuple[str, bytes], ...]) -> _Trial:
    """A right response is rewarded, in a confined worker.

    ``texts`` are those of the files, which decide it beside the task.
    """
    try:
        problem = task.problem("train", 0, 0)
    except ValueError:  # the task's data cannot be read, which another check says
        return _Trial()
    try:
        response = demonstration(task, problem, random.Random(0), 0.0)[-1]  # nosec B311  # chance of problems, not of keys
    except ValueError:  # it has no solution to show
        response = problem.answer
    try:
        with GradingPool(task, timeout_seconds=TRIAL_SECONDS, warn=False) as graders:
            grades = graders.grade([problem], [response])
    except RuntimeError as error:
        return _Trial(fault=f"cannot be used: {one_line(error)}; mend it")
    if grades.num_timeouts:
        return _Trial(
            fault=f"took more than {TRIAL_SECONDS:g} s on one response, {response[:40]!r}; make it faster"
        )
    if grades.first_error:
        said = " ".join(grades.first_error.split())
        return _Trial(fault=f"fails on a right response, {response[:40]!r}: {said}; mend it")
    return _Trial(response=response[:40], score=grades.scores[0])
