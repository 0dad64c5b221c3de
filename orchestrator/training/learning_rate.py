"""The learning rate of an iteration: warm-up, then the schedule, times the factor of the phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from orchestrator.configuration.learner import LearnerConfig
from orchestrator.configuration.phases import PhaseConfig, phase_at


class LearningRate:
    """A function of the iteration alone: a run that goes on needs no state of it, and is where it was."""

    def __init__(self, settings: LearnerConfig, phases: Sequence[PhaseConfig]) -> None:
        self._settings = settings
        self._phases = phases
        self._decay = _decay(settings)

    def at(self, iteration: int) -> float:
        """Step size of the optimiser in that iteration [per optimiser step]."""
        warmup = self._settings.warmup_iterations
        share = min(1.0, (iteration + 1) / warmup) if warmup else 1.0
        phase = phase_at(self._phases, iteration)
        factor = phase.learning_rate_factor if phase else 1.0
        return self._settings.learning_rate * share * factor * self._decay(max(0, iteration - warmup))


def _decay(settings: LearnerConfig) -> Callable[[int], float]:
    """The share of the learning rate so many iterations after the warm-up, 1 at first: transformers' own.

    Its scheduler moves an optimiser and keeps a state; only its rule is wanted, so the optimiser is one of nothing.
    """
    if settings.learning_rate_schedule == "constant":
        return lambda _: 1.0
    from transformers import get_wsd_schedule

    scheduler = get_wsd_schedule(
        torch.optim.SGD([torch.zeros(1)], lr=1.0),
        num_warmup_steps=0,
        num_stable_steps=0,
        num_decay_steps=settings.iterations - settings.warmup_iterations,
        decay_type=settings.learning_rate_schedule,
        min_lr_ratio=settings.learning_rate_floor,
    )
    rule: Callable[[int], float] = scheduler.lr_lambdas[0]
    return rule
