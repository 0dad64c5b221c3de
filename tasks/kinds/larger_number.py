"""The larger or the smaller of two numbers, asked by examples: what a pretrained model completes in a word."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from tasks.base import Problem, Split, Task
from tasks.corruption import corrupt
from tasks.splits import draw, stable_hash

Question = Literal["larger", "smaller"]

DIGITS = "0123456789"
MAX_NUMBER = 10**6
_ANSWERS = {"larger": max, "smaller": min}


@dataclass(frozen=True, kw_only=True)
class LargerNumber(Task):
    """Asks for the larger or the smaller of two different numbers, after a few solved examples, one a line.

    The prompt ends in ``larger 34 71:`` and the answer is `` 71``, up to the end of the line; a policy stops there
    with ``rollout.stop: ["\\n"]``.  The whole response must be that number, but for spaces around it.  The
    examples are the same in every prompt, so no pair of numbers is in both splits.  The domain is the question;
    the difficulty is the number of digits of the answer.
    """

    kind: ClassVar[str] = "larger_number"

    questions: tuple[Question, ...] = ("larger",)
    """What is asked, drawn with equal chance; the examples go through them in turn."""

    largest_number: int = 99
    """Numbers are drawn from 0 to this one."""

    num_examples: int = 2
    """Solved examples before the question; 0 asks without any."""

    def __post_init__(self) -> None:
        if not self.questions:
            raise ValueError(f"questions must name at least one of {', '.join(_ANSWERS)}, got none")
        for question in self.questions:
            if question not in _ANSWERS:
                raise ValueError(f"questions must be among {', '.join(_ANSWERS)}, got {question!r}")
        if len(set(self.questions)) < len(self.questions):
            raise ValueError(f"questions must differ from each other, got {self.questions}")
        if not 9 <= self.largest_number <= MAX_NUMBER:
            raise ValueError(f"largest_number must be between 9 and {MAX_NUMBER}, got {self.largest_number}")
        if not 0 <= self.num_examples <= 32:
            raise ValueError(f"num_examples must be between 0 and 32, got {self.num_examples}")

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        return draw(self._generate, split, seed, index)

    def grade(self, problem: Problem, response: str) -> float:
        return float(response.strip(" ") == problem.answer)

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        return f" {corrupt(problem.answer, DIGITS, rng, error_rate)}"

    def alphabet(self) -> str:
        return "".join(sorted(set(DIGITS + ": \n").union(*self.questions)))

    def _generate(self, rng: Random) -> Problem:
        question = rng.choice(self.questions)
        asked, answer = self._line(question, rng)
        return Problem(
            prompt=self._examples() + asked,
            answer=answer,
            domain=question,
            difficulty=float(len(answer)),
        )

    def _examples(self) -> str:
        rng = Random(stable_hash("examples"))  # nosec B311  # chance of problems, not of keys
        lines = [self._line(self.questions[n % len(self.questions)], rng) for n in range(self.num_examples)]
        return "".join(f"{asked} {answer}\n" for asked, answer in lines)

    def _line(self, question: Question, rng: Random) -> tuple[str, str]:
        """A question and its answer."""
        numbers = rng.sample(range(self.largest_number + 1), 2)
        return f"{question} {numbers[0]} {numbers[1]}:", str(_ANSWERS[question](numbers))
