"""Functions of numbers with many digits, each within bounds on its arguments (``tasks.mathematics.size``).

Each takes mpmath's context, which holds the precision, and the values of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.mathematics.size import MAX_ANGLE_BITS, MAX_GAMMA, MAX_GROWTH_BITS, MAX_MAGNITUDE_BITS


class NoValueError(Exception):
    """A term has no value at a point, or none that is within the limits."""


def checked(context: Any, value: Any) -> Any:
    """A value that is finite and within the limits.

    Raises:
        NoValueError: it is not.
    """
    if not context.isfinite(value) or (value and abs(context.mag(value)) > MAX_MAGNITUDE_BITS):
        raise NoValueError
    return value


def real_power(context: Any, base: Any, above: int, below: int) -> Any:
    """A power to a fraction with an odd denominator, real where the base is: (-8)^{1/3} = -2."""
    exponent = context.mpf(above) / below
    if context.im(base) or context.re(base) >= 0:
        return power(context, base, exponent)
    size = power(context, -base, exponent)
    return -size if above % 2 else size


def power(context: Any, base: Any, exponent: Any) -> Any:
    """A power, on the principal branch; 0^0 is 1."""
    if not base:
        if context.im(exponent) or context.re(exponent) < 0:
            raise NoValueError
        return context.mpf(0 if exponent else 1)
    if abs(exponent) * (abs(context.mag(base)) + 4) > MAX_MAGNITUDE_BITS:
        raise NoValueError
    return context.power(base, exponent)


def _root(context: Any, base: Any, index: Any) -> Any:
    if not index:
        raise NoValueError
    if not context.im(index) and context.isint(index) and int(context.re(index)) % 2:
        return real_power(context, base, 1, int(context.re(index)))
    return power(context, base, 1 / index)


def _gamma(context: Any, argument: Any) -> Any:
    if abs(argument) > MAX_GAMMA:
        raise NoValueError
    return context.gamma(argument)


def _binomial(context: Any, above: Any, below: Any) -> Any:
    if max(abs(above), abs(below)) > MAX_GAMMA:
        raise NoValueError
    return context.binomial(above, below)


def _logarithm(context: Any, argument: Any, base: Any) -> Any:
    below = context.log(base) if base else 0
    if not argument or not below:
        raise NoValueError
    return context.log(argument) / below


def _plain(name: str, *, periodic: bool = False) -> Callable[[Any, Any], Any]:
    """A function of mpmath, whose argument is within the limits."""
    largest = MAX_ANGLE_BITS if periodic else MAX_GROWTH_BITS

    def value(context: Any, argument: Any) -> Any:
        real, imaginary = context.re(argument), context.im(argument)
        if (real and context.mag(real) > largest) or (imaginary and context.mag(imaginary) > MAX_GROWTH_BITS):
            raise NoValueError
        return getattr(context, name)(argument)

    return value


def _rounded(name: str) -> Callable[[Any, Any], Any]:
    """Floor or ceiling; there is none where a rounding error would decide it."""

    def value(context: Any, argument: Any) -> Any:
        if context.im(argument) or abs(argument) > MAX_GAMMA:
            raise NoValueError
        nearest = context.nint(argument)
        if argument != nearest and abs(argument - nearest) < 1e-30:
            raise NoValueError
        return getattr(context, name)(argument)

    return value


PERIODIC = ("sin", "cos", "tan", "sec", "csc", "cot")
INVERSE = ("asin", "acos", "atan", "acot", "asec", "acsc", "asinh", "acosh", "atanh")
GROWING = ("sinh", "cosh", "tanh", "exp")

NUMERIC: dict[str, Callable[..., Any]] = {
    "sum": lambda context, *parts: context.fsum(parts),
    "product": lambda context, *parts: context.fprod(parts),
    "quotient": lambda context, above, below: above / below,
    "power": power,
    "root": _root,
    "factorial": lambda context, part: _gamma(context, part + 1),
    "gamma": _gamma,
    "binomial": _binomial,
    "abs": lambda context, part: abs(part),
    "floor": _rounded("floor"),
    "ceil": _rounded("ceil"),
    "log": _logarithm,
    **{name: _plain(name, periodic=True) for name in (*PERIODIC, *INVERSE)},
    **{name: _plain(name) for name in GROWING},
}
"""By the operation of a term."""
