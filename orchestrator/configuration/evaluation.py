"""The section ``evaluation``: the held-out problems of a run, and further sets beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field, PositiveInt, field_validator, model_validator

from orchestrator.configuration.names import Name
from orchestrator.configuration.part_schema import Strict
from orchestrator.configuration.phases import AnyTask
from tasks import Task

EVALUATION = "eval/"
"""What the names of all metrics of evaluations begin with."""


class ProblemSet(Strict):
    """Held-out problems and how they are tried: the greedy pass rate, and pass@k from samples at the rollout temperature."""

    every: PositiveInt = 50
    """Iterations between evaluations; there is always one at the start and one at the end."""
    num_problems: PositiveInt = 128
    """Held-out problems in each evaluation."""
    num_samples: PositiveInt = 8
    """Responses sampled for each problem, for pass@k."""
    pass_at: tuple[PositiveInt, ...] = (8,)
    """Values of k; each at most num_samples."""

    @field_validator("pass_at")
    @classmethod
    def _differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or 1 in value:
            raise ValueError(
                f"pass_at must hold different numbers above 1 (`eval/pass_at_1` is greedy, `eval/pass_rate` the sampled pass@1), got {value}"
            )
        return value

    @model_validator(mode="after")
    def _enough_samples(self) -> ProblemSet:
        if self.pass_at and max(self.pass_at) > self.num_samples:
            raise ValueError(
                f"num_samples must be at least the largest k of pass_at ({max(self.pass_at)}), "
                f"got {self.num_samples}; raise it"
            )
        return self

    def metrics(self, task: Task) -> Iterator[str]:
        """What is measured over the whole set, without the prefix of its name."""
        yield from ("pass_at_1", "pass_rate", *(f"pass_at_{k}" for k in self.pass_at))
        if task.rewards():
            yield "reward"


class FurtherSet(ProblemSet):
    """Another set of held-out problems, with a pace of its own; its metrics are ``eval/set/<name>/...``."""

    task: AnyTask | None = None
    """Source of its problems, and their grader: a whole task, of any kind; null is the run's own."""


class EvaluationConfig(ProblemSet):
    """Evaluation on held-out problems: the greedy pass rate, and pass@k from samples at the rollout temperature."""

    sets: dict[Name, FurtherSet] = {}
    """Further sets of problems by name, such as another task or more problems at a slower pace."""
    keep_best: Annotated[str, Field(min_length=1)] | None = None
    """Metric, such as ``eval/pass_at_1``, by which the best policy so far is kept in the folder ``best`` of the run, which
    ``policy.source`` of another campaign can name; of equals the first.  null keeps none."""


def sets_of(evaluation: EvaluationConfig, task: Task) -> Mapping[str, tuple[ProblemSet, Task]]:
    """Every set of a run with its task, by what the names of its metrics begin with; the run's own comes first."""
    further = {
        f"{EVALUATION}set/{name}/": (each, task if each.task is None else each.task)
        for name, each in evaluation.sets.items()
    }
    return {EVALUATION: (evaluation, task), **further}


def metrics_of(evaluation: EvaluationConfig, task: Task) -> list[str]:
    """Every metric of whole sets that evaluations of a run give."""
    return [
        f"{prefix}{metric}"
        for prefix, (each, own) in sets_of(evaluation, task).items()
        for metric in each.metrics(own)
    ]
