"""Checks whether a run's evaluations can be held, and whether what goes by them is one of their metrics.

Each check yields the faults that it finds as ``key: rule, value; remedy``.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.configuration.evaluation import metrics_of
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.prompt_checks import NUM_SEARCHED, longest, training_problems
from orchestrator.errors import did_you_mean
from policies.model.sources import BUILTIN
from tasks import Task
from tasks.names import look_alikes
from tasks.splits import TooFewProblemsError, held_out_set


def check_evaluation(config: RunConfig, *, with_problems: bool) -> Iterator[str]:
    """All checks; those of a further set's problems only where its data is at hand."""
    yield from _metrics(config)
    sets = config.evaluation.sets
    if alike := look_alikes(sets):
        yield (
            f"evaluation.sets.{alike[1]}: differs from the set {alike[0]!r} by case alone, and some trackers merge their "
            "metrics; rename one of the two"
        )
    num_processes = config.learner.devices * config.learner.num_nodes
    for name, each in sets.items():
        if num_processes > each.num_problems:
            yield (
                f"learner.devices: must be at most one for each of the {each.num_problems} held-out problems, got "
                f"{num_processes} (devices times num_nodes); lower it, or raise evaluation.sets.{name}.num_problems"
            )
        task = config.task if each.task is None else each.task
        of_task = list(_task(config, task)) if with_problems else []
        yield from (f"evaluation.sets.{name}.{fault}" for fault in of_task)
        if with_problems and not of_task:
            yield from (
                f"evaluation.sets.{name}.{fault}" for fault in _problems(config, task, each.num_problems)
            )


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


def _problems(config: RunConfig, task: Task, num_problems: int) -> Iterator[str]:
    """Whether there are so many held-out problems, that fit, and that nothing of the run's training is among."""
    try:
        problems = held_out_set(task, num_problems)
    except TooFewProblemsError as error:
        yield str(error)
        return
    except ValueError as error:
        yield f"task: {error}"
        return
    context, most = config.policy.architecture.max_tokens, longest(problems)
    if config.policy.source == BUILTIN and most + config.rollout.max_tokens > context:
        yield (
            f"task: must have prompts of at most {context - config.rollout.max_tokens} tokens, or "
            f"policy.architecture.max_tokens ({context}) is exceeded, got {most}; raise that, or lower rollout.max_tokens"
        )
    held_out = {problem.prompt for problem in problems}
    try:
        trained_on = training_problems(config.task, NUM_SEARCHED)
    except ValueError:  # the run's own task cannot be read, which `check_prompts` says
        return
    for problem in trained_on:
        if problem.prompt in held_out:
            yield f"task: must not hold out what the run trains on, got {problem.prompt[:60]!r}; choose other problems"
            return
