"""Builds a loop from a method preset, to use the control layer without the learner."""

from __future__ import annotations

from pathlib import Path

from controllers import Constant, FeedbackLoop, OpenLoop
from orchestrator.configuration.loop_checks import limit_faults
from orchestrator.configuration.loops import UP, LoopConfig
from orchestrator.configuration.resolve import parse, read_method
from orchestrator.errors import ConfigError, did_you_mean, lines_of


def loop_from_preset(
    preset: str | Path,
    name: str | None = None,
    *,
    setpoint: float | None = None,
    limits: tuple[float, float] | None = None,
) -> FeedbackLoop:
    """The loop of a preset: ``loop_from_preset("auto")``, ``loop_from_preset("my_loop.yaml", setpoint=0.3)``.

    Args:
        preset: a name that `entrostat list methods` knows, or a path to a YAML file.
        name: which loop, where the preset has several.
        setpoint: what the measurement should be throughout, in place of the preset's reference [nats/token]; a preset
            with ``limits: up`` then has its actuator's whole range.
        limits: lowest and highest command, in place of the preset's [actuator's unit].

    Raises:
        ConfigError: there is no such preset or loop, its actuator does more than move one number, which is all
            that a trainer of another kind has for it, an open loop was given a setpoint, or the limits do not fit
            the actuator.
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
    settings = dict(loops[name])
    if setpoint is not None:
        settings["reference"] = {"kind": Constant.kind, "value_nats": setpoint}
        if settings.get("limits") == UP:  # a setpoint of the caller's is to be held from both sides
            del settings["limits"]
    if limits is not None:
        settings["limits"] = limits
    loop = parse(LoopConfig, settings, where)
    if setpoint is not None and isinstance(loop.law, OpenLoop):
        raise ConfigError(
            f"{where}.law: {OpenLoop.kind!r} follows no setpoint; leave it out, or take another preset"
        )
    if faults := list(limit_faults(loop)):
        raise ConfigError(lines_of(f"{where}.{fault}" for fault in faults))
    if loop.actuator != type(loop.actuator)():
        raise ConfigError(
            f"{where}.actuator: {loop.actuator.kind!r} has settings of its own, which only Entrostat's learner "
            "knows; remove them, or train with `entrostat run`"
        )
    return loop.build()
