"""The sections of a run for sampling and learning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from orchestrator.configuration.own_families import OWN
from orchestrator.configuration.part_schema import Strict, one_of, section
from policies.advantages import ADVANTAGES, Advantage, Grpo, PassK
from policies.importance import IMPORTANCES, Importance, NoImportance
from policies.long_responses import Overlong, Truncated
from policies.objectives import OBJECTIVES, ClippedSurrogate, Objective
from policies.rollouts.episodes import EpisodeLimits
from policies.rollouts.in_flight import InFlight
from policies.rollouts.settings import ENGINES, EngineSettings, Transformers
from policies.statistics.micro_batches import ByRows, ByTokens, LongestFirst, MicroBatches

Measure = Literal["before_update", "in_update"]
Decay = Annotated[float, Field(ge=0, lt=1)]
AnyObjective = Annotated[Objective, one_of(OBJECTIVES, own=OWN[Objective])]
AnyAdvantage = Annotated[Advantage, one_of(ADVANTAGES, own=OWN[Advantage])]
AnyEngine = Annotated[EngineSettings, one_of(ENGINES, by_name=True)]
AnyImportance = Annotated[Importance, one_of(IMPORTANCES, by_name=True)]

MANY_SAMPLES = 64
"""Samples of an evaluation that have to be wrong before it is said that a start finds nothing."""


class RolloutConfig(Strict):
    """How responses are sampled."""

    engine: AnyEngine = Transformers()
    """Engine that samples them; a name alone, such as ``transformers``, takes its defaults."""
    temperature: PositiveFloat = 1.0
    """Sampling temperature [1]; 1 samples from the policy itself.  An actuator of kind ``temperature`` replaces it."""
    max_tokens: PositiveInt = 16
    """Longest response [tokens]; a longer one is cut and counted as truncated."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end a response besides the model's own end tokens, such as a newline after the answer to a
    few-shot prompt.  Each must be one token of the tokenizer; graders do not see it."""
    max_batch_size: PositiveInt = 256
    """Responses generated at once."""
    ahead: Annotated[int, Field(ge=0)] = 0
    """Iterations by which sampling and grading run ahead of the learner: the engine samples the batch of iteration t + k
    while the learner updates on that of t.  0 takes turns.  Above it the engine has a process or servers of its own, and
    responses are k updates old, which ``learner.importance`` corrects."""
    max_staleness: PositiveInt = 8
    """Most updates that the weights behind a response may be old with ``ahead`` or ``in_flight``, rare pushes of the
    engine included."""
    extra_rounds: Annotated[int, Field(ge=0)] = 0
    """Further draws of other prompts in the place of groups whose responses all have the same reward, and so teach
    nothing: DAPO's dynamic sampling, with a bound.  0 keeps such groups."""
    in_flight: Annotated[InFlight, section(InFlight)] | None = None
    """Prompts in flight, of which the first that end make a batch; null waits for all of a batch."""
    episode: Annotated[EpisodeLimits, section(EpisodeLimits)] = EpisodeLimits()
    """Limits of an episode, for tasks that answer back; ``max_tokens`` above is then the limit of one turn."""

    @property
    def oldest_weights(self) -> int:
        """Updates that the weights of a response can be old that is begun for its own batch and ends there."""
        return self.ahead + int(getattr(self.engine, "push_every", 1)) - 1

    @property
    def is_of_the_learner(self) -> bool:
        """Whether every token is sampled by the policy that the update begins with, and by the learner's implementation."""
        goes_on = self.in_flight is not None and self.in_flight.unfinished == "go_on"
        return isinstance(self.engine, Transformers) and not self.oldest_weights and not goes_on


