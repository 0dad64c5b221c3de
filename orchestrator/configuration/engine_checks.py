"""Checks whether the rollout engine of a run suits its policy and is installed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import Campaign
from orchestrator.errors import ConfigError, lines_of, named
from policies.model.sources import BUILTIN, model_config, user_path
from policies.rollouts.settings import Transformers, Vllm, VllmServer
from policies.rollouts.vllm_support import LARGEST_TEMPERATURE, why_no_head


def check_engine(config: RunConfig) -> Iterator[str]:
    """Problems of the engine with the other sections, one ``key: rule, value; remedy`` each."""
    engine = config.rollout.engine
    if isinstance(engine, Vllm | VllmServer) and config.rollout.temperature > LARGEST_TEMPERATURE:
        yield (
            f"rollout.temperature: must be at most {LARGEST_TEMPERATURE:g} with the engine {engine.kind!r}, got "
            f"{config.rollout.temperature:g}; lower it, or take the engine 'transformers'"
        )
    if isinstance(engine, Vllm):
        length, longest = engine.max_model_len, config.rollout.max_tokens
        if length is not None and length <= longest:
            yield (
                f"rollout.engine.max_model_len: must be above rollout.max_tokens ({longest}), since a prompt comes "
                f"before the response, got {length}; raise it, or set null for the model's context"
            )
        reason = why_no_head(_head_dim(config)) if config.learner.accelerator == "cpu" else None
        if reason is not None:
            yield f"rollout.engine: {reason}"
        yield from _tensor_parallelism(config, engine.tensor_parallel_size)
    yield from _ahead(config)
    yield from _in_flight(config)
    yield from _at_once(config)
    if isinstance(engine, VllmServer) and engine.folder is not None:
        try:
            user_path(engine.folder)
        except ValueError as error:
            yield f"rollout.engine.folder: {error}"
    if isinstance(engine, VllmServer) and engine.transfer == "adapter" and config.policy.lora is None:
        yield (
            "rollout.engine.transfer: 'adapter' pushes a LoRA adapter, and this policy has none; set policy.lora, "
            "or transfer to 'folder'"
        )
    if isinstance(engine, VllmServer) and engine.between_gpus and config.learner.accelerator == "cpu":
        yield (
            f"rollout.engine.transfer: {engine.transfer!r} is from GPU to GPU, and learner.accelerator is 'cpu'; set "
            "transfer to 'folder', or accelerator to 'gpu'"
        )


def _ahead(config: RunConfig) -> Iterator[str]:
    """Sampling ahead needs an engine that samples while the learner updates, and weights of a bounded age."""
    engine, ahead = config.rollout.engine, config.rollout.ahead
    if not ahead:
        return
    if isinstance(engine, Vllm) and engine.sleep:
        yield (
            f"rollout.ahead: must be 0 with rollout.engine.sleep, which gives the learner the engine's memory and so has "
            f"them take turns, got {ahead}; set rollout.engine.sleep to false, or the engine to 'vllm_server'"
        )
    if isinstance(engine, Vllm) and engine.tensor_parallel_size > 1:
        yield (
            f"rollout.ahead: must be 0 with rollout.engine.tensor_parallel_size above 1, whose engines are of the learner's "
            f"own ranks, got {ahead}; set the engine to 'vllm_server'"
        )
    if config.policy.trust_remote_code and not isinstance(engine, VllmServer):
        yield (
            f"rollout.ahead: must be 0 with policy.trust_remote_code, whose code the engine's own process does not have, "
            f"got {ahead}; set the engine to 'vllm_server'"
        )
    oldest = config.rollout.oldest_weights
    if oldest > config.rollout.max_staleness:
        yield (
            f"rollout.ahead: must keep responses at most rollout.max_staleness = {config.rollout.max_staleness} updates "
            f"old, and with rollout.engine.push_every they can be {oldest}, got {ahead}; lower it, or raise "
            "rollout.max_staleness"
        )


def _in_flight(config: RunConfig) -> Iterator[str]:
    """Prompts in flight are more than a batch, go on by whole rounds, and have a batch in which they may be late."""
    rollout, settings = config.rollout, config.rollout.in_flight
    if settings is None:
        return
    batch, key = config.learner.prompts_per_iteration, "rollout.in_flight"
    if not batch < settings.prompts <= 2 * batch:
        yield (
            f"{key}.prompts: must be above learner.prompts_per_iteration ({batch}) and at most twice that, got "
            f"{settings.prompts}; take {batch + max(1, batch // 4)}, or remove {key}"
        )
    if rollout.max_tokens % settings.round_tokens:
        fitting = max(n for n in range(1, settings.round_tokens + 1) if rollout.max_tokens % n == 0)
        yield (
            f"{key}.round_tokens: must divide rollout.max_tokens ({rollout.max_tokens}), so that a response of full length "
            f"is made of whole rounds, got {settings.round_tokens}; take {fitting}"
        )
    if settings.unfinished == "go_on" and rollout.max_staleness <= rollout.oldest_weights:
        yield (
            f"{key}.unfinished: 'go_on' makes responses up to {rollout.oldest_weights + 1} updates old "
            f"(rollout.ahead and rollout.engine.push_every included), and rollout.max_staleness is "
            f"{rollout.max_staleness}; raise rollout.max_staleness, or take 'dropped'"
        )
    if rollout.extra_rounds:
        yield (
            f"rollout.extra_rounds: must be 0 with {key}, which begins other prompts anyway, got {rollout.extra_rounds}; "
            "remove one of the two"
        )
    if config.task.answers_back:
        yield f"{key}: must be null with a task that answers back, whose turns are not cut; remove it"


def _at_once(config: RunConfig) -> Iterator[str]:
    """A policy that is spread over ranks samples on all of them or none, if it samples itself."""
    own_model = isinstance(config.rollout.engine, Transformers) and not config.rollout.ahead
    if config.learner.strategy != "fsdp2" or not own_model:
        return
    differing = {
        "the episodes of a multi-turn task differ in their number of turns": config.task.answers_back,
        "with rollout.extra_rounds ranks differ in what they draw again": config.rollout.extra_rounds,
    }
    for why, applies in differing.items():
        if applies:
            yield (
                f"learner.strategy: 'fsdp2' must sample on all ranks at once, but {why}; set rollout.engine to 'vllm', "
                "or take 'ddp'"
            )


def check_installed(campaign: Campaign) -> None:
    """Make sure that this installation can run the engines of all arms, if it is the one that will.

    Raises:
        ConfigError: with one line for each that it cannot.
    """
    if campaign.config.execution.executor.kind != "local":
        return  # on another machine, which says so itself
    lacking = [
        f"{named(campaign.path)}: arms.{arm.name}.rollout.engine: {engine.kind!r} cannot run here: {reason}"
        for arm in campaign.arms
        for engine in [arm.config.rollout.engine]
        for reason in [engine.why_unavailable()]
        if reason is not None
    ]
    if lacking:
        raise ConfigError(lines_of(lacking))


def _tensor_parallelism(config: RunConfig, size: int) -> Iterator[str]:
    """Ranks that hold an engine together are on one machine, and each has as many attention heads."""
    devices, key = config.learner.devices, "rollout.engine.tensor_parallel_size"
    if devices % size:
        yield (
            f"{key}: must divide learner.devices ({devices}), since the GPUs of an engine are those of a machine's "
            f"ranks, got {size}; take {_divisors(devices)}, or raise learner.devices"
        )
    elif (heads := _num_heads(config)) is not None and heads % size:
        yield (
            f"{key}: must divide the policy's attention heads ({heads}), got {size}; take "
            f"{_divisors(math.gcd(heads, devices))}"
        )
    if size > 1 and config.policy.initialisation.floor_nats is not None:
        yield (
            f"{key}: must be 1 with policy.initialisation.floor_nats, whose first rollouts each rank samples by itself, "
            f"got {size}; remove one of them"
        )


def _divisors(number: int) -> str:
    return " or ".join(str(size) for size in range(1, number + 1) if number % size == 0)


def _num_heads(config: RunConfig) -> int | None:
    """Attention heads of the policy, without loading it; None where that cannot be known."""
    if config.policy.source == BUILTIN:
        return config.policy.architecture.num_heads
    heads = model_config(config.policy.source).get("num_attention_heads")
    return heads if isinstance(heads, int) else None


def _head_dim(config: RunConfig) -> int | None:
    """Size of an attention head, without loading the model; None where that cannot be known."""
    if config.policy.source == BUILTIN:
        return config.policy.architecture.head_dim
    content = model_config(config.policy.source)
    try:
        return int(content.get("head_dim") or content["hidden_size"] // content["num_attention_heads"])
    except (ValueError, TypeError, KeyError, ArithmeticError):
        return None
