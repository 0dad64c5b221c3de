"""The data loader of a run: prompts only, of known length, and with a state to resume from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from orchestrator.training.seeds import derive_seed
from tasks import Problem, Task


class PromptBatch:
    """The problems of one iteration, closed to Lightning, and drawn when they are asked for.

    It walks into lists and dataclasses to move their tensors to a device and to convert their floats,
    and fails on frozen ones.
    """

    def __init__(self, draw: Callable[[], Sequence[Problem]]) -> None:
        self._draw = draw

    @property
    def problems(self) -> Sequence[Problem]:
        """[P]; rollouts ahead of the learner have drawn them before."""
        return self._draw()


class PromptLoader:
    """Gives the problems of one iteration after another.

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

    def __len__(self) -> int:
        return self.num_iterations

    def __iter__(self) -> Iterator[PromptBatch]:
        while self.next_iteration < self.num_iterations:
            draw = partial(self.problems, self.next_iteration)
            self.next_iteration += 1
            yield PromptBatch(draw)

    def problems(self, iteration: int) -> list[Problem]:
        """The problems of an iteration."""
        return [self.problem(iteration, place) for place in range(self.prompts_per_iteration)]

    def problem(self, iteration: int, place: int, draw: int = 0) -> Problem:
        """The problem at a place of an iteration, or what replaces it there at another draw than the first."""
        seed = derive_seed(self.seed, "draw", draw) if draw else self.seed
        return self.task_at(iteration).problem("train", seed, iteration * self.prompts_per_iteration + place)

    def state_dict(self) -> dict[str, Any]:
        return {"next_iteration": self.next_iteration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.next_iteration = int(state_dict["next_iteration"])
