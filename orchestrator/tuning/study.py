"""A study file, read and checked against the campaign that it tunes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from controllers.plants.plant import Plant
from orchestrator.configuration.inputs import inputs_of
from orchestrator.configuration.loops import LoopConfig, dead_time
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.part_schema import to_plain
from orchestrator.configuration.resolve import Arm, Campaign, parse
from orchestrator.configuration.yaml_files import merge
from orchestrator.masking import masked
from orchestrator.storage.inputs import Inputs
from orchestrator.tuning.criteria import Criterion, criterion
from orchestrator.tuning.models import StudyConfig
from orchestrator.tuning.space import corners, overlay

AFTER_SIMULATION = ("enqueue", "spread", "plant")
"""Settings of stage one that decide nothing about its candidates: which of them are handed on, and the plant by its
place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The plant of stage one and where a simulated run starts."""

    plant: Plant
    initial_nats: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study, read, merged and checked."""

    path: Path
    config: StudyConfig
    campaign: Campaign
    arm: Arm
    loop: str
    """Name of the loop that is judged; "" for an arm without loops."""
    start: Start | None
    """None where no plant is known."""
    is_confirmation: bool = False
    """Whether its trials are those of another study once more, on fresh seeds."""

    @property
    def dead_time(self) -> int:
        """Iterations from a command to its first effect, of the plant that is known; without one, 1 after the wait."""
        loop = self.arm.config.loops.get(self.loop)
        if loop is None:
            return 1
        wait = dead_time(loop.actuator, **self.arm.config.timing)
        plant = loop.plant or (self.start.plant if self.start else None)
        return plant.in_run(wait).dead_time if plant else 1 + wait

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """The criteria of trained trials."""
        return tuple(criterion(name) for name in self.config.criteria)

    @property
    def simulated_criteria(self) -> tuple[Criterion, ...]:
        """The criteria of simulated candidates."""
        return tuple(criterion(name) for name in self.config.simulated_criteria)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of every trial, in the order in which they train."""
        return self.config.seeds or self.campaign.config.seeds

    @property
    def num_iterations(self) -> int:
        """Iterations of each of a trial's runs."""
        return self.arm.config.learner.iterations

    @property
    def looks(self) -> tuple[int, ...]:
        """Iterations of a run after which it is judged, the last of them included."""
        every = self.config.report_every or max(1, self.num_iterations // 10)
        return (*range(every, self.num_iterations, every), self.num_iterations)

    @property
    def last_judged_iteration(self) -> int:
        """The last of all iterations of a trial after which it can still be pruned; 0 where there is none."""
        before = (len(self.seeds) - 1) * self.num_iterations
        return before + (self.looks[-2] if len(self.looks) > 1 else 0)

    @property
    def folder(self) -> Path:
        """The study's folder, beside the runs of campaigns and in the same format."""
        return Path(self.campaign.config.tracking.folder).resolve() / self.config.name

    def candidate(self, params: Mapping[str, Any], name: str = "candidate") -> Arm:
        """The arm with some parameters.

        Raises:
            ConfigError: its parts do not accept them.
        """
        below = self.arm.plain
        plain = merge(below, overlay(params, below))
        if self.start is not None:  # the report then predicts each trial
            plain = merge(plain, {"loops": {self.loop: {"plant": to_plain(self.start.plant)}}})
        config = parse(RunConfig, plain, f"{self.path}: space")
        return Arm(name=name, method=self.arm.method, config=config)

    def simulated_loop(self, params: Mapping[str, Any]) -> LoopConfig:
        """The judged loop of a candidate, which is all that a plant answers."""
        below = {"loops": {self.loop: self._loop_plain}}
        plain = merge(below, overlay(params, below))["loops"][self.loop]
        return parse(LoopConfig, plain, f"{self.path}: space.loops.{self.loop}")

    @cached_property
    def _loop_plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = self.arm.plain["loops"][self.loop]
        return plain

    @property
    def telemetry(self) -> dict[str, float]:
        """Readings that a simulated loop has besides its sensor."""
        return {"learning_rate": self.arm.config.learner.learning_rate}

    def inputs(self) -> Inputs:
        """The inputs of its trials besides their settings, anywhere in the space.

        Raises:
            ConfigError: something of it cannot be read.
        """
        arms = [self.arm]
        if any(path.startswith("policy.") for path in self.config.space):
            arms += [self.candidate(params) for _, params in corners(self.config.space)]
        # A label names the setting and what it is set to, so that arms with the same have the same.
        return {label: state for arm in arms for label, state in inputs_of(arm.config).items()}

    def definition(self) -> dict[str, Any]:
        """Everything that two trials of one study have in common."""
        return {
            "space": {path: each.model_dump(mode="json") for path, each in self.config.space.items()},
            "objective": list(self.config.criteria),
            "constraints": self.config.constraints.model_dump(mode="json"),
            "seeds": list(self.seeds),
            "loop": self.loop,
            "arm": masked(self.arm.plain),
        }

    def simulated_definition(self) -> dict[str, Any]:
        """Everything that two candidates of stage one have in common."""
        assert self.config.simulation is not None
        assert self.start is not None
        return self.definition() | {
            "simulation": self.config.simulation.model_dump(mode="json", exclude=set(AFTER_SIMULATION)),
            "plant": to_plain(self.start.plant),
            "initial_nats": self.start.initial_nats,
        }

    @property
    def plain(self) -> dict[str, Any]:
        """The study as YAML can hold it, with its arm in full."""
        return {"study": to_plain(self.config), "arm": {"name": self.arm.name, **self.arm.plain}}
