"""Sums of a chosen length, worked on a scratchpad: the task that the built-in policies learn."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from tasks.base import Problem, Split, Task
from tasks.corruption import corrupt
from tasks.misconceptions import Misconception, guard_fault
from tasks.ranges import IntOrRange, as_range, guard_range
from tasks.scratchpads import addition, multiplication, subtraction
from tasks.splits import draw

Operation = Literal["+", "-", "*"]

DIGITS = "0123456789"
LINE_BREAK = ","
SEPARATOR = ";"
MAX_DIGITS = 6

_NAMES: dict[Operation, str] = {"+": "add", "-": "sub", "*": "mul"}
_WORKINGS = {"+": addition, "-": subtraction, "*": multiplication}
_FAULTS: dict[str, Operation] = {"forgets_carry": "+", "forgets_borrow": "-"}
"""Faults that demonstrations can make, and the operation that each belongs to."""


@dataclass(frozen=True, kw_only=True)
class Arithmetic(Task):
    """Addition, subtraction and multiplication of two numbers with the same number of digits.

    The prompt is ``47+85=`` and a demonstration is ``12,13;132``: the lines of the scratchpad (see
    `tasks.scratchpads`), a semicolon, the answer.  Only what follows the first semicolon is graded, or
    the whole response where there is none, and it must be the answer to the letter: ``0132``, ``132 ``
    and ``132;`` are wrong.  The domain is ``add2``, ``sub2``, ``mul2``; the difficulty is the number of
    digits.  Numbers have no leading zero, and a subtraction has its larger number first.
    """

    kind: ClassVar[str] = "arithmetic"

    num_digits: IntOrRange = 2
    """Digits of each number: one figure, or a (low, high) range drawn from for each problem."""

    operations: tuple[Operation, ...] = ("+",)
    """The operations, drawn with equal chance."""

    misconception: Misconception | None = None
    """A fault of the demonstrations, slips apart: ``forgets_carry`` writes 0 for the carry of a column of a sum that has
    one, ``forgets_borrow`` does so for what a column of a difference borrows.  Null: none."""

    def __post_init__(self) -> None:
        guard_range("num_digits", self.num_digits, 1, MAX_DIGITS)
        if not self.operations:
            raise ValueError(f"operations must name at least one of {', '.join(_NAMES)}, got none")
        for operation in self.operations:
            if operation not in _NAMES:
                raise ValueError(f"operations must be among {', '.join(_NAMES)}, got {operation!r}")
        if len(set(self.operations)) < len(self.operations):
            raise ValueError(f"operations must differ from each other, got {self.operations}")
        guard_fault("misconception", self.misconception, _FAULTS)
        if (
            self.misconception is not None
            and (needed := _FAULTS[self.misconception.fault]) not in self.operations
        ):
            raise ValueError(
                f"misconception.fault must be of one of the operations, got {self.misconception.fault!r} of {needed} "
                f"among {', '.join(self.operations)}; name that operation too"
            )

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        return draw(self._generate, split, seed, index)

    def grade(self, problem: Problem, response: str) -> float:
        _, separator, answer = response.partition(SEPARATOR)
        return float((answer if separator else response) == problem.answer)

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        facts = problem.facts
        working = _WORKINGS[facts["operation"]]
        lines, answer = working(
            facts["left"],
            facts["right"],
            facts["num_digits"],
            lambda line: corrupt(self._believed(line, facts["operation"], rng), DIGITS, rng, error_rate),
        )
        return f"{LINE_BREAK.join(lines)}{SEPARATOR}{answer}"

    def alphabet(self) -> str:
        return DIGITS + "".join(self.operations) + "=" + LINE_BREAK + SEPARATOR

    def _believed(self, line: str, operation: Operation, rng: Random) -> str:
        """The line that a beginner means to write: its first digit, the carry or what was borrowed, may be forgotten."""
        fault = self.misconception
        if fault is None or _FAULTS[fault.fault] != operation or len(line) < 2 or line[0] != "1":
            return line
        return f"0{line[1:]}" if rng.random() < fault.rate else line

    def _generate(self, rng: Random) -> Problem:
        num_digits = rng.randint(*as_range(self.num_digits))
        operation = rng.choice(self.operations)
        left, right = _number(num_digits, rng), _number(num_digits, rng)
        if operation == "-":
            left, right = max(left, right), min(left, right)
        return Problem(
            prompt=f"{left}{operation}{right}=",
            answer=str(_value(left, operation, right)),
            domain=f"{_NAMES[operation]}{num_digits}",
            difficulty=float(num_digits),
            facts={"left": left, "operation": operation, "right": right, "num_digits": num_digits},
        )


def _number(num_digits: int, rng: Random) -> int:
    """A number with exactly that many digits; zero counts as a one-digit number."""
    return rng.randrange(10 ** (num_digits - 1) if num_digits > 1 else 0, 10**num_digits)


def _value(left: int, operation: Operation, right: int) -> int:
    if operation == "+":
        return left + right
    return left - right if operation == "-" else left * right
