"""Guessing a number: the policy guesses, the task says whether the number is higher or lower."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from tasks.base import Problem, Split, Task
from tasks.corruption import corrupt
from tasks.ranges import IntOrRange, as_range, guard_range
from tasks.splits import draw

DIGITS = "0123456789"
SHORT = ("{low}-{high}:", ">", "<")
WORDS = (
    "I am thinking of a whole number from {low} to {high}. Guess it in at most {guesses} guesses: "
    "say one number at a time, and I will tell you whether mine is higher or lower.",
    "Higher.",
    "Lower.",
)


@dataclass(frozen=True, kw_only=True)
class NumberGuessing(Task):
    """Turns of guesses and hints; right when the last guess is the number.

    The prompt is ``43-49:``, a guess is ``46``, the reply ``>`` says that the number is higher.  The
    episode ends at the number, after ``max_guesses``, or at a turn that is no guess.  A demonstration
    halves what is left, with slips in its digits.  The domain is ``guess``; the difficulty is the number
    of guesses that halving needs at worst.  Numbers have as many digits as the largest.
    """

    kind: ClassVar[str] = "number_guessing"

    num_numbers: IntOrRange = (4, 7)
    """Numbers that it can be: one figure, or a (low, high) range drawn from for each problem."""

    max_number: int = 99
    """The largest number there is."""

    max_guesses: int = 3
    """Guesses before the episode ends."""

    words: bool = False
    """Whether the rules are told in English; a guess is then the last number of a turn."""

    def __post_init__(self) -> None:
        if not 10 <= self.max_number < 10**6:
            raise ValueError(f"max_number must be between 10 and 999999, got {self.max_number}")
        guard_range("num_numbers", self.num_numbers, 2, self.max_number - self._smallest + 1)
        needed = _halvings(as_range(self.num_numbers)[1])
        if not needed <= self.max_guesses <= 32:
            raise ValueError(
                f"max_guesses must be between {needed}, which halving needs, and 32, got {self.max_guesses}"
            )

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        return draw(self._generate, split, seed, index)

    def grade(self, problem: Problem, response: str) -> float:
        return float(self._guess(response) == problem.facts["number"])

    def reply(self, problem: Problem, turns: Sequence[str]) -> str | None:
        guess, number = self._guess(turns[-1]), problem.facts["number"]
        if guess is None or guess == number or len(turns) >= self.max_guesses:
            return None
        _, higher, lower = self._texts
        return higher if number > guess else lower

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        return self.demonstrate_turn(problem, (), rng, error_rate)

    def demonstrate_turn(self, problem: Problem, turns: Sequence[str], rng: Random, error_rate: float) -> str:
        low, high, number = (problem.facts[name] for name in ("low", "high", "number"))
        for guess in map(self._guess, turns):
            assert guess is not None, "a demonstration goes on after guesses only"
            low, high = (max(low, guess + 1), high) if number > guess else (low, min(high, guess - 1))
        return corrupt(str((low + high) // 2), DIGITS, rng, error_rate)

    def alphabet(self) -> str:
        prompt, higher, lower = self._texts
        texts = (prompt.format(low=0, high=0, guesses=0), higher, lower, DIGITS)
        return "".join(sorted(set().union(*texts)))

    @property
    def _texts(self) -> tuple[str, str, str]:
        return WORDS if self.words else SHORT

    @property
    def _smallest(self) -> int:
        return int(10 ** (len(str(self.max_number)) - 1))

    def _guess(self, turn: str) -> int | None:
        """The number that a turn names, None where it names none."""
        found = re.findall(r"[0-9]+", turn[-200:]) if self.words else re.findall(r"\A[0-9]{1,6}\Z", turn)
        return int(found[-1]) if found and len(found[-1]) <= 6 else None

    def _generate(self, rng: Random) -> Problem:
        size = rng.randint(*as_range(self.num_numbers))
        low = rng.randint(self._smallest, self.max_number - size + 1)
        high = low + size - 1
        number = rng.randint(low, high)
        prompt, _, _ = self._texts
        return Problem(
            prompt=prompt.format(low=low, high=high, guesses=self.max_guesses),
            answer=str(number),
            domain="guess",
            difficulty=float(_halvings(size)),
            facts={"low": low, "high": high, "number": number},
        )


def _halvings(size: int) -> int:
    """Guesses that halving needs for so many numbers: 1 for one, 2 for two and three, 3 up to seven."""
    return size.bit_length()
