r"""Mathematics in words, from any data set of question and answer, judged by value."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import ClassVar, Literal

from tasks.answers.extraction import after_thinking, boxed_answer
from tasks.base import Problem, Split, Task
from tasks.corruption import alphabet_of, corrupt_text
from tasks.data.math_layouts import LAYOUTS, Layout
from tasks.data.problem_sets import Sides, walk
from tasks.data.source import Rows, Source
from tasks.mathematics.equivalence import equivalent, prepare
from tasks.mathematics.prose import final_line, stated

EXAMPLE = '{"question": "What is 2+3?", "answer": "5"}'


@dataclass(frozen=True, kw_only=True)
class MathWord(Source, Task):
    r"""Questions with a mathematical answer, from a hub, or from a Parquet or JSON-lines file.

    The answer of a response is what its last ``\boxed{}`` holds; without a box, what follows its last
    ``####``; else what ``<answer>`` holds; else the last expression in its last line.  Thinking is passed
    over.  It is right when it equals the data set's by the rules of ``docs/answers.md``
    (``tasks.mathematics.equivalence``).

    Problems are walked in epochs, each a new permutation.  Held out is a split or a file of its own, or
    else a fraction of the questions chosen by their content.  Repeated questions count once; those that are
    there with different answers are left out, which a warning says.
    """

    kind: ClassVar[str] = "math_word"

    layout: Literal["plain", "gsm8k", "math", "dapo"] = "plain"
    """Data set layout that says which columns hold question and answer (``tasks.data.math_layouts``); a key below overrules it."""

    question_key: str | None = None
    """Column of the question: text, or messages with role and content."""

    answer_key: str | None = None
    """Column of the answer; a dotted path reaches into it, ``reward_model.ground_truth``."""

    domain_key: str | None = None
    """Column of the domain; of a layout without one, the domain is the layout's name."""

    difficulty_key: str | None = None
    """Column of the difficulty, a number or text with one; without one, the difficulty is 0."""

    instruction: str = ""
    r"""Put after every question as it stands, such as ``\nPut your final answer within \boxed{}.``"""

    boxed_only: bool = False
    r"""Whether a response without ``\boxed{}`` is wrong."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {self.layout!r}")
        for file in (self.path, self.held_out_path):
            if file is not None and Path(file).suffix not in (".parquet", ".jsonl"):
                raise ValueError(f"path must end in .parquet or .jsonl, got {file!r}; convert or rename it")

    def sides(self) -> Sides:
        return _sides(self)

    def prepare(self) -> None:
        prepare()

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        problem = walk(_sides(self), split, seed, index)
        return replace(problem, prompt=problem.prompt + self.instruction)

    def grade(self, problem: Problem, response: str) -> float:
        text = after_thinking(response)
        boxed = boxed_answer(text)
        if boxed is not None or self.boxed_only:
            return float(equivalent(problem.answer, boxed or ""))
        line = final_line(text)
        return float(any(equivalent(problem.answer, reading) for reading in stated(line)))

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        answer = corrupt_text(problem.answer, rng, error_rate)
        return rf"\boxed{{{answer}}}" if self.boxed_only else answer

    def alphabet(self) -> str:
        sides = _sides(self)
        problems = sides["train"] + sides["held_out"]
        texts = [text for problem in problems for text in (problem.text, problem.answer)]
        return alphabet_of([*texts, self.instruction, r"\boxed{}" if self.boxed_only else ""])

    def columns(self) -> Layout:
        """The layout, with the columns that were named."""
        layout = LAYOUTS[self.layout]

        def named(key: str | None, columns: tuple[str, ...]) -> tuple[str, ...]:
            return columns if key is None else (key,)

        return replace(
            layout,
            question=named(self.question_key, layout.question),
            answer=named(self.answer_key, layout.answer),
            domain=named(self.domain_key, layout.domain),
            difficulty=named(self.difficulty_key, layout.difficulty),
        )


@lru_cache(maxsize=8)
def _sides(task: MathWord) -> Sides:
    return task.sides_by(partial(_problems, task), EXAMPLE)


def _problems(task: MathWord, name: str, rows: Rows) -> list[Problem]:
    """The problems of a source, each question once, in its order; none whose answers differ."""
    layout, found, conflicts = task.columns(), dict[str, tuple[Problem, str]](), dict[str, str]()
    for row, place in rows:
        problem = layout.problem(row, place, task.layout if task.layout != "plain" else task.kind)
        first, first_place = found.setdefault(problem.prompt, (problem, place))
        if first.answer != problem.answer and not equivalent(first.answer, problem.answer):
            conflicts.setdefault(
                problem.prompt,
                f"{first_place} says {first.answer[:40]!r}, {place} says {problem.answer[:40]!r}",
            )
    if not found:
        raise ValueError(f"{name}: is empty; it needs one problem a row, such as {EXAMPLE}")
    if conflicts:
        said = (
            f"{name}: {len(conflicts)} of {len(found)} questions stand there again with another answer "
            f"({next(iter(conflicts.values()))})"
        )
        if len(conflicts) == len(found):
            raise ValueError(f"{said}; keep one answer to each")
        warnings.warn(f"{said}; they are left out", stacklevel=2)
    return [problem for problem, _ in found.values() if problem.prompt not in conflicts]
