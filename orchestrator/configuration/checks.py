"""Checks whether the parts of a run fit together, which no single section can know.

Each check yields the faults that it finds as ``key: rule, value; remedy``.  All faults are collected, so a user
sees all of them at once and before anything is trained.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from orchestrator.configuration.engine_checks import check_engine
from orchestrator.configuration.evaluation_checks import check_evaluation
from orchestrator.configuration.hub import silence_of
from orchestrator.configuration.in_update_checks import check_in_update
from orchestrator.configuration.learner_checks import check_learner
from orchestrator.configuration.loop_checks import known_vocabulary_size, loop_faults
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.own_rewards import check_rewards
from orchestrator.configuration.packing_checks import check_packing
from orchestrator.configuration.prompt_checks import Draws, check_prompts
from orchestrator.configuration.resolve import Arm, Campaign, as_in_the_file
from orchestrator.configuration.signals import check_own_sensors, signals_read
from orchestrator.errors import ConfigError, did_you_mean, lines_of, named, one_line
from policies.actuators import ACTUATORS
from policies.actuators.base import Actuator, LossActuator, command_name
from policies.model.sources import BUILTIN, GGUF, has_chat_template, local_source
from policies.statistics.sensors import FILTERED, TURN
from policies.statistics.vocabulary import VocabularyFilter
from tasks.names import look_alikes


def check_campaign(campaign: Campaign, *, with_problems: bool = True) -> None:
    """Check every arm against itself; without its task's problems where the data set is not at hand.

    Raises:
        ConfigError: with one line for each problem found.
    """
    draws = Draws() if with_problems else None
    found = [(arm, fault) for arm in campaign.arms for fault in _arm_problems(arm, draws)]
    in_how_many = Counter(fault for _, fault in found)
    faults = []
    for arm, fault in found:
        line = f"{named(campaign.path)}: arms.{arm.name}.{fault}"
        is_of_all = in_how_many[fault] == len(campaign.arms)
        faults.append(as_in_the_file(line, campaign.path, arm.name, arm.own) if is_of_all else line)
    if faults:
        raise ConfigError(lines_of(dict.fromkeys(faults)))


def arm_problems(arm: Arm, *, with_problems: bool = True) -> Iterator[str]:
    """What is wrong with an arm, one ``key: rule, value; remedy`` each."""
    return _arm_problems(arm, Draws() if with_problems else None)


def _arm_problems(arm: Arm, draws: Draws | None) -> Iterator[str]:
    """A task reads data and can be of the user's own making, so whatever it raises is a problem of the task."""
    try:
        yield from _problems(arm.config, draws)
    except Exception as error:
        yield f"task: cannot be checked: {one_line(error)}; fix it"


def _problems(config: RunConfig, draws: Draws | None) -> Iterator[str]:
    silence_of(config)  # before any of its clients waits for the hub
    yield from _policy(config)
    yield from _stops(config)
    yield from _devices(config)
    yield from check_packing(config)
    if draws is not None:
        yield from check_prompts(config, draws)
    yield from check_rewards(config, with_problems=draws is not None)
    yield from check_engine(config)
    yield from check_learner(config)
    yield from check_in_update(config)
    yield from check_evaluation(config, draws)
    yield from _objective(config)
    yield from _owners(config)
    yield from _vocabularies(config)
    yield from _episodes(config)
    yield from _guardrails(config)
    yield from check_own_sensors(config.loops)
    if alike := look_alikes(config.loops):
        yield (
            f"loops.{alike[1]}: differs from the loop {alike[0]!r} by case alone, and some trackers merge their "
            "metrics; rename one of the two"
        )
    for name, loop in config.loops.items():
        for problem in loop_faults(loop, config):
            yield f"loops.{name}.{problem}"


def _policy(config: RunConfig) -> Iterator[str]:
    source = config.policy.source
    try:
        path = local_source(source)
    except ValueError as error:
        yield f"policy.source: {error}"
        path = None
    if config.policy.chat is not None and path and path.suffix != GGUF and not has_chat_template(path):
        yield (
            f"policy.chat: the tokenizer in {path.resolve()} has no chat template; remove policy.chat to give it "
            "unchanged prompts, or choose a model that was made for conversations"
        )
    if source.startswith("builtin:") and source != BUILTIN:
        yield f"policy.source: unknown built-in policy {source!r}; {did_you_mean(source, [BUILTIN])}"
    floor, size = config.policy.initialisation.floor_nats, known_vocabulary_size(config)
    if floor is not None and size is not None and floor >= math.log(size):
        yield (
            f"policy.initialisation.floor_nats: must be below ln V = ln {size} = {math.log(size):.3f} nats/token, "
            f"got {floor:g}; no policy over this vocabulary has such an entropy"
        )


