"""Polynomials as text, ``-2*x**6/3 + 4*x**3 + C``, read into exact coefficients and without ``eval``.

    sum      = product { ("+" | "-") product }
    product  = signed { ("*" | "/") signed }
    signed   = ("+" | "-") signed | power
    power    = atom [ "**" signed ]
    atom     = number | name | "(" sum ")"

What is divided by, and every exponent, is a number.  A name is a letter with letters and digits after it;
it stands for itself, whatever it means elsewhere, and nothing can be called.  Length, depth, degree, terms
and the size of the coefficients are limited, so a text is read, or refused, in milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tasks.answers.token_reader import TokenReader

MAX_LENGTH = 1000
MAX_DEPTH = 16
MAX_DIGITS = 30
MAX_EXPONENT = 100
MAX_TERMS = 200
MAX_BITS = 2000

Monomial = tuple[tuple[str, int], ...]
"""Names with their exponents, in order of the names; empty for the constant."""

Polynomial = dict[Monomial, Fraction]
"""Coefficients that are not zero, by monomial."""

_TOKEN = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)|(?P<name>[A-Za-z][A-Za-z0-9]*)|(?P<sign>\*\*|[-+*/()])"
)


def polynomial(text: str) -> Polynomial:
    """Read a polynomial.

    Raises:
        ValueError: it is malformed, no polynomial, or over a limit.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"polynomial must have at most {MAX_LENGTH} characters, got {len(text)}")
    reader = _Reader(tokens=_tokens(text))
    value = reader.sum(depth=0)
    if reader.next:
        raise ValueError(f"polynomial must end, got {reader.next!r}")
    return value


def derivative(of: Polynomial, name: str) -> Polynomial:
    """The derivative by one of the names; all others are constants."""
    result: Polynomial = {}
    for monomial, coefficient in of.items():
        exponent = dict(monomial).get(name, 0)
        if exponent:
            result = _plus(result, {_times(monomial, ((name, -1),)): coefficient * exponent})
    return result


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"polynomial holds {text[place]!r}, which is no number, name or sign")
        tokens.append(match[0])
        place = match.end()
    return tokens


@dataclass(kw_only=True)
class _Reader(TokenReader):
    """Recursive descent over the tokens; one method for each line of the grammar."""

    def sum(self, depth: int) -> Polynomial:
        value = self.product(depth)
        while self.next in ("+", "-"):
            sign = Fraction(1 if self.take() == "+" else -1)
            value = _plus(value, _product({(): sign}, self.product(depth)))
        return value

    def product(self, depth: int) -> Polynomial:
        value = self.signed(depth)
        while self.next in ("*", "/"):
            if self.take() == "*":
                value = _product(value, self.signed(depth))
            else:
                value = _product(value, {(): 1 / _constant(self.signed(depth), "divide by")})
        return value

    def signed(self, depth: int) -> Polynomial:
        sign = Fraction(1)
        while self.next in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        value = self.power(depth)
        return _product({(): sign}, value) if sign < 0 else value

    def power(self, depth: int) -> Polynomial:
        value = self.atom(depth)
        if self.next != "**":
            return value
        self.take()
        if depth >= MAX_DEPTH:
            raise ValueError(f"polynomial must be at most {MAX_DEPTH} deep")
        exponent = _constant(self.signed(depth + 1), "have as exponent", may_be_zero=True)
        if exponent.denominator != 1 or not 0 <= exponent <= MAX_EXPONENT:
            raise ValueError(f"polynomial must have whole exponents from 0 to {MAX_EXPONENT}")
        result: Polynomial = {(): Fraction(1)}
        for _ in range(int(exponent)):
            result = _product(result, value)
        return result

    def atom(self, depth: int) -> Polynomial:
        token = self.take()
        if token == "(":  # nosec B105  # no password
            if depth >= MAX_DEPTH:
                raise ValueError(f"polynomial must be at most {MAX_DEPTH} deep")
            value = self.sum(depth + 1)
            if self.take() != ")":
                raise ValueError("polynomial must close its parentheses")
            return value
        if token[:1].isalpha():
            return {((token, 1),): Fraction(1)}
        if not token or token[0] not in ".0123456789":
            raise ValueError(f"polynomial needs a number or a name, got {token or 'its end'!r}")
        if len(token) > MAX_DIGITS:
            raise ValueError(f"polynomial must have numbers of at most {MAX_DIGITS} digits, got {len(token)}")
        return _plus({}, {(): Fraction(token)})


def _constant(value: Polynomial, role: str, may_be_zero: bool = False) -> Fraction:
    if not set(value) <= {()} or not (value or may_be_zero):
        raise ValueError(f"polynomial must {role} a number" + ("" if may_be_zero else " that is not zero"))
    return value.get((), Fraction(0))


def _plus(one: Polynomial, other: Polynomial) -> Polynomial:
    result = dict(one)
    for monomial, coefficient in other.items():
        total = result.pop(monomial, Fraction(0)) + coefficient
        if total:
            result[monomial] = _bounded(total)
    return result


def _product(one: Polynomial, other: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for left, factor in one.items():
        shifted = {_times(left, right): _bounded(factor * other[right]) for right in other}
        result = _plus(result, shifted)
        if len(result) > MAX_TERMS:
            raise ValueError(f"polynomial must have at most {MAX_TERMS} terms")
    return result


def _times(one: Monomial, other: Monomial) -> Monomial:
    exponents = dict(one)
    for name, exponent in other:
        exponents[name] = exponents.get(name, 0) + exponent
    if sum(exponents.values()) > MAX_EXPONENT:
        raise ValueError(f"polynomial must have a degree of at most {MAX_EXPONENT}")
    return tuple(sorted((name, exponent) for name, exponent in exponents.items() if exponent))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise ValueError(f"polynomial must have coefficients of at most {MAX_BITS} bits")
    return value
