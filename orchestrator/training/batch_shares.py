"""A rank's share of a batch of rollouts, by problems: what ranks exchange, and what a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from policies.rollouts.base import Completion
from tasks import Problem
from tasks.grading.batch import Grades


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What it took to draw a batch whose groups without a signal are replaced."""

    draws: list[int]
    """[p], the draw that each problem is of, from 0."""
    num_groups: int
    """Groups in all draws."""
    score: float
    """Sum of the scores of all responses in them."""

    @classmethod
    def join(cls, parts: Sequence[Drawing]) -> Drawing:
        """Those of several shares as one."""
        return cls(
            draws=[draw for part in parts for draw in part.draws],
            num_groups=sum(part.num_groups for part in parts),
            score=sum(part.score for part in parts),
        )

    def metrics(self, num_samples: int) -> dict[str, float]:
        """What is recorded of a whole batch with ``num_samples`` responses to each problem."""
        return {
            "rollout/extra_rounds": float(max(self.draws)),
            "rollout/extra_groups": self.num_groups / len(self.draws) - 1.0,
            "rollout/drawn_reward": self.score / (self.num_groups * num_samples),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How a batch was made of the first prompts in flight that ended."""

    numbers: list[int]
    """[P], the number of each problem in the run."""
    begun: list[int]
    """[P], the iteration for whose batch each was begun."""
    num_rounds: int
    left_out_length: float
    """Mean tokens so far of the responses in flight that are not in the batch."""

    def metrics(self, iteration: int) -> dict[str, float]:
        """What is recorded of the batch of an iteration."""
        return {
            "rollout/rounds": float(self.num_rounds),
            "rollout/begun_before": sum(begun < iteration for begun in self.begun) / len(self.begun),
            "rollout/left_out_length": self.left_out_length,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """``p`` problems with ``G`` graded responses each: of one rank, or of the whole batch."""

    problems: list[Problem]  # [p]
    prompts: list[Tensor]  # [p] int64 token ids of these
    completions: list[Completion]  # [p * G]
    grades: Grades  # of these; faults are counted in all draws
    seconds: dict[str, float]
    drawing: Drawing | None = None
    """None where no group is replaced."""
    cut: Cut | None = None
    """None where a batch is all that was begun."""

    @classmethod
    def join(cls, parts: Sequence[Share]) -> Share:
        """The shares of all ranks, in their order, as one."""
        drawings = [part.drawing for part in parts if part.drawing is not None]
        return cls(
            problems=[problem for part in parts for problem in part.problems],
            prompts=[prompt for part in parts for prompt in part.prompts],
            completions=[completion for part in parts for completion in part.completions],
            grades=Grades.join([part.grades for part in parts]),
            seconds={phase: max(part.seconds[phase] for part in parts) for phase in parts[0].seconds},
            drawing=Drawing.join(drawings) if drawings else None,
        )
