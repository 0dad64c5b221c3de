"""The sets of held-out problems of a run, each with those who try and grade it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.configuration.evaluation import EvaluationConfig, ProblemSet, sets_of
from orchestrator.training.experience import Explorer
from tasks import Problem, Task
from tasks.grading.pool import GradingPool
from tasks.splits import held_out_set


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutSet:
    """One set of held-out problems, and who tries them."""

    prefix: str
    """What the names of its metrics begin with."""
    settings: ProblemSet
    problems: Sequence[Problem]
    explorer: Explorer


def graders_of(task: Task, execution: Mapping[str, Any]) -> GradingPool:
    """The graders of a task, as many and as limited as the section ``execution`` of a run says."""
    return GradingPool(
        task,
        num_workers=execution["graders"],
        timeout_seconds=execution["grading_timeout_seconds"],
        memory_limit_megabytes=execution.get("grading_memory_megabytes"),
    )


def held_out_sets(
    evaluation: EvaluationConfig, explorer: Explorer, execution: Mapping[str, Any], further: ExitStack
) -> list[HeldOutSet]:
    """Every set of held-out problems; one of another task has graders of its own, which ``further`` closes."""
    found = []
    for prefix, (settings, task) in sets_of(evaluation, explorer.task).items():
        who = explorer
        if task != explorer.task:
            who = replace(explorer, task=task, graders=further.enter_context(graders_of(task, execution)))
        problems = held_out_set(task, settings.num_problems)
        found.append(HeldOutSet(prefix=prefix, settings=settings, problems=problems, explorer=who))
    return found
