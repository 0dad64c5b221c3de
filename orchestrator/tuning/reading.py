"""From a study file to a checked study: its campaign, its arm, its plant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from controllers.parts.references import Free
from orchestrator.configuration.resolve import Arm, Campaign, parse, read_campaign
from orchestrator.configuration.yaml_files import dotted, read_yaml
from orchestrator.engineering.plant_file import read_plant
from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.tuning.checks import refuse, space_problems, study_problems
from orchestrator.tuning.models import StudyConfig
from orchestrator.tuning.space import in_order
from orchestrator.tuning.study import Start, Study


def read_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read a study, the campaign that it names and its plant, and check that they fit.

    Raises:
        ConfigError: anything is wrong in the study, the campaign or the plant file.
    """
    content = read_yaml(path, overrides)
    if "arms" in content and "space" not in content:
        raise ConfigError(
            f"{path}: this is a campaign, not a study; give it to `entrostat run`, or name it in a study's `campaign`"
        )
    config = parse(StudyConfig, content, str(path))
    try:
        config = config.model_copy(update={"space": in_order(config.space)})
    except ValueError as error:
        raise ConfigError(f"{path}: space.{error}") from error
    campaign = _campaign(path, config)
    arms = {arm.name: arm for arm in campaign.arms}
    if config.arm not in arms:
        raise ConfigError(f"{path}: arm: {campaign.path} has no such arm; {did_you_mean(config.arm, arms)}")
    arm = arms[config.arm]
    loop = _judged_loop(path, config, arm)
    study = Study(
        path=path, config=config, campaign=campaign, arm=arm, loop=loop, start=_start(path, config, arm, loop)
    )
    refuse(study, study_problems(study))
    refuse(study, space_problems(study))
    return study


def _campaign(path: Path, config: StudyConfig) -> Campaign:
    try:
        return read_campaign(path.parent / config.campaign, list(dotted(config.over)))
    except ConfigError as error:
        raise ConfigError(f"{path}: campaign: {error}") from error


def _judged_loop(path: Path, config: StudyConfig, arm: Arm) -> str:
    loops = arm.config.loops
    if config.loop is not None:
        if config.loop not in loops:
            raise ConfigError(
                f"{path}: loop: arm {arm.name!r} has no such loop; {did_you_mean(config.loop, loops)}"
            )
        return config.loop
    held = [name for name, loop in loops.items() if not isinstance(loop.reference, Free)]
    return next(iter([*held, *loops]), "")


def _start(path: Path, config: StudyConfig, arm: Arm, loop_name: str) -> Start | None:
    """The plant from its file, or the one that the loop was designed for."""
    loop = arm.config.loops.get(loop_name)
    own = config.simulation.plant if config.simulation else None
    initial = config.simulation.initial_nats if config.simulation else None
    if own is None or loop is None:
        if loop is None or loop.plant is None:
            return None
        return Start(plant=loop.plant, initial_nats=initial or loop.plant.level_nats, source="the arm's loop")
    try:
        file = read_plant(path.parent / own)
    except ConfigError as error:
        raise ConfigError(f"{path}: simulation.plant: {error}") from error
    if (file.channel.actuator.kind, file.channel.sensor) != (loop.actuator.kind, loop.sensor):
        raise ConfigError(
            f"{path}: simulation.plant: {own} is from {file.channel.actuator.kind!r} to {file.channel.sensor!r}, "
            f"and the loop {loop_name!r} from {loop.actuator.kind!r} to {loop.sensor!r}; identify that one"
        )
    initial = initial or file.channel.initial_nats or file.plant.level_nats
    return Start(plant=file.plant, initial_nats=initial, source=own)
