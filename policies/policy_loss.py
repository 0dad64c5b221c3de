"""The loss of a micro-batch: an objective, moved and joined by actuators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Generator, Tensor

from policies.actuators.base import (
    Actuator,
    AdvantageActuator,
    LogitActuator,
    LossActuator,
    Plan,
    RatioActuator,
    RewardActuator,
    SamplingActuator,
    WeightActuator,
    command_name,
)
from policies.objectives import Bounds, Metrics, Objective
from policies.statistics.batch import TokenBatch
from policies.statistics.vocabulary import VocabularyFilter

Stage = TypeVar("Stage", bound=Actuator)


@dataclass(frozen=True, slots=True)
class Actuation:
    """The actuators of a run with the commands of one iteration; those at neutral are left out.

    Leaving them out here, in one place, is what makes a neutral actuator bit-identical to none.  One that
    has a domain is shown that domain's responses only, and left out wherever there are none.
    """

    active: Sequence[tuple[Actuator, float, str | None]]
    """Actuator, command, and the domain that it acts on; None is all of the batch."""

    @classmethod
    def of(
        cls,
        actuators: Sequence[Actuator],
        commands: Mapping[str, float],
        domains: Sequence[str | None] | None = None,
    ) -> Actuation:
        """Give each actuator, for the domain beside it, the command of its `command_name`; without one
        it is at neutral."""
        domains = [None] * len(actuators) if domains is None else domains
        entries = [
            (actuator, commands.get(command_name(actuator.kind, domain), actuator.command.neutral), domain)
            for actuator, domain in zip(actuators, domains, strict=True)
        ]
        return cls([entry for entry in entries if entry[1] != entry[0].command.neutral])

    def at(self, stage: type[Stage]) -> list[tuple[Stage, float, str | None]]:
        """The active actuators of one stage."""
        return [(actuator, u, domain) for actuator, u, domain in self.active if isinstance(actuator, stage)]

    @property
    def needs_entropy_gradient(self) -> bool:
        return any(actuator.needs_entropy_gradient for actuator, _, _ in self.at(LossActuator))

    @property
    def looks_at_minibatch(self) -> bool:
        """Whether some decision depends on what the policy gives a minibatch at that moment."""
        deciding = (*self.at(LossActuator), *self.at(WeightActuator))
        return any(actuator.looks_at_policy for actuator, _, _ in deciding)

    def temperature(self, base: float) -> float:
        """Sampling temperature, given the configured one."""
        for actuator, u, _ in self.at(SamplingActuator):
            base = actuator.temperature(base, u)
        return base

    @torch.no_grad()
    def shape(self, batch: TokenBatch, advantage: Callable[[Tensor, Tensor], Tensor]) -> TokenBatch:
        """The batch of an iteration as the update shall see it: rewards, advantages, scale of logits.

        ``advantage`` makes advantages [N] from rewards and groups; it is called again only where
        rewards were moved.  ``rewards`` of the batch stay as graded.  If there is a scale, the
        caller has to compute ``old_logprobs`` again under it.
        """
        moved = batch
        for reward, u, domain in self.at(RewardActuator):
            if part := moved.part(domain):
                rewards = part.put_responses(reward.rewards(part.batch, u), moved.rewards)
                moved = replace(moved, rewards=rewards)
        if moved is not batch:
            batch = replace(batch, advantages=advantage(moved.rewards, batch.group)[batch.response])
        for shaper, u, domain in self.at(AdvantageActuator):
            if part := batch.part(domain):
                advantages = part.put_tokens(shaper.advantages(part.batch, u), batch.advantages)
                batch = replace(batch, advantages=advantages)
        for activation, u, domain in self.at(LogitActuator):
            if part := batch.part(domain):
                scale = part.put_tokens(activation.scale(part.batch, u), torch.ones_like(batch.advantages))
                whole = scale if batch.scale is None else scale * batch.scale
                batch = replace(batch, advantages=batch.advantages / scale, scale=whole)
        return batch

    def bounds(self, objective: Objective) -> Bounds | None:
        """Bounds of the ratio, given the objective's own."""
        bounds = objective.bounds
        for actuator, u, _ in self.at(RatioActuator):
            if bounds is not None:
                bounds = actuator.bounds(*bounds, u)
        return bounds

    @torch.no_grad()
    def weights(self, batch: TokenBatch, generator: Generator) -> Tensor | None:
        """Factors on the loss of each token [T] of a whole minibatch; None where there are none."""
        factors = []
        for actuator, u, domain in self.at(WeightActuator):
            if part := batch.part(domain):
                weights = actuator.weights(part.batch, u, generator)
                factors.append(part.put_tokens(weights, torch.ones_like(batch.logprobs)))
        return torch.stack(factors).prod(dim=0) if factors else None

    @torch.no_grad()
    def plans(self, batch: TokenBatch) -> list[Plan]:
        """What each loss actuator decides over a whole minibatch; 0 on the tokens that it is not shown."""
        plans: list[Plan] = []
        for actuator, u, domain in self.at(LossActuator):
            plan: Plan = {}
            if part := batch.part(domain):
                for name, values in actuator.plan(part.batch, u).items():
                    plan[name] = part.put_tokens(values, values.new_zeros(len(batch.response)))
            plans.append(plan)
        return plans


def policy_loss(
    tokens: TokenBatch,
    objective: Objective,
    actuation: Actuation,
    plans: Sequence[Plan],
    factors: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor], Metrics]:
    """Loss of a micro-batch: Σ weight · factor · objective + Σ of the actuators' terms.

    Args:
        tokens: the micro-batch [t], its ``logprobs`` and ``entropy`` with gradient.
        objective: per-token loss.
        actuation: actuators and commands.
        plans: one for each active ``LossActuator``, cut to these tokens.
        factors: [t] of the active weight actuators, cut to these tokens.

    Returns:
        The loss (scalar); its shares by name, ``objective`` and each actuator's `command_name` (scalars
        with gradient, their sum is the loss); per-token metrics of the objective, detached.
    """
    per_token, metrics = objective.loss(tokens, actuation.bounds(objective))
    weights = tokens.weights if factors is None else tokens.weights * factors
    shares = {"objective": (weights * per_token).sum()}
    for (actuator, u, domain), plan in zip(actuation.at(LossActuator), plans, strict=True):
        name = command_name(actuator.kind, domain)
        if part := tokens.part(domain):
            own = {decided: values[part.tokens] for decided, values in plan.items()}
            shares[name] = actuator.loss(part.batch, own, u).sum()
        else:
            shares[name] = torch.zeros_like(shares["objective"])
    return torch.stack(list(shares.values())).sum(), shares, metrics


def vocabulary_of(actuators: Sequence[Actuator]) -> VocabularyFilter | None:
    """The vocabulary cut that some actuator reads; `orchestrator.configuration.checks` refuses two different ones."""
    cuts = {a.vocabulary for a in actuators if isinstance(a, LossActuator)} - {None}
    return next(iter(cuts), None)
