"""The configuration of a campaign and of each of its runs, as pydantic models of the YAML.

A campaign is read in two steps.  `resolve.py` turns it into one plain mapping for every arm (the
campaign's sections, then what the method's preset says, then the arm's own overrides); each of those
becomes a `RunConfig` here.  What a part can be set to is declared once, in the part's own class.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from controllers.base import Dither, Feedforward, Filter, Law, Reference
from controllers.laws import LAWS
from controllers.laws.open_loop import OpenLoop
from controllers.laws.pid import PID
from controllers.loop import FeedbackLoop
from controllers.parts.dither import DITHERS
from controllers.parts.feedforward import FEEDFORWARDS
from controllers.parts.filters import FILTERS, Hold
from controllers.parts.references import REFERENCES, Free
from controllers.plants.plant import Plant
from orchestrator.configuration.execution import ExecutionConfig
from orchestrator.configuration.guardrails import GuardrailsConfig
from orchestrator.configuration.names import ArmName, FolderName, Name
from orchestrator.configuration.parts import Strict, one_of, section
from orchestrator.configuration.phases import AnyTask, PhaseConfig, phase_at
from orchestrator.configuration.policy import PolicyConfig
from policies.actuators import ACTUATORS
from policies.actuators.base import Actuator, command_name
from policies.advantages import ADVANTAGES, Advantage, Grpo
from policies.importance import IMPORTANCES, Importance, NoImportance
from policies.objectives import OBJECTIVES, ClippedSurrogate, Objective
from policies.rollouts.episodes import EpisodeLimits
from policies.rollouts.settings import ENGINES, EngineSettings, Transformers
from policies.statistics.sensors import DOMAIN
from tasks import Task

Decay = Annotated[float, Field(ge=0, lt=1)]
AnyLaw = Annotated[Law, one_of(LAWS, nested={PID: one_of({PID.kind: PID})})]
AnyFilter = Annotated[Filter, one_of(FILTERS)]
AnyReference = Annotated[Reference, one_of(REFERENCES, nested={Reference: one_of(REFERENCES)})]
AnyFeedforward = Annotated[Feedforward, one_of(FEEDFORWARDS)]
AnyDither = Annotated[Dither, one_of(DITHERS)]
AnyActuator = Annotated[Actuator, one_of(ACTUATORS)]
AnyObjective = Annotated[Objective, one_of(OBJECTIVES)]
AnyAdvantage = Annotated[Advantage, one_of(ADVANTAGES)]
AnyEngine = Annotated[EngineSettings, one_of(ENGINES, by_name=True)]
AnyImportance = Annotated[Importance, one_of(IMPORTANCES, by_name=True)]


class RolloutConfig(Strict):
    """How responses are sampled."""

    engine: AnyEngine = Transformers()
    """What samples them; a name alone, such as ``transformers``, takes its defaults."""
    temperature: PositiveFloat = 1.0
    max_tokens: PositiveInt = 16
    """Longest response [tokens]; a longer one is cut and counted as truncated."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end a response besides the model's own end tokens, such as a newline after the answer to a
    few-shot prompt.  Each must be one token of the tokenizer; graders do not see it."""
    max_batch_size: PositiveInt = 256
    """Responses generated at once."""
    episode: Annotated[EpisodeLimits, section(EpisodeLimits)] = EpisodeLimits()
    """Limits of an episode, of a task that answers back; ``max_tokens`` above is then of one turn."""


class LearnerConfig(Strict):
    """One training iteration and how many of them."""

    iterations: PositiveInt
    prompts_per_iteration: PositiveInt = 32
    group_size: Annotated[int, Field(ge=2)] = 8
    """Responses sampled for each prompt; advantages are relative to this group."""
    epochs: PositiveInt = 1
    """Passes over each batch of rollouts."""
    minibatches: PositiveInt = 1
    """Optimiser steps in each pass; 1 epoch of 1 minibatch is strictly on-policy."""
    micro_batch_size: PositiveInt | None = None
    """Responses in memory at once; null takes the whole minibatch.  Changes no result."""
    objective: AnyObjective = ClippedSurrogate()
    advantage: AnyAdvantage = Grpo()
    importance: AnyImportance = NoImportance()
    """Correction for an engine whose probabilities are not quite the learner's."""
    aggregation: Literal["token_mean", "sequence_mean", "fixed_length"] = "token_mean"
    learning_rate: PositiveFloat = 1e-6
    warmup_iterations: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    max_grad_norm: PositiveFloat = 1.0
    max_skipped_steps: PositiveInt = 5
    """Consecutive steps with a loss or gradient that is not finite before the run stops."""
    checkpoint_every: PositiveInt = 10
    """Iterations between checkpoints; the most that a killed process repeats."""
    accelerator: Literal["cpu", "gpu", "auto"] = "auto"
    devices: PositiveInt = 1
    """Processes of the run on each machine, one to a GPU; on a CPU they share its threads.  Changes no result."""
    num_nodes: PositiveInt = 1
    """Machines, each started by torchrun or SLURM, see ``configs/launch``.  Changes no result."""
    strategy: Literal["auto", "ddp", "fsdp2"] = "auto"
    """How several processes share the policy: ``ddp`` has a whole one in each; ``fsdp2`` has a share of every
    parameter, gradient and optimiser state; ``auto`` is ``ddp``."""
    precision: Literal["32-true", "bf16-mixed", "bf16-true"] = "32-true"
    recompute_activations: bool = False
    """Keep only what enters each decoder block and compute the rest again for the gradient: much less memory,
    about a third more computing.  Changes no result."""

    @property
    def steps_per_batch(self) -> int:
        """Optimiser steps on one batch of rollouts."""
        return self.epochs * self.minibatches

    @model_validator(mode="after")
    def _minibatches_hold_something(self) -> LearnerConfig:
        if self.minibatches > self.prompts_per_iteration:
            raise ValueError(
                f"minibatches must be at most the {self.prompts_per_iteration} prompts of an iteration "
                f"(groups are not cut), got {self.minibatches}; lower it, or raise prompts_per_iteration"
            )
        return self


