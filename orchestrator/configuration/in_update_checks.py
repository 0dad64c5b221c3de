"""Checks of a run that measures its policy in the update: what needs readings before it cannot be had.

Each check yields the faults that it finds as ``key: rule, value; remedy``.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.configuration.models import RunConfig
from policies.actuators.base import LogitActuator, SamplingActuator
from policies.importance import NoImportance
from policies.rollouts.settings import Transformers

INSTEAD = "set learner.measure to 'before_update'"


def check_in_update(config: RunConfig) -> Iterator[str]:
    """All checks of this file."""
    if config.learner.measure == "in_update":
        yield from _learner(config)
        yield from _loops(config)
        yield from _engine(config)


def _learner(config: RunConfig) -> Iterator[str]:
    """What is decided before the update by the policy's log-probs, and what hides responses from the update."""
    learner = config.learner
    if not isinstance(learner.importance, NoImportance):
        yield (
            f"learner.importance: must be 'none' with learner.measure 'in_update', which takes the engine's log-probs for the "
            f"old ones and knows no others to correct by, got {learner.importance.kind!r}; remove it, or {INSTEAD}"
        )
    hidden = {"truncated": learner.truncated == "mask", "uniform_groups": learner.uniform_groups == "drop"}
    for key in (key for key, hides in hidden.items() if hides):
        yield (
            f"learner.{key}: must be 'keep' with learner.measure 'in_update', whose readings would be without the responses "
            f"that it leaves out of the update, got {getattr(learner, key)!r}; change it, or {INSTEAD}"
        )


def _loops(config: RunConfig) -> Iterator[str]:
    """Decisions over a whole batch that look at the policy, and answers to what the coming update does."""
    for name, loop in config.loops.items():
        if loop.actuator.looks_at_policy:
            yield (
                f"loops.{name}.actuator: {loop.actuator.kind!r} decides over a whole batch by what the policy gives its "
                f"tokens, which learner.measure 'in_update' does not know before the update; take another, such as "
                f"'bonus', or {INSTEAD}"
            )
        elif isinstance(loop.actuator, LogitActuator):  # whatever it says that it decides by
            yield (
                f"loops.{name}.actuator: {loop.actuator.kind!r} scales the logits of the update, by which learner.measure "
                f"'in_update' measures the policy; take another, such as 'bonus', or {INSTEAD}"
            )
        if loop.feedforward is not None and not isinstance(loop.actuator, SamplingActuator):
            yield (
                f"loops.{name}.feedforward: {loop.feedforward.kind!r} answers what the coming update does, and with "
                f"learner.measure 'in_update' its answer comes after it; remove it, or {INSTEAD}"
            )


def _engine(config: RunConfig) -> Iterator[str]:
    """An engine of another implementation has to be held to a tolerance."""
    engine = config.rollout.engine
    if not isinstance(engine, Transformers) and "mismatch" not in config.guardrails.detectors:
        yield (
            f"guardrails.mismatch: must look with learner.measure 'in_update' and the engine {engine.kind!r}, whose "
            f"log-probs are taken for the learner's within its threshold; set a threshold, or {INSTEAD}"
        )
