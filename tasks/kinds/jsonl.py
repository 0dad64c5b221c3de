"""Problems from a file of the user's own, one JSON object a line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import ClassVar

from tasks.answers.extraction import matched_answer
from tasks.base import Problem, Split, Task
from tasks.corruption import alphabet_of, corrupt_text
from tasks.data.jsonl_reader import Keys, read_problems
from tasks.data.problem_sets import Sides, two_sides, walk
from tasks.splits import HELD_OUT_FRACTION

LONGEST_PATTERN = 1000
"""Characters of a regular expression."""


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

    ``#### (.+)`` for GSM8K.  In a pattern with groups the first is the answer; a text that does not
    match is an answer as a whole.  White space around an answer never counts.
    """

    def __post_init__(self) -> None:
        if not 0 < self.held_out_fraction < 1:
            raise ValueError(f"held_out_fraction must be between 0 and 1, got {self.held_out_fraction}")
        if len(self.answer_pattern or "") > LONGEST_PATTERN:
            raise ValueError(
                f"answer_pattern must have at most {LONGEST_PATTERN} characters, got {len(self.answer_pattern or '')}; "
                "shorten it"
            )
        try:
            re.compile(self.answer_pattern or "")
        except (re.error, OverflowError, RecursionError, MemoryError) as error:
            raise ValueError(
                f"answer_pattern must be a regular expression, got {self.answer_pattern!r}: {error}"
            ) from error

    def reads(self) -> Mapping[str, Path | str]:
        files = {"path": self.path, "held_out_path": self.held_out_path}
        return {name: Path(file) for name, file in files.items() if file is not None}

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        return walk(_sides(self), split, seed, index)

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
def _sides(task: Jsonl) -> Sides:
    keys = Keys(task.prompt_key, task.answer_key, task.domain_key, task.difficulty_key)
    held_out = None if task.held_out_path is None else read_problems(task.held_out_path, keys)
    return two_sides(read_problems(task.path, keys), held_out, task.held_out_fraction, name=task.path)