class LearnerConfig(Strict):
    """One training iteration and how many of them."""

    iterations: PositiveInt
    """Training iterations of a run; each samples, grades and updates once."""
    prompts_per_iteration: PositiveInt = 32
    """Prompts of each iteration; every one is answered ``group_size`` times."""
    group_size: Annotated[int, Field(ge=2)] = 8
    """Responses sampled for each prompt; advantages are relative to this group."""
    epochs: PositiveInt = 1
    """Passes over each batch of rollouts."""
    minibatches: PositiveInt = 1
    """Optimiser steps in each pass; 1 epoch of 1 minibatch is strictly on-policy."""
    micro_batch_size: PositiveInt | None = None
    """Responses in memory at once; null takes the whole minibatch.  Changes no result."""
    tokens_per_micro_batch: PositiveInt | None = None
    """Tokens in memory at once.  Rows are then packed without padding, and responses to one prompt stay together and read
    it once, see ``packing``; a longer row is alone.  null pads rows, see ``micro_batch_size``.  Changes no result but for rounding."""
    packing: Literal["in_order", "longest_first"] = "in_order"
    """How packed rows are dealt: in the order of their prompts (``in_order``), or the longest first, each where there is
    room (``longest_first``).  The latter keeps ranks from waiting for each other, for which responses to one prompt may
    part and read it again, and takes fewer passes where a piece holds few responses.  Changes no result but for rounding."""
    measure: Measure = "before_update"
    """When the policy is measured: ``before_update`` by a forward pass of its own, or ``in_update`` by that of the first
    optimiser step, which saves a pass.  Old log-probs are then the engine's, and a command on the update waits for the next
    one: a dead time of one iteration."""
    plans: Literal["current", "measured"] = "current"
    """The policy by which loss and weight actuators decide about each minibatch: the ``current`` one, which costs another
    forward pass for every minibatch after the first, or the one ``measured`` before the update."""
    objective: AnyObjective = ClippedSurrogate()
    """Loss that the learner minimises."""
    advantage: AnyAdvantage = Grpo()
    """How the rewards of a group become advantages."""
    importance: AnyImportance = NoImportance()
    """Correction for an engine whose probabilities are not quite the learner's."""
    aggregation: Literal["token_mean", "sequence_mean", "fixed_length"] = "token_mean"
    """What one token weighs in the loss: ``token_mean`` weighs all tokens alike, ``sequence_mean`` all responses
    alike, ``fixed_length`` divides by ``rollout.max_tokens``, as Dr. GRPO does."""
    truncated: Truncated = "keep"
    """Responses that were cut at their limit: ``keep`` learns from them as graded, ``mask`` gives them no loss while
    their rewards still count in their groups (DAPO's overlong filtering), ``zero`` takes 0 for their rewards."""
    overlong: Annotated[Overlong, section(Overlong)] | None = None
    """Penalty that rises over the last tokens before the limit (DAPO's soft overlong punishment); null is none."""
    uniform_groups: Literal["keep", "drop"] = "keep"
    """Groups whose rewards are all equal, after the two settings above, and which so have no advantages: ``drop``
    leaves them out of the update, so that the others weigh more and no bonus moves these."""
    learning_rate: PositiveFloat = 1e-6
    """Step size of AdamW [per optimiser step], after the warm-up and before the schedule takes any of it."""
    warmup_iterations: Annotated[int, Field(ge=0)] = 0
    """Iterations in which the learning rate rises linearly to its value."""
    learning_rate_schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate goes from the end of the warm-up to the last iteration: it stays, or falls in a line or in
    half a cosine."""
    learning_rate_floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the learning rate that it falls to."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW [1]."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Memory of AdamW's first and second moment, each in [0, 1)."""
    max_grad_norm: PositiveFloat = 1.0
    """Largest norm of the gradient; a larger one is scaled down to it."""
    max_skipped_steps: PositiveInt = 5
    """Consecutive steps with a loss or gradient that is not finite before the run stops."""
    checkpoint_every: PositiveInt = 10
    """Iterations between checkpoints; the most that a killed process repeats."""
    checkpoint_minutes: PositiveFloat | None = 15.0
    """Minutes after which the end of an iteration is saved in any case [min]; null saves by ``checkpoint_every`` alone,
    as does a run that may roll back.  Changes no result."""
    accelerator: Literal["cpu", "gpu", "auto"] = "auto"
    """Device to train on; ``auto`` takes a GPU if there is one."""
    devices: PositiveInt = 1
    """Processes of the run on each machine, one to a GPU; on a CPU they share its threads.  Changes no result."""
    num_nodes: PositiveInt = 1
    """Machines, each started by torchrun or SLURM, see ``configs/launch``.  Changes no result."""
    strategy: Literal["auto", "ddp", "fsdp2"] = "auto"
    """How several processes share the policy: ``ddp`` has a whole one in each; ``fsdp2`` has a share of every
    parameter, gradient and optimiser state; ``auto`` is ``ddp``."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """Arithmetic of the learner: ``32-true``, or ``bf16-mixed``, which computes in bfloat16 and keeps 32-bit weights;
    ``auto`` is ``bf16-mixed`` on CUDA and ``32-true`` elsewhere."""
    recompute_activations: bool = False
    """Keep only what enters each decoder block and compute the rest again for the gradient: much less memory,
    about a third more computing.  Changes no result."""

    @field_validator("precision", mode="before")
    @classmethod
    def _weights_can_move(cls, value: object) -> object:
        if value == "bf16-true":
            raise ValueError(
                "precision must be 'auto', '32-true' or 'bf16-mixed', got 'bf16-true': weights in bfloat16 hardly train, "
                "since most steps are below their rounding (at a learning rate of 1e-6, 1.9 % of the weights move in "
                "50 steps); take 'bf16-mixed', which computes in bfloat16 and keeps 32-bit weights"
            )
        return value

    @property
    def micro_batches(self) -> MicroBatches:
        """The cut of a minibatch into what is in memory at once."""
        if self.tokens_per_micro_batch is not None:
            kind = ByTokens if self.packing == "in_order" else LongestFirst
            return kind(self.tokens_per_micro_batch)
        return ByRows(self.micro_batch_size)

    @property
    def steps_per_batch(self) -> int:
        """Optimiser steps on one batch of rollouts."""
        return self.epochs * self.minibatches

    @model_validator(mode="after")
    def _one_measure_of_a_micro_batch(self) -> LearnerConfig:
        if self.micro_batch_size is not None and self.tokens_per_micro_batch is not None:
            raise ValueError(
                f"micro_batch_size must be null beside tokens_per_micro_batch, got {self.micro_batch_size}; remove one of "
                "the two"
            )
        if self.packing != "in_order" and self.tokens_per_micro_batch is None:
            raise ValueError(
                f"packing must be 'in_order' unless rows are packed, got {self.packing!r}; set tokens_per_micro_batch, or "
                "remove it"
            )
        return self

    @model_validator(mode="after")
    def _minibatches_hold_something(self) -> LearnerConfig:
        if self.minibatches > self.prompts_per_iteration:
            raise ValueError(
                f"minibatches must be at most the {self.prompts_per_iteration} prompts of an iteration "
                f"(groups are not cut), got {self.minibatches}; lower it, or raise prompts_per_iteration"
            )
        return self

    @model_validator(mode="after")
    def _the_schedule_has_room(self) -> LearnerConfig:
        if self.learning_rate_schedule == "constant":
            if self.learning_rate_floor > 0:
                raise ValueError(
                    f"learning_rate_floor must be 0 under the schedule 'constant', got {self.learning_rate_floor:g}; "
                    "remove it, or set learning_rate_schedule to 'linear' or 'cosine'"
                )
        elif self.warmup_iterations >= self.iterations:
            raise ValueError(
                f"warmup_iterations must be below the {self.iterations} iterations of the run under the schedule "
                f"{self.learning_rate_schedule!r}, got {self.warmup_iterations}; lower it"
            )
        return self

    @model_validator(mode="after")
    def _a_team_leaves_somebody_out(self) -> LearnerConfig:
        if isinstance(self.advantage, PassK) and self.advantage.k >= self.group_size:
            raise ValueError(
                f"advantage.k must be below group_size = {self.group_size} (a baseline needs a team that a response "
                f"is not in), got {self.advantage.k}; lower it, or raise group_size"
            )
        return self
