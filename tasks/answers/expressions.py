"""Sums as text, ``(3+7)*2``, valued exactly and without ``eval``, however hostile the text.

    sum      = product { ("+" | "-") product }
    product  = atom { ("*" | "/") atom }
    atom     = digits | "(" sum ")"

There is no power, no decimal point and no leading zero; spaces are allowed.  A sign before an atom, ``-2``
or ``3*-2``, is read only where the caller asks for it.
Length, depth and size of the numbers are limited, so a value is found, or refused, in microseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from tasks.answers.token_reader import TokenReader

MAX_LENGTH = 256
MAX_DEPTH = 16
MAX_DIGITS = 9

_TOKEN = re.compile(r" *(?:(0|[1-9][0-9]*)|([-+*/()])) *")


class Evaluation(NamedTuple):
    """What an expression is worth, and the numbers it was made of, in the order they stand."""

    value: Fraction
    numbers: list[int]


def evaluate(text: str, *, signed: bool = False) -> Evaluation:
    """Value an expression; ``signed`` also takes a minus or a plus before an atom.

    Raises:
        ValueError: it is malformed, divides by zero, or is over a limit.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"expression must have at most {MAX_LENGTH} characters, got {len(text)}")
    reader = _Reader(tokens=_tokens(text), signed=signed)
    value = reader.sum(depth=0)
    if reader.next:
        raise ValueError(f"expression must end, got {reader.next!r}")
    return Evaluation(value, reader.numbers)


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"expression holds {text[place]!r}, which is no number, + - * / or parenthesis")
        tokens.append(match[1] or match[2])
        place = match.end()
    return tokens


@dataclass(kw_only=True)
class _Reader(TokenReader):
    """Recursive descent over the tokens; one method for each line of the grammar."""

    signed: bool
    numbers: list[int] = field(default_factory=list)

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while self.next in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            value += sign * self.product(depth)
        return value

    def product(self, depth: int) -> Fraction:
        value = self.atom(depth)
        while self.next in ("*", "/"):
            if self.take() == "*":
                value *= self.atom(depth)
            else:
                value = _quotient(value, self.atom(depth))
        return value

    def atom(self, depth: int) -> Fraction:
        sign = 1
        while self.signed and self.next in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        token = self.take()
        if token == "(":  # nosec B105  # no password
            return sign * self._inside_parentheses(depth + 1)
        if not token.isdigit():
            raise ValueError(f"expression needs a number, got {token or 'its end'!r}")
        if len(token) > MAX_DIGITS:
            raise ValueError(f"expression must have numbers of at most {MAX_DIGITS} digits, got {len(token)}")
        self.numbers.append(int(token))
        return Fraction(sign * self.numbers[-1])

    def _inside_parentheses(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH:
            raise ValueError(f"expression must be at most {MAX_DEPTH} parentheses deep")
        value = self.sum(depth)
        if self.take() != ")":
            raise ValueError("expression must close its parentheses")
        return value


def _quotient(value: Fraction, divisor: Fraction) -> Fraction:
    if divisor == 0:
        raise ValueError("expression must not divide by zero")
    return value / divisor
