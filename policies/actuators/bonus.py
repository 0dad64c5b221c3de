"""Entropy bonus: the command is the coefficient of entropy in the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from policies.actuators.base import Command, LossActuator, Plan
from policies.statistics.batch import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Bonus(LossActuator):
    """Adds -u · w_t · H_t to the loss of a token, under the objective's own aggregation weights.

    A negative command lowers entropy, so a loop can push both ways; the published rules (AER, Skywork,
    SAC) stop at 0, which is a limit of the loop.  Hazard: the push -π (ln π + H) vanishes as the policy
    becomes one-hot, so a coefficient that held entropy at 0.3 nats cannot bring it back from 0.01.
    """

    kind: ClassVar[str] = "bonus"
    command: ClassVar[Command] = Command(low=-1.0, high=1.0, neutral=0.0, unit="loss per nat")
    needs_entropy_gradient: ClassVar[bool] = True
    looks_at_policy: ClassVar[bool] = False

    allocation: Literal["uniform", "difficulty"] = "uniform"
    """``uniform``: every token has w = 1.  ``difficulty``: hard prompts have more (AER, arXiv 2510.10959),
    w_q = max(0, (ρ - g_q) / ρ) with g_q the mean reward of the prompt's group.  No official code was found
    and that formula is a reconstruction.  The w are scaled to mean 1 over the minibatch, so that the loop
    gain does not move with the share of hard prompts; where no prompt is below ρ they are all 0."""

    accuracy_threshold: float = 0.5
    """ρ, above 0 and at most 1: under ``difficulty``, prompts at least this accurate get no bonus.  The
    published value could not be read; 0.5 is ours."""

    def __post_init__(self) -> None:
        if self.allocation not in ("uniform", "difficulty"):
            raise ValueError(f"allocation must be 'uniform' or 'difficulty', got {self.allocation!r}")
        if not 0.0 < self.accuracy_threshold <= 1.0:
            raise ValueError(f"accuracy_threshold must be in (0, 1], got {self.accuracy_threshold}")

    def plan(self, batch: TokenBatch, u: float) -> Plan:
        if self.allocation == "uniform":
            return {"weights": batch.weights}
        return {"weights": batch.weights * difficulty_allocation(batch, self.accuracy_threshold)}

    def loss(self, tokens: TokenBatch, plan: Plan, u: float) -> Tensor:
        return -u * plan["weights"] * tokens.entropy


def difficulty_allocation(batch: TokenBatch, accuracy_threshold: float) -> Tensor:
    """w_q = max(0, (ρ - g_q) / ρ) of each token's prompt [T], scaled to mean 1 under ``batch.weights``."""
    accuracy = _group_mean(batch.rewards, batch.group)[batch.response]
    shortfall = ((accuracy_threshold - accuracy) / accuracy_threshold).clamp(min=0.0).to(batch.weights)
    total = (batch.weights * shortfall).sum()
    if total == 0.0:
        return torch.zeros_like(batch.weights)
    return shortfall * (batch.weights.sum() / total)


def _group_mean(rewards: Tensor, group: Tensor) -> Tensor:
    """Mean reward of each response's group [N]."""
    num_groups = int(group.max()) + 1 if len(group) else 0
    sums = torch.zeros(num_groups, dtype=rewards.dtype, device=rewards.device).index_add_(0, group, rewards)
    return sums[group] / torch.bincount(group)[group]
