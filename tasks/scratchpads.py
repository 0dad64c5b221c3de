"""Sums worked on paper, column by column, by a hand that may slip.

Each function returns the lines of the scratchpad and the answer read off them.  ``write`` is the hand:
it takes the digits a line should have and returns the digits it wrote.  All later lines are computed
from the written digits, carries included, so a slip changes the answer and the page stays consistent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Write = Callable[[str], str]


def addition(left: int, right: int, num_digits: int, write: Write) -> tuple[list[str], int]:
    """One line a column, lowest first: the column's sum with the carry, as carry and digit.

    47 + 85: 7 + 5 = **12**, 4 + 8 + 1 = **13**, so 132.
    """
    lines, carry = [], 0
    for a, b in _columns(left, right, num_digits):
        line = write(f"{a + b + carry:02d}")
        carry = int(line[0])
        lines.append(line)
    return lines, carry * 10**num_digits + _lowest_first([line[1] for line in lines])


def subtraction(left: int, right: int, num_digits: int, write: Write) -> tuple[list[str], int]:
    """One line a column, lowest first: what is borrowed from the next, then the digit that is left.

    The larger number comes first, so the top column borrows nothing and writes its digit only.
    52 − 17: 2 − 7 borrows 1 and leaves 5, **15**; 5 − 1 − 1 = **3**, so 35.
    """
    lines, borrow = [], 0
    for column, (a, b) in enumerate(_columns(left, right, num_digits), start=1):
        tens, digit = divmod(a - b - borrow, 10)
        line = write(f"{digit}" if column == num_digits else f"{-tens}{digit}")
        borrow = int(line[0])
        lines.append(line)
    return lines, _lowest_first([line[-1] for line in lines])


def multiplication(left: int, right: int, num_digits: int, write: Write) -> tuple[list[str], int]:
    """One line a digit of the second number, lowest first: its product with the first, zero-padded.

    47 · 85: 47 · 5 = **235**, 47 · 8 = **376**, so 235 + 3760 = 3995.
    """
    digits = [b for _, b in _columns(left, right, num_digits)]
    lines = [write(f"{left * digit:0{num_digits + 1}d}") for digit in digits]
    return lines, sum(int(line) * 10**place for place, line in enumerate(lines))


def _columns(left: int, right: int, num_digits: int) -> Iterator[tuple[int, int]]:
    for place in range(num_digits):
        yield left // 10**place % 10, right // 10**place % 10


def _lowest_first(digits: list[str]) -> int:
    return int("".join(reversed(digits)))
