"""Checks whether a run's evaluations can be held, and whether what goes by them is one of their metrics.

Each check yields the faults that it finds as ``key: rule, value; remedy``.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.configuration.evaluation import metrics_of
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.prompt_checks import NUM_SEARCHED, Draws, prompts_fit
from orchestrator.errors import did_you_mean
from policies.model.sources import BUILTIN
from tasks import Task
from tasks.names import look_alikes
from tasks.splits import TooFewProblemsError


def check_evaluation(config: RunConfig, draws: Draws | None) -> Iterator[str]:
    """All checks; without ``draws`` none of a further set's problems, whose data may not be at hand."""
    yield from _metrics(config)
    sets = config.evaluation.sets
    if alike := look_alikes(sets):
        yield (
            f"evaluation.sets.{alike[1]}: differs from the set {alike[0]!r} by case alone, and some trackers merge their "
            "metrics; rename one of the two"
        )
    if draws is None:
        return
    for name, each in sets.items():
        task = config.task if each.task is None else each.task
        faults = list(_task(config, task)) or _problems(config, task, each.num_problems, draws)
        yield from (f"evaluation.sets.{name}.{fault}" for fault in faults)


def _metrics(config: RunConfig) -> Iterator[str]:
    """Keys that name a metric of an evaluation."""
    named = {"evaluation.keep_best": config.evaluation.keep_best}
    if (plateau := config.guardrails.plateau) is not None:
        named["guardrails.plateau.metric"] = plateau.metric
    known = metrics_of(config.evaluation, config.task)
    for key, metric in named.items():
        if metric is not None and metric not in known:
            yield f"{key}: must be a metric of the run's evaluations, got {metric!r}; {did_you_mean(metric, known)}"


def _task(config: RunConfig, task: Task) -> Iterator[str]:
    """Whether the policy of the run can try the task, and its rewards can be loaded."""
    if task.answers_back != config.task.answers_back:
        yield (
            "task: must be multi-turn as the run's own is, or single-turn as that, because rollout.max_tokens is of a turn "
            f"there and of a response here, got {task.kind!r} beside {config.task.kind!r}; choose another"
        )
    for key, reward in task.rewards().items():
        try:
            reward.load()
        except ValueError as error:
            yield f"task.{key}: {error}"
    if config.policy.source == BUILTIN:
        try:
            unknown = sorted(set(task.alphabet()) - set(config.task.alphabet()))
        except ValueError as error:
            yield f"task: {error}"
            return
        if unknown:
            yield (
                f"task: has the characters {''.join(unknown)!r}, which the run's task, and so the policy, lacks; "
                "choose a task with the run's characters"
            )


def _problems(config: RunConfig, task: Task, num_problems: int, draws: Draws) -> Iterator[str]:
    """Whether there are so many held-out problems, that fit, and that nothing of the run's training is among."""
    try:
        problems = draws.held_out(task, num_problems)
    except TooFewProblemsError as error:
        yield str(error)
        return
    except ValueError as error:
        yield f"task: {error}"
        return
    yield from prompts_fit(config, problems)
    held_out = {problem.prompt for problem in problems}
    try:
        trained_on = draws.training(config.task, NUM_SEARCHED)
    except ValueError:  # the run's own task cannot be read, which `check_prompts` says
        return
    for problem in trained_on:
        if problem.prompt in held_out:
            yield f"task: must not hold out what the run trains on, got {problem.prompt[:60]!r}; choose other problems"
            return
