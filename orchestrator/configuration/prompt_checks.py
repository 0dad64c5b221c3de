"""Checks whether a run's policy, graders and loops can use its problems.

Each check yields the faults that it finds as ``key: rule, value; remedy``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.packing_checks import check_budget
from orchestrator.configuration.signals import signals_read
from orchestrator.errors import did_you_mean
from policies.model.sources import BUILTIN
from policies.statistics.sensors import DOMAIN
from tasks import Problem, Task
from tasks.demonstrations import demonstration
from tasks.kinds.mixture import Mixture
from tasks.splits import TooFewProblemsError, held_out_set

NUM_SHOWN = 32
"""Training problems of each task that are looked at."""

NUM_SEARCHED = 1024
"""Training problems of each task among which a domain has to be, and no held-out prompt."""

_Draw = Callable[[Task, int], list[Problem]]


class Draws:
    """Problems that the checks of a campaign look at: drawn once for the arms and sets that have the same task."""

    def __init__(self) -> None:
        self._drawn: list[tuple[tuple[_Draw, Task, int], list[Problem]]] = []

    def training(self, task: Task, number: int) -> list[Problem]:
        """The first training problems of a task."""
        return self._once(_training, task, number)

    def held_out(self, task: Task, number: int) -> list[Problem]:
        """The first different held-out problems of a task."""
        return self._once(held_out_set, task, number)

    def _once(self, draw: _Draw, task: Task, number: int) -> list[Problem]:
        asked = draw, task, number
        for earlier, problems in self._drawn:  # no dictionary: a task of the user's own need not have a hash
            if earlier == asked:
                return problems
        problems = draw(task, number)
        self._drawn.append((asked, problems))
        return problems


def check_prompts(config: RunConfig, draws: Draws) -> Iterator[str]:
    """All checks that draw problems."""
    try:
        held_out = draws.held_out(config.task, config.evaluation.num_problems)
        shown = draws.training(config.task, NUM_SHOWN)
    except TooFewProblemsError as error:
        yield f"evaluation.{error}"
        return
    except ValueError as error:
        yield f"task: {error}"
        return
    yield from _context(config, [*held_out, *shown])
    # A prompt to a pretrained policy has an unknown number of tokens, and at least one.
    yield from check_budget(config, _longest(shown) if config.policy.source == BUILTIN else 1)
    yield from _kept_apart(config.task, held_out, draws)
    yield from _demonstrations(config, shown[0])
    yield from _order(config)
    of_phases = [
        f"phases.{place}.{problem}"
        for place, phase in enumerate(config.phases)
        for problem in _phase(config, phase.task, draws)
    ]
    yield from of_phases
    if not of_phases:
        yield from _domains(config)


def _training(task: Task, number: int) -> list[Problem]:
    return [task.problem("train", 0, index) for index in range(number)]


def _context(config: RunConfig, problems: Sequence[Problem]) -> Iterator[str]:
    context, most = config.policy.architecture.max_tokens, _longest(problems)
    if config.policy.source == BUILTIN and most + config.rollout.max_tokens > context:
        yield (
            f"rollout.max_tokens: with prompts of {most} tokens must be at most {context - most}, or "
            f"policy.architecture.max_tokens ({context}) is exceeded, got {config.rollout.max_tokens}; lower it"
        )


def _longest(problems: Sequence[Problem]) -> int:
    """Tokens of the longest prompt to a built-in policy: a character is a token."""
    return max(len(problem.text) for problem in problems)


def _kept_apart(task: Task, problems: Sequence[Problem], draws: Draws) -> Iterator[str]:
    """Members of a mixture that share prompts, and do not hold the same ones out: seen in those looked at, or not."""
    if not isinstance(task, Mixture):
        return
    held_out = {problem.prompt: problem.domain for problem in problems}
    for problem in draws.training(task, NUM_SEARCHED):
        if problem.prompt in held_out:
            yield (
                f"task.tasks: must not train on held-out problems, but {problem.prompt[:60]!r} is held out in "
                f"{held_out[problem.prompt]!r} and trained on in {problem.domain!r}; keep the prompts of the members "
                "apart, or hold out the same ones"
            )
            return


def _demonstrations(config: RunConfig, problem: Problem) -> Iterator[str]:
    if config.policy.source != BUILTIN or not config.policy.warm_start.num_steps:
        return
    try:
        config.task.demonstrate(problem, random.Random(0), 0.0)  # nosec B311  # chance of problems, not of keys
    except ValueError as error:
        yield (
            f"policy.warm_start: this task cannot start {BUILTIN}: {error}; "
            "set num_steps to 0, choose another task, or another policy.source"
        )


def _order(config: RunConfig) -> Iterator[str]:
    starts, end = [phase.start for phase in config.phases], config.learner.iterations
    for place, start in enumerate(starts):
        if place and start <= starts[place - 1]:
            yield (
                f"phases.{place}.start: must be above {starts[place - 1]}, the start of the phase before it, "
                f"got {start}; put the phases in the order of time"
            )
        if start >= end:
            yield f"phases.{place}.start: must be below learner.iterations ({end}), got {start}; lower it"


def _phase(config: RunConfig, task: Task, draws: Draws) -> Iterator[str]:
    """Problems with the task of a phase, which is one that the run is not made for."""
    if task == config.task:
        return
    if task.kind != config.task.kind:
        yield f"task: must be of the run's kind, {config.task.kind!r}, got {task.kind!r}; change its settings only"
        return
    try:
        problems = draws.training(task, NUM_SHOWN)
    except ValueError as error:
        yield f"task: {error}"
        return
    if not all(_graded_alike(config.task, task, problem) for problem in problems):
        yield (
            "task: its problems are not graded alike by the run's own task, which grades them all; "
            "change settings of the problems, not of the graders"
        )
    if config.policy.source != BUILTIN:
        return
    unknown = sorted(set(task.alphabet()) - set(config.task.alphabet()))
    if unknown:
        yield (
            f"task: has the characters {''.join(unknown)!r}, which the run's task, and so the policy, lacks; "
            "add their problems to 'task', and leave them out in a phase that starts at 0"
        )
    yield from prompts_fit(config, problems)


def prompts_fit(config: RunConfig, problems: Sequence[Problem]) -> Iterator[str]:
    """Whether a built-in policy has room for the problems of another task than the run's own."""
    context, most = config.policy.architecture.max_tokens, _longest(problems)
    if config.policy.source == BUILTIN and most + config.rollout.max_tokens > context:
        yield (
            f"task: must have prompts of at most {context - config.rollout.max_tokens} tokens, or "
            f"policy.architecture.max_tokens ({context}) is exceeded, got {most}; raise that, or lower "
            "rollout.max_tokens"
        )


