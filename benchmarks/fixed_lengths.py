"""A controlled run in this process whose responses all have the same number of tokens, so that its cost is that of a shape."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.run_folder import RunFolder
from orchestrator.training import attempt
from orchestrator.training import run as worker
from orchestrator.training.learner import Learner
from orchestrator.training.ranks import Ranks
from policies.rollouts.transformers_engine import TransformersEngine
from tasks import Problem, Task
from tasks.grading.pool import Grades

PHASES = ("rollout", "grade", "measure", "control", "update")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What an iteration makes and trains."""

    num_prompts: int
    group_size: int
    response_tokens: int

    @property
    def num_tokens(self) -> int:
        """Response tokens of an iteration."""
        return self.num_prompts * self.group_size * self.response_tokens


def train(
    model: Path,
    problems: Sequence[dict[str, str]],
    shape: Shape,
    iterations: int,
    name: str,
    *,
    learner: Mapping[str, Any] = MappingProxyType({}),
) -> list[dict[str, float]]:
    """Train the policy in a folder; the records of all iterations, with ``seconds/processor`` of this process."""
    run, task = prepared(model, problems, shape, iterations, name, learner=learner)
    processor: list[float] = []

    def timed(learner: Learner, *batch: Any, step: Any = Learner.training_step) -> None:
        start = time.process_time()
        step(learner, *batch)
        processor.append(time.process_time() - start)

    # Graders are processes, and would import all of this again.
    here = contextlib.nullcontext(_Grader(task))
    with (
        mock.patch.object(attempt, "make_engine", _endless),
        mock.patch.object(attempt, "graders_of", return_value=here),
        mock.patch.object(Learner, "training_step", timed),
    ):
        worker.train(run, run.read_info(), Ranks())
    records = [each.metrics for each in run.records() if each.kind == "train"]
    assert all(record["rollout/length"] == shape.response_tokens for record in records)
    return [record | {"seconds/processor": each} for record, each in zip(records, processor, strict=True)]


def prepared(
    model: Path,
    problems: Sequence[dict[str, str]],
    shape: Shape,
    iterations: int,
    name: str,
    *,
    ranks: int = 1,
    learner: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[RunFolder, Task]:
    """A run of plain GRPO with a loop on its entropy bonus, and its task; all files lie beside the model's folder.

    ``learner`` has further settings of that section.
    """
    folder = model.parent
    data, held_out, campaign = (folder / f"{name}.{kind}" for kind in ("jsonl", "held_out.jsonl", "yaml"))
    data.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    held_out.write_text(
        json.dumps(problems[0] | {"prompt": problems[0]["prompt"] + problems[0]["prompt"][-1]})
    )
    loop = {
        "reference": {"kind": "constant", "value_nats": 2.0},
        "law": {"kind": "pid", "kp": 0.01, "ki": 0.001},
        "actuator": {"kind": "bonus"},
    }
    settings = {
        "name": name,
        "task": {"kind": "jsonl", "path": str(data), "held_out_path": str(held_out)},
        "policy": {"source": str(model)},
        "learner": {
            "iterations": iterations,
            "prompts_per_iteration": shape.num_prompts,
            "group_size": shape.group_size,
            "learning_rate": 1e-6,
            "accelerator": "cpu",
            "devices": ranks,
            "checkpoint_every": 1000,
            **learner,
        },
        "rollout": {"max_tokens": shape.response_tokens},
        "evaluation": {"num_problems": 1, "num_samples": 1, "pass_at": [], "every": 1000},
        "tracking": {"folder": str(folder)},
        "arms": [{"name": "controlled", "loops": {"entropy": loop}}],
    }
    campaign.write_text(json.dumps(settings))
    read = read_campaign(campaign)
    return prepare(read).run("controlled", 0), read.arms[0].config.task


class _Grader:
    confinement: dict[str, str] = {}  # noqa: RUF012  never changed

    def __init__(self, task: Task) -> None:
        self.task = task

    def grade(self, problems: Sequence[Problem], responses: Sequence[str]) -> Grades:
        scores = [self.task.grade(*pair) for pair in zip(problems, responses, strict=True)]
        return Grades(scores=scores)


def _endless(policy: Any, config: Any, scratch: Path) -> TransformersEngine:
    """The engine of a run, but that no token ends a response."""
    beyond = policy.model.config.vocab_size
    return TransformersEngine(
        policy.model,
        pad_id=policy.pad_id,
        stop_ids=[beyond],
        masked_ids=policy.masked_ids,
        max_batch_size=config.rollout.max_batch_size,
    )
