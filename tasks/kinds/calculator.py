"""A calculator as a tool: the policy writes a call, the task returns its value, then the policy answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from tasks.answers.expressions import evaluate
from tasks.base import Problem, Split, Task
from tasks.corruption import corrupt
from tasks.ranges import IntOrRange, as_range, guard_range
from tasks.splits import draw

Operation = Literal["+", "-", "*"]

DIGITS = "0123456789"
CALL = "="
REFUSED = "?"
NUMBERS_A_CALL = 2
SHORT = "{expression}?"
WORDS = (
    "What is {expression}? You have a calculator that does one operation at a time: write a line such as 12+7= "
    "and wait for its value. When you know the answer, write it alone on the last line."
)


@dataclass(frozen=True, kw_only=True)
class Calculator(Task):
    """A chain of operations that a calculator does one at a time; right when the last turn is the result.

    The prompt is ``38*27+5?``, a call is ``38*27=``, the reply ``1026``; a turn without ``=`` at its end is
    the answer and ends the episode, as ``max_calls`` calls do.  A call that is no sum of two whole numbers
    is replied ``?``.  Values come from `tasks.answers.expressions`, which is bounded by construction.  A
    demonstration makes the calls in order and copies the value, with slips in its digits, which the
    calculator takes as they are.  The domain is ``calculator``, the difficulty the number of operations.
    """

    kind: ClassVar[str] = "calculator"

    num_operations: IntOrRange = 2
    """Operations of the chain: one figure, or a (low, high) range drawn from for each problem."""

    num_digits: IntOrRange = 2
    """Digits of each number: one figure, or a range."""

    operations: tuple[Operation, ...] = ("+", "-")
    """The operations, drawn with equal chance; ``*`` only as the first, so that the chain goes from left
    to right, and ``-`` only where it leaves a number from 0 up."""

    max_calls: int = 4
    """Calls before the episode ends."""

    words: bool = False
    """Whether the rules are told in English; the call is then the last line of a turn, and the answer the last number."""

    def __post_init__(self) -> None:
        guard_range("num_operations", self.num_operations, 1, 8)
        guard_range("num_digits", self.num_digits, 1, 4)
        if not self.operations or not set(self.operations) <= {"+", "-", "*"}:
            raise ValueError(f"operations must be among +, -, *, got {self.operations}")
        if not set(self.operations) - {"*"}:
            raise ValueError("operations must hold + or -: * is only for the first")
        most = as_range(self.num_operations)[1]
        if not most <= self.max_calls <= 32:
            raise ValueError(
                f"max_calls must be between {most}, which the longest chain needs, and 32, got {self.max_calls}"
            )

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        return draw(self._generate, split, seed, index)

    def grade(self, problem: Problem, response: str) -> float:
        if self.words:
            numbers = re.findall(r"[0-9]+", response[-200:])
            return float(bool(numbers) and not _is_call(response) and numbers[-1] == problem.answer)
        return float(response == problem.answer)

    def reply(self, problem: Problem, turns: Sequence[str]) -> str | None:
        turn = turns[-1].strip().rsplit("\n", 1)[-1] if self.words else turns[-1]
        if not _is_call(turn) or len(turns) > self.max_calls:
            return None
        try:
            value, numbers = evaluate(turn.strip().removesuffix(CALL))
        except ValueError:
            return REFUSED
        return str(value) if len(numbers) == NUMBERS_A_CALL and value.denominator == 1 else REFUSED

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        return self.demonstrate_turn(problem, (), rng, error_rate)

    def demonstrate_turn(self, problem: Problem, turns: Sequence[str], rng: Random, error_rate: float) -> str:
        value, rest = problem.facts["first"], list(problem.facts["rest"])
        for count in range(1, len(turns) + 1):
            reply = self.reply(problem, turns[:count])
            if reply is not None and reply.isdigit() and rest:
                value, rest = int(reply), rest[1:]
        turn = f"{value}{rest[0]}{CALL}" if rest else str(value)
        return corrupt(turn, DIGITS, rng, error_rate)

    def alphabet(self) -> str:
        prompt = (WORDS if self.words else SHORT).format(expression="")
        return "".join(sorted(set().union(prompt, DIGITS, self.operations, CALL, REFUSED, "-")))

    def _generate(self, rng: Random) -> Problem:
        value = first = self._number(rng)
        rest: list[str] = []
        for place in range(rng.randint(*as_range(self.num_operations))):
            number = self._number(rng)
            sign = rng.choice([sign for sign in self.operations if place == 0 or sign != "*"])
            if sign == "-" and number > value:
                sign = "+" if "+" in self.operations else sign
                number = number if sign == "+" else rng.randint(0, value)
            value = {"+": value + number, "-": value - number, "*": value * number}[sign]
            rest.append(f"{sign}{number}")
        expression = f"{first}{''.join(rest)}"
        return Problem(
            prompt=(WORDS if self.words else SHORT).format(expression=expression),
            answer=str(value),
            domain="calculator",
            difficulty=float(len(rest)),
            facts={"first": first, "rest": rest},
        )

    def _number(self, rng: Random) -> int:
        digits = rng.randint(*as_range(self.num_digits))
        return rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def _is_call(turn: str) -> bool:
    return turn.rstrip().endswith(CALL)
