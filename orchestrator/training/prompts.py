"""The data loader of a run: prompts only, of known length, and with a state to resume from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from orchestrator.configuration.models import RunConfig
from orchestrator.training.seeds import derive_seed
from tasks import Problem, Task


class PromptLoader:
    """Gives Lightning the number of one iteration after another, and `Batches` the problems of each.

    It has a length on purpose: from a loader without one Lightning fetches an item ahead, and
    whatever depends on the policy would be a version stale.  It holds prompts only; responses are
    sampled inside the training step.

    A problem is drawn by its address, the seed and its index in the run, from the task of its iteration;
    so a loader that goes on after a change of task draws the same as one that was there all along.
    """

    def __init__(
        self,
        task_at: Callable[[int], Task],
        *,
        seed: int,
        prompts_per_iteration: int,
        num_iterations: int,
    ) -> None:
        self.task_at = task_at
        self.seed = seed
        self.prompts_per_iteration = prompts_per_iteration
        self.num_iterations = num_iterations
        self.next_iteration = 0

    @classmethod
    def of(cls, config: RunConfig, seed: int) -> PromptLoader:
        """The loader of a run with this seed."""
        return cls(
            config.task_at,
            seed=derive_seed(seed, "prompts"),
            prompts_per_iteration=config.learner.prompts_per_iteration,
            num_iterations=config.learner.iterations,
        )

    def __len__(self) -> int:
        return self.num_iterations

    def __iter__(self) -> Iterator[int]:
        while self.next_iteration < self.num_iterations:
            self.next_iteration += 1
            yield self.next_iteration - 1

    def problems(self, iteration: int) -> list[Problem]:
        """The problems of an iteration."""
        return [self.problem(iteration, place) for place in range(self.prompts_per_iteration)]

    def problem(self, iteration: int, place: int, draw: int = 0) -> Problem:
        """The problem at a place of an iteration, or what replaces it there at another draw than the first."""
        return self.numbered(iteration * self.prompts_per_iteration + place, iteration, draw)

    def numbered(self, number: int, iteration: int, draw: int = 0) -> Problem:
        """The problem of that number in the run, from the task of an iteration."""
        seed = derive_seed(self.seed, "draw", draw) if draw else self.seed
        return self.task_at(iteration).problem("train", seed, number)

    def state_dict(self) -> dict[str, Any]:
        return {"next_iteration": self.next_iteration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.next_iteration = int(state_dict["next_iteration"])
