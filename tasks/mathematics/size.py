"""Limits on the size of an answer that is read, and of a value that is computed.

Nothing is multiplied out, solved or simplified: an expression is evaluated at points, one step per symbol of its
text.  The work of grading is therefore bounded by the length of the text and by the size of one step, and both
limits stand here.
"""

from __future__ import annotations

MAX_LENGTH = 256
"""Longest answer that is looked into [characters]."""

MAX_DEPTH = 16
"""Brackets inside brackets."""

MAX_DIGITS = 40
"""Digits of a number as it is written."""

MAX_ITEMS = 16
"""Items of a list whose order does not count."""

MAX_BITS = 20_000
"""Size of a rational number that is kept exactly: 2^{2013} and 1000! are answers that contests have."""

MAX_MAGNITUDE_BITS = 2**23
"""Size of a value that is kept to some digits: above it, or below its inverse, there is none."""

MAX_ANGLE_BITS = 200
"""Size of the argument of a periodic function, which is reduced to one period."""

MAX_GROWTH_BITS = 22
"""Size of the argument of an exponential function."""

MAX_GAMMA = 10**7
"""Largest argument of a factorial, a gamma function or a binomial."""

MAX_EXACT_FACTORIAL = 2000


def is_tame(text: str) -> bool:
    """Whether an answer is of a size that is looked into: its length, its brackets, the digits of its numbers."""
    if len(text) > MAX_LENGTH:
        return False
    depth = digits = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        digits = digits + 1 if character.isdigit() else 0
        if depth > MAX_DEPTH or digits > MAX_DIGITS:
            return False
    return True
