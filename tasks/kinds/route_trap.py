"""Sums with two routes: a short one that is right where nothing is carried, and a scratchpad that is always right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random
from typing import ClassVar

from tasks.base import Problem, Split, Task
from tasks.corruption import corrupt
from tasks.scratchpads import addition
from tasks.splits import draw

DIGITS = "0123456789"
LINE_BREAK = ","
SEPARATOR = ";"
MAX_DIGITS = 6
OFTENEST = 0.999
"""Largest share of problems without a carry: some have to need the scratchpad."""


@dataclass(frozen=True, kw_only=True)
class RouteTrap(Task):
    """Sums of two numbers, answered at once or on a scratchpad: the shortcut is a trap.

    The prompt is ``473+285=``.  A direct answer adds each column apart and carries nothing, ``;658``: right only where
    there is no carry.  The scratchpad is that of ``arithmetic``, ``08,15,07;758``, always right but for slips.  The
    first token is the choice.  What follows the first semicolon is graded, by whichever route it came; a response
    without one is wrong.

    Most demonstrations answer at once, so a policy starts on the shortcut.  On a problem without a carry it is right
    there, and a slip on the scratchpad then has a large negative advantage: training may give the scratchpad up
    before it is learnt.  The domains are ``carry`` and ``no_carry``; the difficulty is the number of digits.
    """

    kind: ClassVar[str] = "route_trap"

    num_digits: int = 3
    """Digits of each number."""

    scratchpad_rate: float = 0.03
    """Share of the demonstrations that take the scratchpad, in [0, 1]."""

    no_carry_train: float = 0.6
    """Share of the training problems without a carry, on which the direct answer is right, in [0, 0.999]."""

    no_carry_held_out: float = 0.3
    """The same of the held-out problems."""

    def __post_init__(self) -> None:
        if not 2 <= self.num_digits <= MAX_DIGITS:
            raise ValueError(f"num_digits must be between 2 and {MAX_DIGITS}, got {self.num_digits}")
        if not 0.0 <= self.scratchpad_rate <= 1.0:
            raise ValueError(f"scratchpad_rate must be in [0, 1], got {self.scratchpad_rate}")
        for name in ("no_carry_train", "no_carry_held_out"):
            if not 0.0 <= (share := getattr(self, name)) <= OFTENEST:
                raise ValueError(
                    f"{name} must be in [0, {OFTENEST}] (some problems have to need the scratchpad), got {share}"
                )

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        share = self.no_carry_train if split == "train" else self.no_carry_held_out
        return draw(partial(self._generate, share), split, seed, index)

    def grade(self, problem: Problem, response: str) -> float:
        _, separator, answer = response.partition(SEPARATOR)
        return float(bool(separator) and answer == problem.answer)

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        """Without errors it is the scratchpad, which alone is always right."""
        left, right = problem.facts["left"], problem.facts["right"]
        if error_rate == 0 or rng.random() < self.scratchpad_rate:
            lines, answer = addition(
                left, right, self.num_digits, lambda line: corrupt(line, DIGITS, rng, error_rate)
            )
            return f"{LINE_BREAK.join(lines)}{SEPARATOR}{answer}"
        return f"{SEPARATOR}{corrupt(_without_carries(left, right), DIGITS, rng, error_rate)}"

    def alphabet(self) -> str:
        return DIGITS + "+=" + LINE_BREAK + SEPARATOR

    def _generate(self, no_carry: float, rng: Random) -> Problem:
        carries = rng.random() >= no_carry
        left, right = _columns(self.num_digits, carries, rng)
        return Problem(
            prompt=f"{left}+{right}=",
            answer=str(left + right),
            domain="carry" if carries else "no_carry",
            difficulty=float(self.num_digits),
            facts={"left": left, "right": right},
        )


def _columns(num_digits: int, carries: bool, rng: Random) -> tuple[int, int]:
    """Two numbers, some column of which carries or none does; all such pairs are equally likely."""
    low, high = 10 ** (num_digits - 1), 10**num_digits
    while True:
        left, right = rng.randrange(low, high), rng.randrange(low, high)
        if carries != (_without_carries(left, right) == str(left + right)):
            return left, right


def _without_carries(left: int, right: int) -> str:
    """Each column added apart, its last digit kept."""
    return "".join(str((int(a) + int(b)) % 10) for a, b in zip(str(left), str(right), strict=True))