class EvaluationConfig(Strict):
    """The held-out exam: greedy pass@1, and pass@k from samples at the rollout temperature."""

    every: PositiveInt = 50
    """Iterations between evaluations; there is always one at the start and one at the end."""
    num_problems: PositiveInt = 128
    num_samples: PositiveInt = 8
    pass_at: tuple[PositiveInt, ...] = (8,)
    """Values of k; each at most num_samples."""

    @field_validator("pass_at")
    @classmethod
    def _differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or 1 in value:
            raise ValueError(f"pass_at must hold different numbers above 1 (pass@1 is greedy), got {value}")
        return value

    @model_validator(mode="after")
    def _enough_samples(self) -> EvaluationConfig:
        if self.pass_at and max(self.pass_at) > self.num_samples:
            raise ValueError(
                f"num_samples must be at least the largest k of pass_at ({max(self.pass_at)}), "
                f"got {self.num_samples}; raise it"
            )
        return self


class LoopConfig(Strict):
    """One feedback loop: sensor, reference, law, actuator."""

    domain: Annotated[str, Field(min_length=1)] | None = None
    """Kind of problem that the loop is for, such as ``add2``; null is all of them.  Its actuator moves the
    responses to these problems and no others, and its sensor ``entropy`` is ``entropy/domain/<domain>``.
    While a batch has none of them the loop holds its command.  Loops of different domains may drive
    actuators of the same kind."""
    sensor: str = "entropy"
    filter: AnyFilter = Hold()
    reference: AnyReference = Free()
    """Where the sensor's reading should be; only an open loop does without."""
    law: AnyLaw
    actuator: AnyActuator
    feedforward: AnyFeedforward | None = None
    """A share of the command that answers what another reading predicts, before entropy shows it."""
    dither: AnyDither | None = None
    """A known movement added to the command, from which `entrostat identify` learns the plant."""
    limits: tuple[float, float] | None = None
    """Lowest and highest command; null takes the actuator's whole range."""
    gains_range: PositiveFloat | None = None
    """Range that the law's settings are for: the larger distance from neutral to a limit [actuator's unit].  On
    limits with another range, or another actuator, the law's command is scaled to it, so that its settings keep
    their meaning.  null: they are in the actuator's unit, as the value of an open loop always is."""
    slew: PositiveFloat | None = None
    """Largest change of the command in one iteration; null is unlimited."""
    dead_band_nats: Annotated[float, Field(ge=0)] = 0.0
    period: PositiveInt = 1
    """Iterations between two commands."""
    plant: Annotated[Plant, section(Plant)] | None = None
    """What the gains were designed for; changes no result, the report predicts with it."""

    @model_validator(mode="after")
    def _range_has_gains(self) -> LoopConfig:
        if self.gains_range is not None and self.plant is not None:
            raise ValueError(
                "gains_range: gains designed for a plant are in the actuator's unit, as the plant is; leave it out"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _entropy_of_its_domain(cls, loop: Any) -> Any:
        if not isinstance(loop, dict) or loop.get("domain") is None:
            return loop
        sensor = loop.get("sensor", "entropy")
        return loop | {"sensor": f"{DOMAIN}{loop['domain']}" if sensor == "entropy" else sensor}

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest command [actuator's unit]."""
        return self.limits or (self.actuator.command.low, self.actuator.command.high)

    @property
    def unit(self) -> float:
        """Command that the law counts as 1 [actuator's unit]."""
        if self.gains_range is None or isinstance(self.law, OpenLoop):
            return 1.0
        (low, high), neutral = self.bounds, self.actuator.command.neutral
        return max(high - neutral, neutral - low) / self.gains_range

    def build(self) -> FeedbackLoop:
        """The loop on plain floats that the controller layer runs."""
        command = self.actuator.command
        low, high = self.bounds
        return FeedbackLoop(
            sensor=self.sensor,
            filter=self.filter,
            reference=self.reference,
            law=self.law,
            actuator=command_name(self.actuator.kind, self.domain),
            low=low,
            high=high,
            neutral=command.neutral,
            unit=self.unit,
            origin=0.0 if self.gains_range is None or isinstance(self.law, OpenLoop) else command.neutral,
            feedforward=self.feedforward,
            dither=self.dither,
            slew=self.slew or float("inf"),
            dead_band_nats=self.dead_band_nats,
            period=self.period,
        )


class TrackingConfig(Strict):
    """Where results go."""

    folder: str = "runs"
    """Run folders, checkpoints and reports, relative to the working directory."""
    uri: str | None = None
    """MLflow tracking URI; null is an SQLite file in the folder."""


class ArmConfig(Strict):
    """One column of the comparison: a method, or a loop spelled out, with its own overrides."""

    name: ArmName
    method: str | None = None
    """A preset of ``configs/methods``, or a path to one."""
    loops: dict[Name, Any] | None = None
    learner: dict[str, Any] | None = None
    rollout: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None
    guardrails: dict[str, Any] | None = None
    task: dict[str, Any] | None = None
    phases: tuple[dict[str, Any], ...] | None = None
    """Instead of the campaign's; an empty list is none."""


class RunConfig(Strict):
    """Everything that decides the result of one arm, but for the seed."""

    policy: PolicyConfig = PolicyConfig()
    task: AnyTask
    learner: LearnerConfig
    rollout: RolloutConfig = RolloutConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    loops: dict[Name, LoopConfig] = {}
    guardrails: GuardrailsConfig = GuardrailsConfig()
    phases: tuple[PhaseConfig, ...] = ()
    """What changes during training, in the order of time."""

    def task_at(self, iteration: int) -> Task:
        """The task that the training prompts of an iteration come from."""
        phase = phase_at(self.phases, iteration)
        return phase.task if phase else self.task

    @property
    def max_response_tokens(self) -> int:
        """The most that the policy can say to one problem [tokens]: a response, or all its turns of an episode."""
        turn = self.rollout.max_tokens
        return self.rollout.episode.most_spoken(turn) if self.task.answers_back else turn


class CampaignConfig(Strict):
    """A campaign as the user wrote it, but for the arms' sections, which `RunConfig` checks."""

    name: FolderName
    description: str = ""
    policy: dict[str, Any] = {}
    task: dict[str, Any]
    learner: dict[str, Any]
    rollout: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    guardrails: dict[str, Any] = {}
    phases: tuple[dict[str, Any], ...] = ()
    tracking: TrackingConfig = TrackingConfig()
    execution: ExecutionConfig = ExecutionConfig()
    arms: Annotated[tuple[ArmConfig, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
