"""The file `plant.yaml`: an identified plant, its channel, and its origin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, PositiveFloat, model_validator

from controllers.plants.plant import Plant
from orchestrator.configuration.learner import Measure
from orchestrator.configuration.loops import AnyActuator, dead_time
from orchestrator.configuration.part_schema import Strict, section, to_plain
from orchestrator.configuration.resolve import parse
from orchestrator.configuration.yaml_files import read_yaml
from orchestrator.errors import ConfigError

HEADER = """\
# An entropy plant, written by `entrostat identify`; `entrostat design` takes it as it is.
#
#   z_t = a_1·z_{t−1} + … + b_0·u_{t−delay} + b_1·u_{t−delay−1} + … + drift + ε_t
#
# z is the sensor's reading y [nats/token] in `coordinates`: y (absolute), y / level_nats (relative) or
# ln y (log).  u is the command [actuator's unit]; t counts iterations.  `noise_std` is of ε [unit of z],
# `covariance` of the estimates in the order a…, b…, drift.
"""


class Channel(Strict):
    """What the plant is the plant of: from this actuator's command to this sensor's reading."""

    sensor: str = "entropy"
    """Signal that was read."""
    domain: Annotated[str, Field(min_length=1)] | None = None
    """Kind of problem that the loop was for; null is all of them."""
    actuator: AnyActuator
    """Actuator that was moved."""
    limits: tuple[float, float]
    """Lowest and highest command [actuator's unit]."""
    learning_rate: PositiveFloat
    """Learning rate of the runs; the push and the drift are roughly proportional to it."""
    initial_nats: PositiveFloat | None = None
    """Mean first reading of the runs [nats/token]: where a prediction starts."""
    ahead: Annotated[int, Field(ge=0)] = 0
    """The runs' ``rollout.ahead`` [iterations]; where the actuator moves sampling, the plant's delay has it in it."""
    measure: Measure = "before_update"
    """The runs' ``learner.measure``; where the actuator moves the update, ``in_update`` is an iteration of the plant's delay."""

    @property
    def dead_time(self) -> int:
        """Iterations of the plant's delay for which a command only waits."""
        return dead_time(self.actuator, self.ahead, self.measure)

    @model_validator(mode="after")
    def _limits_rise(self) -> Channel:
        if not self.limits[0] < self.limits[1]:
            raise ValueError(f"limits must be [low, high] with low < high, got {list(self.limits)}")
        return self


class Origin(Strict):
    """The origin of the plant."""

    campaign: str
    """Campaign whose runs were read."""
    arm: str = ""
    """Arm whose runs were read."""
    loop: str = "entropy"
    """Loop whose records were read."""
    runs: tuple[str, ...] = ()
    """The runs whose records were used."""
    tracking: str | None = None
    """MLflow tracking URI of these runs, without credentials; a design for the plant is tracked beside them."""
    skipped_iterations: Annotated[int, Field(ge=0)] = 0
    """Iterations at the beginning of each run that were left out."""
    created: str = ""
    """Time at which the file was written, in UTC."""
    commit: str | None = None
    """Git commit of the repository that the command was given in; null if there is none."""
    entrostat: str = ""
    """Version that wrote the file."""


class PlantFile(Strict):
    """What `plant.yaml` holds."""

    plant: Annotated[Plant, section(Plant)]
    """Linear model of how the reading answers the command."""
    channel: Channel
    """What the plant is the plant of."""
    origin: Origin
    """Runs that the plant was identified from."""


def read_plant(path: Path) -> PlantFile:
    """Read a plant file.

    Raises:
        ConfigError: unreadable, an unknown or missing key, a value out of its range: file, key, cure.
    """
    content = read_yaml(path)
    if "method" in content:
        raise ConfigError(f"{path}: is a method preset, not a plant; give the file `identify` has written")
    return parse(PlantFile, content, str(path))


def retimed(file: PlantFile, **timing: Any) -> PlantFile:
    """The plant of runs that are alike but for ``ahead`` or ``measure``: with the delay that these make."""
    channel = file.channel.model_copy(update=timing)
    delay = file.plant.delay + channel.dead_time - file.channel.dead_time
    return file.model_copy(update={"plant": replace(file.plant, delay=delay), "channel": channel})


def plant_text(file: PlantFile) -> str:
    """The file as text; what `read_plant` reads back is equal to what was given."""
    return f"{HEADER}\n{yaml_text(to_plain(file))}"


def yaml_text(content: dict[str, Any]) -> str:
    """A mapping as YAML that reads back equal, down to the last bit of its numbers."""
    return yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )


class _Dumper(yaml.SafeDumper):
    """Numbers are written so that reading gives the same float, short where that is enough."""


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(float(value))
    if "e" in text and "." not in text:  # YAML 1.1 reads 1e-05 as a text
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _float)
