"""The loop that `simulate` reads from a file, and the options around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.method_file import MethodConfig
from orchestrator.configuration.resolve import parse, read_campaign
from orchestrator.configuration.yaml_files import read_yaml
from orchestrator.errors import ConfigError, did_you_mean, named


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is simulated: a loop, the plant it meets and what is known besides."""

    title: str
    name: str
    key: str
    """The loop's name."""
    loop: LoopConfig
    learner: Mapping[str, Any]
    """The learner's section."""
    timing: Mapping[str, Any]
    """``ahead`` and ``measure`` of its runs; for a preset those that it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The options of the command."""

    arm: str | None = None
    loop: str | None = None
    plant: Path | None = None
    iterations: int | None = None
    seeds: int = 200
    initial: float | None = None
    change: tuple[int, Path] | None = None
    against: str | None = None
    output: Path | None = None


def read_scene(path: Path, setting: Setting) -> Scene:
    """The loop of a method preset, or of a campaign's arm.

    Raises:
        ConfigError: the file is neither, or the arm or loop is unknown or must be chosen.
    """
    content = read_yaml(path)
    arm, loop = setting.arm, setting.loop
    if "method" in content:
        method = parse(MethodConfig, content, named(path))
        name, where, learner = method.method, "the preset", dict(method.learner)
        named_by_it = {"ahead": method.rollout.get("ahead"), "measure": method.learner.get("measure")}
        timing = {key: value for key, value in named_by_it.items() if value is not None}
        if arm is not None and not setting.against:
            raise ConfigError(f"{path}: is a preset and has no arms; leave --arm out")
        loops = {
            key: parse(LoopConfig, value, f"{named(path)}: loops.{key}")
            for key, value in method.loops.items()
        }
    elif "arms" in content:
        campaign = read_campaign(path)
        arms = {each.name: each for each in campaign.arms}
        with_loop = [name for name, each in arms.items() if each.config.loops]
        if arm is None and len(with_loop) == 1:
            arm = with_loop[0]
        if arm is None:
            raise ConfigError(
                f"{path}: choose an arm with --arm: {', '.join(with_loop) or 'none has a loop'}"
            )
        if arm not in arms:
            raise ConfigError(f"{path}: no arm {arm!r}; {did_you_mean(arm, arms)}")
        name, where = arm, f"the arm {arm!r}"
        learner = {**arms[arm].plain["learner"]}
        timing = arms[arm].config.timing
        loops = dict(arms[arm].config.loops)
    else:
        raise ConfigError(f"{path}: is neither a campaign (key arms) nor a method preset (key method)")
    if not loops:
        raise ConfigError(f"{path}: {where} has no loop, so there is nothing to simulate")
    if loop is None and len(loops) > 1:
        raise ConfigError(f"{path}: {where} has several loops; choose one with --loop: {', '.join(loops)}")
    loop = loop or next(iter(loops))
    if loop not in loops:
        raise ConfigError(f"{path}: {where} has no loop {loop!r}; {did_you_mean(loop, loops)}")
    return Scene(
        title=f"{name}, loop {loop}",
        name=name,
        key=loop,
        loop=loops[loop],
        learner=learner,
        timing=timing,
    )
