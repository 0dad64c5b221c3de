"""Checks of a loop in its run: signals, domain, setpoint, feedforward, actuator and limits."""

from __future__ import annotations

import math
from collections.abc import Iterator

from controllers.base import Reference
from controllers.laws.open_loop import OpenLoop
from controllers.parts.paced import Paced
from controllers.parts.references import Free
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.signals import ALL_SIGNALS, is_signal, signals_read
from orchestrator.errors import did_you_mean
from policies.actuators.bonus import Bonus
from policies.model.sources import BUILTIN, model_config
from policies.model.tiny import vocabulary_size


def loop_faults(loop: LoopConfig, config: RunConfig) -> Iterator[str]:
    """What is wrong with a loop in a run."""
    for key, read in signals_read(loop):
        if not is_signal(read):
            yield f"{key}: unknown signal {read!r}; {did_you_mean(read, ALL_SIGNALS)}"
    if loop.domain is not None and loop.actuator.why_no_domain is not None:
        yield (
            f"domain: {loop.actuator.kind!r} acts on all tokens, {loop.actuator.why_no_domain}; "
            f"take another actuator, or remove the domain and read {loop.sensor!r} as the sensor"
        )
    if isinstance(loop.feedforward, Paced) and (loop.actuator != Bonus() or loop.domain is not None):
        yield (
            f"feedforward: {Paced.kind!r} foresees what the uniform entropy bonus does to all responses, and here it moves "
            f"{loop.actuator.kind!r}{f' of {loop.domain}' if loop.domain else ''}; take the actuator {Bonus.kind!r} "
            "without settings and without a domain, or the feedforward 'covariance'"
        )
    if isinstance(loop.reference, Free) and not isinstance(loop.law, OpenLoop):
        yield (
            f"reference: must be a setpoint, got {Free.kind!r}; a {loop.law.kind!r} law needs one, only 'open_loop' does "
            "without: remove it for 'auto', or name one"
        )
    if loop.sensor.startswith("entropy"):
        yield from _within_entropy_range(loop.reference, config)
    reason = loop.actuator.why_inert(config.update_facts)
    if reason is not None:
        yield f"actuator: {loop.actuator.kind!r} cannot act in this learner: {reason}"
    yield from limit_faults(loop)


def limit_faults(loop: LoopConfig) -> Iterator[str]:
    """What is wrong with the limits of a loop, given its actuator and law."""
    command = loop.actuator.command
    low, high = loop.bounds
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
    size = known_vocabulary_size(config)
    if size is None:
        return
    low, high = reference.bounds()
    if (math.isfinite(low) and low < 0) or (math.isfinite(high) and high > math.log(size)):
        yield (
            f"reference: must stay between 0 and ln V = ln {size} = {math.log(size):.3f} nats/token, "
            f"got {low:g} to {high:g}; no policy over this vocabulary has such an entropy"
        )


def known_vocabulary_size(config: RunConfig) -> int | None:
    """V without loading the model: from the alphabet, or from a local config.json; None for a hub id."""
    if config.policy.source == BUILTIN:
        try:
            return vocabulary_size(config.task.alphabet())
        except ValueError:  # the task's data cannot be read, which `check_prompts` says
            return None
    size = model_config(config.policy.source).get("vocab_size")
    return size if isinstance(size, int) and size > 0 else None
