"""Problems of the user's own: from JSON lines, from Parquet, or from a data set of a hub or a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from random import Random
from typing import ClassVar

from tasks.answers.extraction import matched_answer
from tasks.base import Problem, Split, Task
from tasks.corruption import alphabet_of, corrupt_text
from tasks.data.key_reader import Keys, problems_of
from tasks.data.problem_sets import Sides, walk
from tasks.data.source import Source

LONGEST_PATTERN = 1000
"""Characters of a regular expression."""


@dataclass(frozen=True, kw_only=True)
class Jsonl(Source, Task):
    """Prompts and answers as they stand there; a response is right when its answer is the one there.

    ``{"prompt": "2+3=", "answer": "5"}`` is a line of a file.  Every epoch of the training problems is a new
    permutation, computed from (seed, epoch), so any index is reached at once.  Held out are the prompts of a second
    file or split, which are then dropped from training, or else a fraction of the prompts chosen by their content, so
    that repeats of one fall on one side.
    """

    kind: ClassVar[str] = "jsonl"

    prompt_key: str = "prompt"
    """Key of the prompt."""

    answer_key: str = "answer"
    """Key of the right answer."""

    domain_key: str | None = None
    """Key of the domain; without one, the domain is ``jsonl``."""

    difficulty_key: str | None = None
    """Key of the difficulty, a number; without one, the difficulty is 0."""

    answer_pattern: str | None = None
    """Regular expression that finds the answer, in responses and in the data: its last match counts.

    ``#### (.+)`` for GSM8K.  In a pattern with groups the first is the answer; a text that does not
    match is an answer as a whole.  White space around an answer never counts.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
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

    def sides(self) -> Sides:
        return _sides(self)

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
    return task.sides_by(partial(problems_of, keys=keys), keys.example)
