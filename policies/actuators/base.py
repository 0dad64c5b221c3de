"""The interface of an actuator: one place in the update that a command moves.

An actuator is a frozen dataclass whose fields are its constants.  It belongs to exactly one stage
of an iteration, which is its base class:

    ====================  ================================================  ===========
    stage                 what the command moves                            it is shown
    ====================  ================================================  ===========
    SamplingActuator      the distribution that responses are sampled from  nothing
    RewardActuator        the rewards that advantages are made from         iteration
    AdvantageActuator     the advantage of each token                       iteration
    LogitActuator         a factor on the logits in the update              iteration
    RatioActuator         the bounds of the probability ratio               nothing
    WeightActuator        a factor on each token's loss                     minibatch
    LossActuator          a term added to the objective                     minibatch
    ====================  ================================================  ===========

A command ``u`` equal to ``command.neutral`` is the actuator's absence: the learner does not call it
at all, so neutral is bit-identical to none.  Raising ``u`` raises entropy.  An operation over
more than one token (selections, quantiles, counts) sees a whole batch, that of the iteration or
that of an optimiser step, so the result cannot depend on how it is cut into micro-batches.

An actuator may be given a domain of problems.  It then sees the responses of that domain only, as if
they were the batch, and moves nothing else: selections, quantiles and denominators of its own are the
domain's, while ``weights`` stay those of the whole minibatch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from policies.statistics.batch import TokenBatch
from policies.statistics.vocabulary import VocabularyFilter

if TYPE_CHECKING:
    from torch import Generator, Tensor

Plan: TypeAlias = "dict[str, Tensor]"
"""Constant tensors, one value a token [T], cut into micro-batches together with the tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Range and neutral value of a command, and what it counts."""

    low: float
    high: float
    neutral: float
    unit: str

    def __post_init__(self) -> None:
        if not self.low <= self.neutral <= self.high:
            raise ValueError(
                f"neutral must be in [low, high] = [{self.low}, {self.high}], got {self.neutral}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFacts:
    """What a learner is going to do with a batch, for an actuator to judge whether it can act."""

    steps_per_batch: int  # optimiser steps on one batch of rollouts; 1 is strictly on-policy
    objective: str  # kind of the objective
    group_size: int | None = None  # responses of a prompt; None where that is not known
    ratio_starts_at_one: bool = True  # old log-probs are those of the policy that the update begins with

    @property
    def ratio_stays_at_one(self) -> bool:
        """Whether every step sees a probability ratio of 1."""
        return self.ratio_starts_at_one and self.steps_per_batch == 1


def command_name(kind: str, domain: str | None) -> str:
    """What a command is called: the actuator's kind, with its domain where it has one, ``bonus@add2``."""
    return kind if domain is None else f"{kind}@{domain}"


class Actuator(ABC):
    """Base of the stages below; subclass a stage, not this."""

    kind: ClassVar[str]
    command: ClassVar[Command]

    why_no_domain: ClassVar[str | None] = None
    """Why it can only act on the whole batch; None where it can be given a domain."""

    needs_reference: ClassVar[bool] = False
    """Whether it reads ``reference_logprobs``."""

    looks_at_policy: ClassVar[bool] = True
    """Whether what it decides over a whole batch depends on what the policy gives its tokens now: ``logprobs``, entropies.
    ``old_logprobs`` do not count, nor does what its ``loss`` reads of a micro-batch."""

    def why_inert(self, facts: UpdateFacts) -> str | None:
        """Why its command could not move anything in such an update; None when it can."""
        return None


class SamplingActuator(Actuator):
    """Moves the sampling temperature of the next rollout; the update uses the same temperature."""

    why_no_domain = "a rollout has one temperature for all its responses"
    looks_at_policy = False

    @abstractmethod
    def temperature(self, base: float, u: float) -> float:
        """Temperature to sample at, given the configured one."""


class RewardActuator(Actuator):
    """Moves the rewards that advantages are made from; what is measured and reported stays as graded."""

    @abstractmethod
    def rewards(self, batch: TokenBatch, u: float) -> Tensor:
        """New rewards [N], given the batch of the iteration with those so far."""


class AdvantageActuator(Actuator):
    """Moves advantages, token by token."""

    @abstractmethod
    def advantages(self, batch: TokenBatch, u: float) -> Tensor:
        """New advantages [T], given the batch of the iteration with those so far."""


class LogitActuator(Actuator):
    """Multiplies logits by k in the update, and advantages by 1/k; sampling is left alone.

    Log-probabilities at the start of the update are taken under the same k, so ratios start at 1.
    """

    @abstractmethod
    def scale(self, batch: TokenBatch, u: float) -> Tensor:
        """The factor k of each token [T], above 0, given the batch of the iteration."""


class RatioActuator(Actuator):
    """Moves the bounds [1 - low, 1 + high] of the probability ratio."""

    why_no_domain = "the objective has one pair of bounds for all its tokens"
    looks_at_policy = False

    @abstractmethod
    def bounds(self, low: float, high: float, u: float) -> tuple[float, float]:
        """New (low, high), given the objective's own."""


class WeightActuator(Actuator):
    """Multiplies the objective's loss of each token; denominators stay as they were."""

    @abstractmethod
    def weights(self, batch: TokenBatch, u: float, generator: Generator) -> Tensor:
        """Factors [T] over the whole minibatch; no gradients.  Chance comes from ``generator`` (CPU)."""


class LossActuator(Actuator):
    """Adds a term to the objective."""

    needs_entropy_gradient: ClassVar[bool] = False

    @property
    def vocabulary(self) -> VocabularyFilter | None:
        """A part of the vocabulary whose ``filtered_logprobs`` and ``filtered_entropy`` it reads."""
        return None

    @abstractmethod
    def plan(self, batch: TokenBatch, u: float) -> Plan:
        """Selections, allocations and denominators over the whole minibatch; no gradients."""

    @abstractmethod
    def loss(self, tokens: TokenBatch, plan: Plan, u: float) -> Tensor:
        """[t] term of each token of a micro-batch; their plain sum is added to the loss."""
