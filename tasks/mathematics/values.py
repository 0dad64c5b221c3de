"""Decides whether terms have the same value: exactly if they are rational, otherwise to many digits.

Terms with variables are compared at several points, which the names of the variables fix.  Nothing is
multiplied out, solved or simplified, so the work is a bounded step for each part of a term.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from tasks.mathematics.exact import exact
from tasks.mathematics.functions import NUMERIC, NoValueError, checked, real_power
from tasks.mathematics.terms import Term

DIGITS = (50, 100)
"""Two precisions: what rounding leaves of zero shrinks from the first to the second, a difference does not."""

AGREED_DIGITS = 40
"""Digits to which equal values agree, and by which a rounding error shrinks."""

NUM_POINTS = 6
NUM_NEEDED = 3
"""Points at which both terms must have a value."""


def equal(one: Term, other: Term) -> bool:
    """Whether two terms have the same value, whatever that of their variables."""
    if not one.symbols and not other.symbols:
        ours, theirs = exact(one), exact(other)
        if ours is not None and theirs is not None:
            return ours == theirs
    num_found = 0
    points = _points(one, other)
    for point in points:
        try:
            if not _same(one, other, point):
                return False
            num_found += 1
        except NoValueError:
            continue
    return num_found >= min(NUM_NEEDED, len(points))


def factor(one: Term, other: Term) -> complex | None:
    """What one term is of the other, where that is the same at all points and neither is zero; else None."""
    found: list[Any] = []
    points = _points(one, other)
    for point in points:
        try:
            ours, theirs = _number(one, point, DIGITS[0]), _number(other, point, DIGITS[0])
        except NoValueError:
            continue
        context = _context()
        if min(abs(ours), abs(theirs)) < context.mpf(10) ** -AGREED_DIGITS:
            return None
        found.append(context.mpc(ours) / theirs)
        if abs(found[-1] - found[0]) > abs(found[0]) * context.mpf(10) ** -30:
            return None
    return complex(found[0]) if len(found) >= min(NUM_NEEDED, len(points)) else None


def close(one: Term, other: Term, tolerance: float) -> bool:
    """Whether two numbers agree to a relative tolerance; what has no value agrees with nothing."""
    try:
        ours, theirs = _number(one, {}, DIGITS[0]), _number(other, {}, DIGITS[0])
    except NoValueError:
        return False
    return bool(abs(ours - theirs) <= tolerance * max(abs(ours), abs(theirs)))


def is_affine(term: Term) -> bool:
    """Whether a term is a x + b in its only variable, and not that variable itself."""
    if len(term.symbols) != 1 or term.operation == "symbol":
        return False
    name = next(iter(term.symbols))
    try:
        at = [_number(term, {name: Fraction(place)}, DIGITS[0]) for place in (1, 2, 3, 7)]
    except NoValueError:
        return False
    tiny = 10.0**-30 * (1 + abs(at[0]) + abs(at[3]))
    straight = abs(at[2] - 2 * at[1] + at[0]) < tiny and abs(at[3] - at[0] - 6 * (at[1] - at[0])) < tiny
    return bool(straight and abs(at[1] - at[0]) > tiny)


def _points(one: Term, other: Term) -> list[dict[str, Fraction]]:
    names = one.symbols | other.symbols
    return [{name: _coordinate(name, place) for name in names} for place in range(NUM_POINTS if names else 1)]


@lru_cache(maxsize=4096)
def _coordinate(name: str, place: int) -> Fraction:
    """The value of a variable at a point: positive at the first ones, of either sign at the others."""
    digest = int.from_bytes(blake2b(f"{name} {place}".encode(), digest_size=8).digest(), "big")
    value = Fraction(digest % 2_000_003 + 400_000, 1_000_003)
    return -value if place >= NUM_POINTS // 2 and digest >> 63 else value


def _same(one: Term, other: Term, point: Mapping[str, Fraction]) -> bool:
    """Whether two terms agree at a point: to the digits, or but for what rounding leaves of zero."""
    gaps = []
    for digits in DIGITS:
        ours, theirs = _number(one, point, digits), _number(other, point, digits)
        gap, tiny = abs(ours - theirs), _context().mpf(10) ** -AGREED_DIGITS
        if gap <= max(abs(ours), abs(theirs)) * tiny:
            return True
        gaps.append(gap)
    return bool(gaps[1] <= gaps[0] * tiny)


@lru_cache(maxsize=1)
def _context() -> Any:
    """mpmath, with a precision of its own."""
    import mpmath

    return mpmath.MPContext()


def _number(term: Term, point: Mapping[str, Fraction], digits: int) -> Any:
    """The value of a term at a point.

    Raises:
        NoValueError: it has none there, or none within the limits.
    """
    context = _context()
    context.dps = digits
    try:
        return _valued(term, point, context)
    except (ArithmeticError, ValueError, TypeError, context.NoConvergence) as error:
        raise NoValueError from error


def _valued(term: Term, point: Mapping[str, Fraction], context: Any) -> Any:
    if term.operation in ("number", "symbol"):
        value = term.value if term.operation == "number" else point[term.name]
        return context.mpf(value.numerator) / value.denominator
    if term.operation == "constant":
        if term.name == "oo":
            raise NoValueError
        return +{"pi": context.pi, "e": context.e, "i": context.mpc(0, 1)}[term.name]
    parts = [_valued(part, point, context) for part in term.parts]
    if term.operation == "power" and not term.parts[1].symbols:
        exponent = exact(term.parts[1])
        if exponent is not None and exponent.denominator > 1 and exponent.denominator % 2:
            return checked(context, real_power(context, parts[0], exponent.numerator, exponent.denominator))
    return checked(context, NUMERIC[term.operation](context, *parts))
