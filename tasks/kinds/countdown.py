"""Reach a target from a few numbers: many right answers, found by search rather than by rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import ClassVar, Literal, NamedTuple

from tasks.answers.expressions import evaluate
from tasks.base import Problem, Split, Task
from tasks.corruption import corrupt
from tasks.ranges import IntOrRange, as_range, guard_range
from tasks.splits import MAX_TRIES, draw

Operation = Literal["+", "-", "*", "/"]

DIGITS = "0123456789"
_PRECEDENCE: dict[Operation, int] = {"+": 1, "-": 1, "*": 2, "/": 2}


@dataclass(frozen=True, kw_only=True)
class Countdown(Task):
    """Make the target from the numbers, each used at most once, with + - * / and parentheses.

    The prompt is ``2,3,7=13:`` with the numbers in ascending order; ``2*3+7`` is right, and so is any
    other expression worth exactly 13.  As in the television game not all numbers need be used, but the
    target is never one of them, so at least one operation is.  Every problem has a solution that uses all.
    The response is the expression and nothing else (see `tasks.answers.expressions` for what one is).  The domain
    is ``countdown3``; the difficulty is how many numbers there are.
    """

    kind: ClassVar[str] = "countdown"

    num_numbers: IntOrRange = 3
    """Numbers given: one figure, or a (low, high) range drawn from for each problem."""

    max_number: int = 9
    """Largest number given; the smallest is 1."""

    min_target: int = 1
    """Smallest target."""

    max_target: int = 99
    """Largest target."""

    operations: tuple[Operation, ...] = ("+", "-", "*", "/")
    """Operations of the generator's solutions; a response may use all four."""

    def __post_init__(self) -> None:
        guard_range("num_numbers", self.num_numbers, 2, 6)
        if not 1 <= self.max_number <= 999:
            raise ValueError(f"max_number must be between 1 and 999, got {self.max_number}")
        if not 1 <= self.min_target <= self.max_target:
            raise ValueError(
                f"min_target must be between 1 and max_target ({self.max_target}), got {self.min_target}"
            )
        if not self.operations:
            raise ValueError(f"operations must name at least one of {', '.join(_PRECEDENCE)}, got none")
        for operation in self.operations:
            if operation not in _PRECEDENCE:
                raise ValueError(f"operations must be among {', '.join(_PRECEDENCE)}, got {operation!r}")

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        return draw(self._generate, split, seed, index)

    def grade(self, problem: Problem, response: str) -> float:
        try:
            value, used = evaluate(response)
        except ValueError:
            return 0.0
        within_supply = Counter(used) <= Counter(problem.facts["numbers"])
        return float(within_supply and value == problem.facts["target"])

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        with_wrong_digits = corrupt(problem.answer, DIGITS, rng, error_rate)
        return corrupt(with_wrong_digits, "".join(self.operations), rng, error_rate)

    def alphabet(self) -> str:
        return DIGITS + "+-*/()" + ",=:"

    def _generate(self, rng: Random) -> Problem:
        """A problem whose solution is built first: numbers joined two by two until one term is left."""
        for _ in range(MAX_TRIES):
            numbers = sorted(rng.randint(1, self.max_number) for _ in range(self._draw_num_numbers(rng)))
            solution = _join_all([_Term(str(number), Fraction(number), 3) for number in numbers], self, rng)
            if solution.value.denominator == 1 and self._accepts(int(solution.value), numbers):
                return _problem(numbers, int(solution.value), solution.text)
        raise ValueError(
            f"max_target must be reachable, got targets {self.min_target} to {self.max_target}: "
            f"{MAX_TRIES} expressions of numbers up to {self.max_number} all missed; widen the range"
        )

    def _draw_num_numbers(self, rng: Random) -> int:
        return rng.randint(*as_range(self.num_numbers))

    def _accepts(self, target: int, numbers: list[int]) -> bool:
        return self.min_target <= target <= self.max_target and target not in numbers


class _Term(NamedTuple):
    """A piece of a solution; ``precedence`` is its outermost operation's, 3 for a bare number."""

    text: str
    value: Fraction
    precedence: int


def _problem(numbers: list[int], target: int, solution: str) -> Problem:
    return Problem(
        prompt=f"{','.join(map(str, numbers))}={target}:",
        answer=solution,
        domain=f"countdown{len(numbers)}",
        difficulty=float(len(numbers)),
        facts={"numbers": numbers, "target": target},
    )


def _join_all(terms: list[_Term], task: Countdown, rng: Random) -> _Term:
    while len(terms) > 1:
        rng.shuffle(terms)
        right, left = terms.pop(), terms.pop()
        operations = [sign for sign in task.operations if sign != "/" or right.value != 0]
        terms.append(_join(left, rng.choice(operations), right))
    return terms[0]


def _join(left: _Term, operation: Operation, right: _Term) -> _Term:
    """The two terms joined, in parentheses only where precedence asks for them."""
    precedence = _PRECEDENCE[operation]
    left_text = f"({left.text})" if left.precedence < precedence else left.text
    not_associative = operation in ("-", "/") and right.precedence == precedence
    right_text = f"({right.text})" if right.precedence < precedence or not_associative else right.text
    return _Term(
        f"{left_text}{operation}{right_text}", _value(left.value, operation, right.value), precedence
    )


def _value(left: Fraction, operation: Operation, right: Fraction) -> Fraction:
    if operation == "+":
        return left + right
    if operation == "-":
        return left - right
    return left * right if operation == "*" else left / right
