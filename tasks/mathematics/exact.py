"""The value of a term as a rational number, if it is one and not too large (``tasks.mathematics.size``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from operator import add, mul

from tasks.mathematics.size import MAX_BITS, MAX_EXACT_FACTORIAL
from tasks.mathematics.terms import Term


def exact(term: Term) -> Fraction | None:
    """The value of a term; None for one that is not rational, is not seen to be, or is too large."""
    try:
        return _exact(term)
    except (ZeroDivisionError, _TooLargeError):
        return None


class _TooLargeError(Exception):
    """A value takes more bits than are kept."""


def _exact(term: Term) -> Fraction | None:
    if term.operation == "number":
        return term.value
    if term.operation not in _EXACT:
        return None
    parts = []
    for part in term.parts:
        value = _exact(part)
        if value is None:
            return None
        parts.append(value)
    return _EXACT[term.operation](*parts)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _TooLargeError
    return value


def _folded(operation: Callable[[Fraction, Fraction], Fraction], start: int) -> Callable[..., Fraction]:
    """An operation on any number of parts, none of whose steps outgrows the limit."""

    def value(*parts: Fraction) -> Fraction:
        result = Fraction(start)
        for part in parts:
            result = _bounded(operation(result, part))
        return result

    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return _root(base, 1 / exponent) if exponent.numerator == 1 else None
    if base in (0, 1, -1):
        if base == 0 and exponent < 0:
            raise ZeroDivisionError
        return Fraction(1) if exponent % 2 == 0 and (base or not exponent) else base
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent.numerator) * bits > 2 * MAX_BITS:
        raise _TooLargeError
    return _bounded(base**exponent.numerator)


def _root(base: Fraction, index: Fraction) -> Fraction | None:
    """A square or cube root that is rational."""
    if index not in (2, 3) or (base < 0 and index == 2):
        return None
    above, below = (_whole_root(part, index.numerator) for part in (abs(base.numerator), base.denominator))
    if above is None or below is None:
        return None
    return Fraction(-above if base < 0 else above, below)


def _whole_root(number: int, index: int) -> int | None:
    if index == 2:
        root = math.isqrt(number)
    else:
        root = 1 << (number.bit_length() // 3 + 1)  # not below the root, from where Newton's steps go down
        while (step := (2 * root + number // (root * root)) // 3) < root:
            root = step
    return root if root**index == number else None


def _factorial(number: Fraction) -> Fraction | None:
    if number.denominator != 1 or not 0 <= number <= MAX_EXACT_FACTORIAL:
        return None
    return _bounded(Fraction(math.factorial(number.numerator)))


def _binomial(above: Fraction, below: Fraction) -> Fraction | None:
    whole = above.denominator == below.denominator == 1
    if not whole or not 0 <= above <= MAX_EXACT_FACTORIAL or not 0 <= below <= MAX_EXACT_FACTORIAL:
        return None
    return Fraction(math.comb(above.numerator, below.numerator))


_EXACT: dict[str, Callable[..., Fraction | None]] = {
    "sum": _folded(add, 0),
    "product": _folded(mul, 1),
    "quotient": lambda above, below: _bounded(above / below),
    "power": _power,
    "root": _root,
    "factorial": _factorial,
    "binomial": _binomial,
    "abs": abs,
    "floor": lambda part: Fraction(math.floor(part)),
    "ceil": lambda part: Fraction(math.ceil(part)),
}
