"""Checks of what every trainer has against the rest of a run: the reference policy, the treatment of long responses.

Each check yields the faults that it finds as ``key: rule, value; remedy``.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.signals import reads_reference
from policies.actuators.base import LogitActuator
from policies.actuators.kl_reward import KlReward
from policies.advantages import MaxRL
from policies.model.reference import START
from policies.model.sources import BUILTIN, local_source


def check_learner(config: RunConfig) -> Iterator[str]:
    """All checks of this file."""
    yield from _reference(config)
    yield from _long_responses(config)


def _reference(config: RunConfig) -> Iterator[str]:
    """Whether the policy can be compared with the reference that it names."""
    source = config.policy.reference
    if source == BUILTIN:
        yield (
            f"policy.reference: must be {START!r} or a pretrained model, got {source!r}, which is made from a task; "
            f"take {START!r}, or name a folder"
        )
    elif source != START:
        try:
            local_source(source)
        except ValueError as error:
            yield f"policy.reference: {error}"
    if not reads_reference(config.loops):
        return
    for name, loop in config.loops.items():
        if isinstance(loop.actuator, LogitActuator):
            yield (
                f"loops.{name}.actuator: {loop.actuator.kind!r} must not stand beside a KL to policy.reference, whose "
                "logits it does not scale, so that the two would differ from the start; remove one of the two"
            )


def _long_responses(config: RunConfig) -> Iterator[str]:
    """Whether the penalty on length has room, and whether advantages can be made from rewards below 0."""
    overlong, longest = config.learner.overlong, config.max_response_tokens
    if overlong is not None and overlong.buffer_tokens >= longest:
        yield (
            f"learner.overlong.buffer_tokens: must be below the longest response, {longest} tokens, got "
            f"{overlong.buffer_tokens}; lower it, or raise rollout.max_tokens"
        )
    if not isinstance(config.learner.advantage, MaxRL):
        return
    below_zero = {"learner.overlong": overlong is not None} | {
        f"loops.{name}.actuator": isinstance(loop.actuator, KlReward) for name, loop in config.loops.items()
    }
    for key in (key for key, is_so in below_zero.items() if is_so):
        yield (
            f"{key}: makes rewards below 0, and the advantage 'maxrl' divides by their mean; remove it, or take "
            "another advantage"
        )
