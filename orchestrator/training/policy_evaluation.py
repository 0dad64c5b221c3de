"""Evaluates a policy by itself, as a run evaluates the one that it trains."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch

from orchestrator.configuration.models import RunConfig
from orchestrator.training.device import check_device, device_of, precision_of
from orchestrator.training.evaluation import Evaluator, Scores
from orchestrator.training.experience import Explorer
from orchestrator.training.held_out import HeldOutSet, graders_of, held_out_sets
from orchestrator.training.start import load_policy, make_engine


def try_policy(
    config: RunConfig, execution: Mapping[str, Any], seed: int, scratch: Path
) -> list[tuple[HeldOutSet, Scores]]:
    """Let the policy of ``config`` try every set of held-out problems; the run's own set comes first.

    The draws are those of an evaluation before the first iteration of a run with this seed.

    Args:
        config: of a run, whose policy is evaluated as it is loaded.
        execution: what graders are held to.
        seed: of the samples.
        scratch: where a rollout engine may leave files.

    Raises:
        ValueError: the policy or its device cannot be used.
    """
    check_device(config.learner)
    device, policy = device_of(config.learner), load_policy(config)
    policy.model.to(device)
    half = torch.autocast(device.type, torch.bfloat16, enabled=precision_of(config.learner) == "bf16-mixed")
    with (
        graders_of(config.task, execution) as graders,
        closing(make_engine(policy, config, scratch)) as engine,
        ExitStack() as further,
        half,
    ):
        explorer = Explorer(
            task=config.task, policy=policy, engine=engine, limits=config.rollout.episode, graders=graders
        )
        sets = held_out_sets(config.evaluation, explorer, execution, further)
        evaluator = Evaluator(config=config, seed=seed, sets=sets, writer=None)
        return [(each, evaluator.scores(each, step=0)) for each in sets]
