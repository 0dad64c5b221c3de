"""Problems from a file of the user's own, one JSON object a line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import ClassVar

from tasks.base import Problem, Split, Task
from tasks.corruption import alphabet_of, corrupt_text
from tasks.extraction import matched_answer
from tasks.jsonl_reader import Keys, read_problems
from tasks.splits import HELD_OUT_FRACTION, problem_rng, split_of


@dataclass(frozen=True, kw_only=True)
class Jsonl(Task):
    """Prompts and answers from a file; a response is right when its answer is the file's.

    Every epoch of the training problems is a new permutation, computed from (seed, epoch), so any index
    is reached at once.  Held out are the prompts of a second file, which are then dropped from training,
    or else a fraction of the prompts chosen by their content, so that repeats of one fall on one side.
    The file is read on first use, once in each process.
    """

    kind: ClassVar[str] = "jsonl"

    path: str
    """The file: ``{"prompt": "2+3=", "answer": "5"}`` on each line."""

    prompt_key: str = "prompt"
    """Key of the prompt."""

    answer_key: str = "answer"
    """Key of the right answer."""

    domain_key: str | None = None
    """Key of the domain; without one, the domain is ``jsonl``."""

    difficulty_key: str | None = None
    """Key of the difficulty, a number; without one, the difficulty is 0."""

    held_out_path: str | None = None
    """File of held-out problems, with the same keys."""

    held_out_fraction: float = HELD_OUT_FRACTION
    """Fraction of the prompts held out, where there is no ``held_out_path``."""

    answer_pattern: str | None = None
    """Regular expression that finds the answer, in responses and in the file: its last match counts.

    ``#### (.+)`` for GSM8K.  Of a pattern with groups the first is the answer; a text that does not
    match is an answer as a whole.  White space around an answer never counts.
    """

    def __post_init__(self) -> None:
        if not 0 < self.held_out_fraction < 1:
            raise ValueError(f"held_out_fraction must be between 0 and 1, got {self.held_out_fraction}")
        try:
            re.compile(self.answer_pattern or "")
        except re.error as error:
            raise ValueError(
                f"answer_pattern must be a regular expression, got {self.answer_pattern!r}: {error}"
            ) from error

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        problems = _sides(self)[split]
        epoch, place = divmod(index, len(problems))
        return problems[_permutation(split, seed, epoch, len(problems))[place]]

    def grade(self, problem: Problem, response: str) -> float:
        return float(self._answer_in(response) == self._answer_in(problem.answer))

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        return corrupt_text(problem.answer, rng, error_rate)

    def alphabet(self) -> str:
        sides = _sides(self)
        problems = sides["train"] + sides["held_out"]
        return alphabet_of(text for problem in problems for text in (problem.prompt, problem.answer))

    def _answer_in(self, text: str) -> str:
        return matched_answer(text, self.answer_pattern).strip()


@lru_cache(maxsize=8)
def _sides(task: Jsonl) -> dict[Split, list[Problem]]:
    """The problems of each split, in the order of the file."""
    keys = Keys(task.prompt_key, task.answer_key, task.domain_key, task.difficulty_key)
    problems = read_problems(task.path, keys)
    if task.held_out_path is None:
        held_out = [p for p in problems if split_of(p.prompt, task.held_out_fraction) == "held_out"]
    else:
        held_out = read_problems(task.held_out_path, keys)
    kept_back = {problem.prompt for problem in held_out}
    train = [problem for problem in problems if problem.prompt not in kept_back]
    _guard_sides(task, len(problems), len(train), len(held_out))
    return {"train": train, "held_out": held_out}


def _guard_sides(task: Jsonl, num_problems: int, num_train: int, num_held_out: int) -> None:
    if num_held_out == 0:
        raise ValueError(
            f"{task.path}: none of its {num_problems} prompts is held out at held_out_fraction "
            f"{task.held_out_fraction}; raise it, add problems, or name a held_out_path"
        )
    if num_train == 0:
        raise ValueError(
            f"{task.path}: all of its {num_problems} prompts are held out, none is left to train on; "
            f"add problems, or lower held_out_fraction"
        )


@lru_cache(maxsize=8)
def _permutation(split: Split, seed: int, epoch: int, length: int) -> list[int]:
    order = list(range(length))
    problem_rng(split, seed, epoch).shuffle(order)
    return order