def _stops(config: RunConfig) -> Iterator[str]:
    """A built-in policy's tokens are known; a pretrained one's are looked at when it is loaded."""
    for text in config.rollout.stop if config.policy.source == BUILTIN else ():
        if text not in sorted(config.task.alphabet()):
            yield (
                f"rollout.stop: must be characters of the task, which are the tokens of {BUILTIN} "
                f"({config.task.alphabet()!r}), got {text!r}; choose one of them"
            )


def _devices(config: RunConfig) -> Iterator[str]:
    """Prompts are dealt over the processes of a run, and each has to have one."""
    num_processes = config.learner.devices * config.learner.num_nodes
    for key, what, number in (
        ("learner.prompts_per_iteration", "prompts of an iteration", config.learner.prompts_per_iteration),
        ("evaluation.num_problems", "held-out problems", config.evaluation.num_problems),
        *(
            (f"evaluation.sets.{name}.num_problems", "held-out problems", each.num_problems)
            for name, each in config.evaluation.sets.items()
        ),
    ):
        if num_processes > number:
            yield (
                f"learner.devices: must be at most one for each of the {number} {what}, got {num_processes} "
                f"(devices times num_nodes); lower it, or raise {key}"
            )


def _objective(config: RunConfig) -> Iterator[str]:
    objective = config.learner.objective
    if objective.needs_ratio and config.update_facts.ratio_stays_at_one:
        yield (
            f"learner.objective: {objective.kind!r} cannot act in this learner: with one optimiser step a batch "
            "the probability ratio is 1 and the loss is plain policy gradient; set learner.minibatches or "
            "learner.epochs above 1, or take another objective"
        )


def _owners(config: RunConfig) -> Iterator[str]:
    """One owner for each actuator on any token: several of a kind need domains that differ."""
    before: list[tuple[str, LoopConfig]] = []
    for name, loop in config.loops.items():
        kind, domain = loop.actuator.kind, loop.domain
        for other, owner in before:
            if owner.actuator.kind != kind:
                continue
            if domain == owner.domain:
                yield (
                    f"loops.{name}.actuator: {command_name(kind, domain)!r} is already moved by the loop {other!r}; "
                    "remove one of the two loops, or give it another actuator"
                )
            elif domain is None or owner.domain is None:
                everywhere = name if domain is None else other
                yield (
                    f"loops.{name}.actuator: {kind!r} is moved by the loop {other!r} too, and without a domain "
                    f"the loop {everywhere!r} owns it for all of them; give that one a domain, or remove it"
                )
        before.append((name, loop))


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
                f"and the loop {first[0]!r} reads {first[1]}; a run supports only one part: remove one of the two loops"
            )
    for name, loop in config.loops.items():
        for key, read in signals_read(loop):
            if read.startswith(FILTERED) and first is None:
                able = sorted(kind for kind, actuator in ACTUATORS.items() if _vocabulary(actuator()))
                yield (
                    f"loops.{name}.{key}: {read!r} needs an actuator that reads a part of the vocabulary "
                    f"({', '.join(able)}), and this run has none; choose one, or the sensor 'entropy'"
                )


def _episodes(config: RunConfig) -> Iterator[str]:
    """A task that answers back has to be let answer, and only such a one has turns."""
    if config.task.answers_back:
        if config.rollout.episode.max_turns < 2:
            yield (
                f"rollout.episode.max_turns: must be at least 2 for {config.task.kind!r}, a multi-turn task, "
                f"got {config.rollout.episode.max_turns}; raise it"
            )
        turn, whole = config.rollout.max_tokens, config.rollout.episode.max_tokens
        if whole is not None and whole <= turn:
            yield (
                f"rollout.episode.max_tokens: must be above rollout.max_tokens ({turn}), the limit of one turn, or "
                f"no second turn fits, got {whole}; raise it, or lower rollout.max_tokens"
            )
        return
    for name, loop in config.loops.items():
        for key, read in signals_read(loop):
            if read.startswith(TURN):
                yield (
                    f"loops.{name}.{key}: {read!r} needs a multi-turn task, and {config.task.kind!r} is not "
                    "one; choose such a task, or the sensor 'entropy'"
                )


def _guardrails(config: RunConfig) -> Iterator[str]:
    """Whether what a guardrail is to do can be done in this run."""
    every, iterations = config.learner.checkpoint_every, config.learner.iterations
    for name in config.guardrails.with_action("hold"):
        if not config.loops:
            yield (
                f"guardrails.{name}.action: 'hold' keeps the commands of loops, and this run has no loop; "
                "set 'warn' or 'stop'"
            )
    for name in config.guardrails.with_action("rollback"):
        if every > iterations:
            yield (
                f"guardrails.{name}.action: 'rollback' needs a checkpoint to go back to, and with "
                f"learner.checkpoint_every {every} there is none in {iterations} iterations; lower it to "
                f"{iterations} or less"
            )


def _vocabulary(actuator: Actuator) -> VocabularyFilter | None:
    return actuator.vocabulary if isinstance(actuator, LossActuator) else None
