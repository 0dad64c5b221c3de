"""Builds a loop from a method preset, to use the control layer without the learner."""

from __future__ import annotations

from pathlib import Path

from controllers.loop import FeedbackLoop
from orchestrator.configuration.models import LoopConfig
from orchestrator.configuration.resolve import parse, read_method
from orchestrator.errors import ConfigError, did_you_mean


def loop_from_preset(preset: str | Path, name: str | None = None) -> FeedbackLoop:
    """The loop of a preset: ``loop_from_preset("auto")``, ``loop_from_preset("my_loop.yaml")``.

    Args:
        preset: a name that `entrostat list methods` knows, or a path to a YAML file.
        name: which loop, where the preset has several.

    Raises:
        ConfigError: there is no such preset or loop, or its actuator does more than move one number, which is
            all that a trainer of another kind has for it.
    """
    loops = read_method(str(preset)).loops
    if name is None and len(loops) == 1:
        name = next(iter(loops))
    if name not in loops:
        asked = (
            "it has no loop" if not loops else f"choose one of its loops; {did_you_mean(str(name), loops)}"
        )
        raise ConfigError(f"{preset}: {asked}")
    where = f"{preset}: loops.{name}"
    loop = parse(LoopConfig, loops[name], where)
    if loop.actuator != type(loop.actuator)():
        raise ConfigError(
            f"{where}.actuator: {loop.actuator.kind!r} has settings of its own, which only Entrostat's learner "
            "knows; remove them, or train with `entrostat run`"
        )
    return loop.build()