def _graded_alike(own: Task, other: Task, problem: Problem) -> bool:
    """Whether the run's task takes another's problem as that one does: the replies, and the score of its answer."""
    try:
        said = demonstration(other, problem, random.Random(0), 0.0)  # nosec B311  # chance of problems, not of keys
        turns, replies = said[::2], [*said[1::2], None]
        answered = [own.reply(problem, turns[: count + 1]) for count in range(len(turns))]
        return answered == replies and own.grade(problem, turns[-1]) == other.grade(problem, turns[-1])
    except Exception:  # no answer to compare with, or a grader that cannot make anything of it
        return False


def _domains(config: RunConfig) -> Iterator[str]:
    """Domains that a loop names and no training prompt has: that loop would hold for ever."""
    named = [pair for name, loop in config.loops.items() for pair in _domains_named(name, loop)]
    missing, seen = {domain for _, domain in named}, set()
    for problem in _searched(config) if missing else ():
        seen.add(problem.domain)
        missing.discard(problem.domain)
        if not missing:
            return
    for key, domain in named:
        if domain in missing:
            yield (
                f"{key}: none of the first {NUM_SEARCHED} training problems is of the domain {domain!r}; "
                f"{did_you_mean(domain, seen)}"
            )


def _domains_named(name: str, loop: LoopConfig) -> Iterator[tuple[str, str]]:
    """Every domain that a loop depends on, after the key that names it."""
    if loop.domain is not None:
        yield f"loops.{name}.domain", loop.domain
    for key, read in signals_read(loop):
        domain = read.removeprefix(DOMAIN)
        if domain not in (read, loop.domain):
            yield f"loops.{name}.{key}", domain


def _searched(config: RunConfig) -> Iterator[Problem]:
    """The first training problems of every task that the run has."""
    tasks: list[Task] = []
    for start in (0, *(phase.start for phase in config.phases)):
        if (task := config.task_at(start)) not in tasks:
            tasks.append(task)
    for index in range(NUM_SEARCHED):
        for task in tasks:
            yield task.problem("train", 0, index)
