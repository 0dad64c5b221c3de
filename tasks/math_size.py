"""How large an expression is on its face: whether sympy can be asked about it without burning minutes."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LENGTH = 256
"""Longest answer that is looked into [characters]."""

MAX_EXPONENT = 4096
"""Largest power: 2^{2013} is an answer that contests have."""

MANY = 64
"""An expression may have one exponent above this, on a number or a letter."""

MAX_FACTORIAL = 1000

MAX_DEPTH = 16

_LOOPS = re.compile(r"\\(?:sum|prod|i*int|lim|[dt]?binom)(?![a-z])|\\choose|\\bigcup|\\bigcap")
_POWER = re.compile(r"\^|\*\*")
_FACTORIAL = re.compile(r"([0-9]+)\s*!(?!\s*[!=])")


def is_tame(text: str) -> bool:
    """Whether an expression is of a size that sympy can be asked about.

    Refused are powers of powers; exponents above 4096, more than one of them above 64, or one on a bracket;
    factorials of anything but a number up to 1000; operators that loop (sums, products, integrals, limits,
    binomials); and brackets deeper than 16, over which the parser itself takes seconds.
    """
    if len(text) > MAX_LENGTH or re.search(r"[0-9]{41}", text) or _LOOPS.search(text):
        return False
    return _depth(text) <= MAX_DEPTH and _tame_factorials(text) and _tame_powers(text)


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _tame_factorials(text: str) -> bool:
    numbers = _FACTORIAL.findall(text)
    if text.count("!") != len(numbers) + text.count("!="):
        return False
    return all(len(number) <= 4 and int(number) <= MAX_FACTORIAL for number in numbers)


def _tame_powers(text: str) -> bool:
    powers = [_power(text, match.start(), match.end()) for match in _POWER.finditer(text)]
    large = [power for power in powers if power.size > MANY]
    return (
        not any(power.nested or power.size > MAX_EXPONENT for power in powers)
        and len(large) <= 1
        and all(power.on_symbol for power in large)
    )


class _Power(NamedTuple):
    """One ``^`` or ``**`` of an expression."""

    size: int
    """The largest number in its exponent."""
    nested: bool
    """The exponent holds a power or a factorial, or is raised itself."""
    on_symbol: bool
    """The base ends in a letter or a digit, so that nothing is multiplied out."""


def _power(text: str, start: int, end: int) -> _Power:
    stop = _group_end(text, end)
    exponent, rest = text[end:stop], text[stop:].lstrip()
    sizes = [int(number) for number in re.findall(r"[0-9]+", exponent)]
    return _Power(
        size=max(sizes, default=0),
        nested=bool(_POWER.search(exponent) or "!" in exponent or _POWER.match(rest)),
        on_symbol=text[:start].rstrip()[-1:].isalnum(),
    )


def _group_end(text: str, place: int) -> int:
    """Where the bracketed group, number or character at ``place`` ends."""
    place += len(text[place:]) - len(text[place:].lstrip())
    if text[place : place + 1] not in ("{", "("):
        number = re.compile(r"[+-]?[0-9]+").match(text, place)
        return number.end() if number else min(place + 1, len(text))
    depth = 0
    for end in range(place, len(text)):
        depth += (text[end] in "{(") - (text[end] in "})")
        if depth == 0:
            return end + 1
    return len(text)
