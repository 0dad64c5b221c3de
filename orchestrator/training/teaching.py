"""What of the rollouts an update learns from, and the rewards that its advantages are made from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.configuration.learner import LearnerConfig
from orchestrator.training.experience import Rollouts
from policies.advantages import uniform_groups
from policies.long_responses import length_rewards


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """Rewards of ``N`` responses, and which of these the update is given.

    Readings are of all responses as they were graded: a filter moves what is learnt, not what is measured.
    """

    rewards: Tensor  # [N] float32
    kept: Tensor  # [N] of bool
    metrics: dict[str, float]

    @classmethod
    def of(cls, rollouts: Rollouts, settings: LearnerConfig, max_tokens: int) -> Teaching:
        """``max_tokens`` is the longest response there can be."""
        graded = rollouts.rewards
        truncated = torch.tensor([not each.finished for each in rollouts.completions])
        rewards = length_rewards(
            graded,
            truncated,
            rollouts.lengths,
            treatment=settings.truncated,
            overlong=settings.overlong,
            max_tokens=max_tokens,
        )
        kept = torch.ones(len(rewards), dtype=torch.bool)
        if settings.truncated == "mask":
            kept &= ~truncated
        if settings.uniform_groups == "drop":
            kept &= ~uniform_groups(rewards, rollouts.group)
        metrics = {}
        if settings.truncated == "zero" or settings.overlong is not None:
            metrics["teaching/reward"] = rewards.mean().item()
        if settings.truncated == "mask" or settings.uniform_groups == "drop":
            metrics["teaching/kept"] = kept.double().mean().item()
        return cls(rewards=rewards, kept=kept, metrics=metrics)
