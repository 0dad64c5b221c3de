"""What no single section can know: whether the parts of a run fit together.

Each check gives the problems it finds as ``key: rule, value; remedy``; they are collected, so a user
sees all of them at once and before anything is trained.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

from controllers.base import Reference
from controllers.laws.open_loop import OpenLoop
from controllers.references import Free
from orchestrator.configuration.errors import ConfigError, did_you_mean
from orchestrator.configuration.models import LoopConfig, RunConfig
from orchestrator.configuration.resolve import Arm, Campaign
from policies.actuators import ACTUATORS
from policies.actuators.base import Actuator, LossActuator, UpdateFacts
from policies.loading import BUILTIN, model_folder
from policies.sensors import FILTERED, SIGNALS, signal
from policies.tiny import vocabulary_size
from policies.vocabulary import VocabularyFilter
from tasks.splits import held_out_set


def check_campaign(campaign: Campaign) -> None:
    """Check every arm against itself.

    Raises:
        ConfigError: with one line for each problem found.
    """
    problems = [
        f"{campaign.path}: arms.{arm.name}.{problem}" for arm in campaign.arms for problem in _check_arm(arm)
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _check_arm(arm: Arm) -> Iterator[str]:
    config = arm.config
    yield from _policy(config)
    yield from _devices(config)
    yield from _task(config)
    yield from _objective(config)
    yield from _owners(config)
    yield from _vocabularies(config)
    for name, loop in config.loops.items():
        for problem in _loop(loop, config):
            yield f"loops.{name}.{problem}"


def _policy(config: RunConfig) -> Iterator[str]:
    source = config.policy.source
    try:
        model_folder(source)
    except ValueError as error:
        yield f"policy.source: {error}"
    if source.startswith("builtin:") and source != BUILTIN:
        yield f"policy.source: unknown built-in policy {source!r}; {did_you_mean(source, [BUILTIN])}"
    floor, size = config.policy.initialisation.floor_nats, _known_vocabulary_size(config)
    if floor is not None and size is not None and floor >= math.log(size):
        yield (
            f"policy.initialisation.floor_nats: must be below ln V = ln {size} = {math.log(size):.3f} nats/token, "
            f"got {floor:g}; no policy over this vocabulary has such an entropy"
        )


def _devices(config: RunConfig) -> Iterator[str]:
    num_processes = config.learner.devices * config.learner.num_nodes
    if num_processes > 1:
        yield (
            f"learner.devices: one run trains on one device for now, got {num_processes} of them; "
            "set devices and num_nodes to 1, and use execution.workers for several runs side by side"
        )


def _task(config: RunConfig) -> Iterator[str]:
    try:
        exam = held_out_set(config.task, config.evaluation.num_problems)
        problem = config.task.problem("train", 0, 0)
    except ValueError as error:
        yield f"task: {error}"
        return
    if config.policy.source != BUILTIN:
        return
    context = config.policy.architecture.max_tokens
    longest = max(len(shown.prompt) for shown in [*exam, problem])  # a character is a token
    if longest + config.rollout.max_tokens > context:
        yield (
            f"rollout.max_tokens: with prompts of {longest} tokens must be at most {context - longest}, or "
            f"policy.architecture.max_tokens ({context}) is exceeded, got {config.rollout.max_tokens}; lower it"
        )
    if config.policy.warm_start.num_steps:
        try:
            config.task.demonstrate(problem, random.Random(0), 0.0)
        except ValueError as error:
            yield (
                f"policy.warm_start: this task cannot start {BUILTIN}: {error}; "
                "set num_steps to 0, choose another task, or another policy.source"
            )


def _objective(config: RunConfig) -> Iterator[str]:
    objective = config.learner.objective
    if objective.needs_ratio and config.learner.steps_per_batch == 1:
        yield (
            f"learner.objective: {objective.kind!r} cannot act in this learner: with one optimiser step a batch "
            "the probability ratio is 1 and it is plain policy gradient; set learner.minibatches or "
            "learner.epochs above 1, or take another objective"
        )


def _owners(config: RunConfig) -> Iterator[str]:
    owners: dict[str, str] = {}
    for name, loop in config.loops.items():
        kind = loop.actuator.kind
        if kind in owners:
            yield (
                f"loops.{name}.actuator: {kind!r} is already moved by the loop {owners[kind]!r}; "
                "remove one of the two loops, or give it another actuator"
            )
        owners[kind] = name


def _vocabularies(config: RunConfig) -> Iterator[str]:
    """A run takes the statistics of one part of the vocabulary, and only where an actuator names it."""
    first: tuple[str, VocabularyFilter] | None = None
    for name, loop in config.loops.items():
        vocabulary = _vocabulary(loop.actuator)
        if vocabulary is None:
            continue
        if first is None:
            first = name, vocabulary
        elif vocabulary != first[1]:
            yield (
                f"loops.{name}.actuator: {loop.actuator.kind!r} reads the part {vocabulary} of the vocabulary, "
                f"and the loop {first[0]!r} reads {first[1]}; a run has room for one: remove one of the two loops"
            )
    for name, loop in config.loops.items():
        if loop.sensor.startswith(FILTERED) and first is None:
            able = sorted(kind for kind, actuator in ACTUATORS.items() if _vocabulary(actuator()))
            yield (
                f"loops.{name}.sensor: {loop.sensor!r} needs an actuator that reads a part of the vocabulary "
                f"({', '.join(able)}), and this run has none; choose one, or the sensor 'entropy'"
            )


def _vocabulary(actuator: Actuator) -> VocabularyFilter | None:
    return actuator.vocabulary if isinstance(actuator, LossActuator) else None


def _loop(loop: LoopConfig, config: RunConfig) -> Iterator[str]:
    try:
        signal(loop.sensor)
    except ValueError:
        yield f"sensor: unknown signal {loop.sensor!r}; {did_you_mean(loop.sensor, SIGNALS)}"
    if isinstance(loop.reference, Free) and not isinstance(loop.law, OpenLoop):
        yield f"reference: is missing; a {loop.law.kind!r} law needs one, only 'open_loop' does without"
    if loop.sensor.startswith("entropy"):
        yield from _within_entropy_range(loop.reference, config)
    facts = UpdateFacts(
        steps_per_batch=config.learner.steps_per_batch,
        objective=config.learner.objective.kind,
        group_size=config.learner.group_size,
    )
    reason = loop.actuator.why_inert(facts)
    if reason is not None:
        yield f"actuator: {loop.actuator.kind!r} cannot act in this learner: {reason}"
    yield from _limits(loop)


def _limits(loop: LoopConfig) -> Iterator[str]:
    command = loop.actuator.command
    low, high = loop.limits or (command.low, command.high)
    if not command.low <= low < high <= command.high:
        yield (
            f"limits: must be [low, high] inside the range [{command.low:g}, {command.high:g}] of "
            f"{loop.actuator.kind!r}, got [{low:g}, {high:g}]; narrow them"
        )
    elif not low <= command.neutral <= high:
        yield (
            f"limits: must contain the neutral command {command.neutral:g} of {loop.actuator.kind!r}, "
            f"got [{low:g}, {high:g}]; widen them"
        )
    elif isinstance(loop.law, OpenLoop) and not low <= loop.law.value <= high:
        yield f"law: value must be inside the limits [{low:g}, {high:g}], got {loop.law.value:g}; change it"


def _within_entropy_range(reference: Reference, config: RunConfig) -> Iterator[str]:
    size = _known_vocabulary_size(config)
    if size is None:
        return
    low, high = reference.bounds()
    if (math.isfinite(low) and low < 0) or (math.isfinite(high) and high > math.log(size)):
        yield (
            f"reference: must stay between 0 and ln V = ln {size} = {math.log(size):.3f} nats/token, "
            f"got {low:g} to {high:g}; no policy over this vocabulary has such an entropy"
        )


def _known_vocabulary_size(config: RunConfig) -> int | None:
    """V without loading the model: from the alphabet, or from a local config.json; None for a hub id."""
    if config.policy.source == BUILTIN:
        return vocabulary_size(config.task.alphabet())
    file = Path(config.policy.source).expanduser() / "config.json"
    try:
        return int(json.loads(file.read_text())["vocab_size"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
