"""Reads the content of an answer by grammars of our own: lines, names, numbers and JSON, each of limited size.

Every function accepts any text.  It returns None if the text does not fit its grammar, and never raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

Facts = Mapping[str, Any]
"""What a dataset says of a problem, its metadata."""

MAX_DIGITS = 4000

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_RATIO = re.compile(r"([+-]?[0-9]+) ?/ ?([0-9]+)")


def rows(text: str) -> list[list[str]]:
    """The words of each line.  Empty lines and the width of white space do not count."""
    return [words for line in text.split("\n") if (words := line.split())]


def integer(text: str) -> int | None:
    """A whole number in ASCII digits, with or without a sign."""
    text = text.strip()
    return int(text) if len(text) <= MAX_DIGITS and _INTEGER.fullmatch(text) else None


def number(text: str, *, grouped: bool = False) -> Fraction | None:
    """The exact value of a decimal, ``-2.50`` or ``1e-7``; ``grouped`` also takes ``1,250,000``.

    An exponent has three digits at most, so no text is worth more memory than it is long.
    There is no ``nan`` and no ``inf``, no underscore and no digit outside of ASCII.
    """
    text = text.strip()
    if len(text) > MAX_DIGITS:
        return None
    if grouped and _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    return Fraction(text) if _NUMBER.fullmatch(text) else None


def ratio(text: str) -> Fraction | None:
    """A decimal, or a fraction of two whole numbers."""
    text = text.strip()
    if len(text) > MAX_DIGITS:
        return None
    match = _RATIO.fullmatch(text)
    if match is None:
        return number(text)
    return Fraction(int(match[1]), int(match[2])) if int(match[2]) else None


def json_value(text: str, *, numbers_as_text: bool = False) -> Any | None:
    """What a JSON document holds.  Its numbers are whole, unless they are left as they were written."""
    try:
        if numbers_as_text:
            return json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
        return json.loads(text, parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError):  # a thousand brackets deep is no answer
        return None


def _refuse(literal: str) -> Any:
    raise ValueError(f"{literal} is no whole number")


def lists_of_text(value: Any) -> list[list[str]] | None:
    """The same value, where it is a list of lists of strings."""
    is_one = isinstance(value, list) and all(list_of_text(part) is not None for part in value)
    return value if is_one else None


def list_of_text(value: Any) -> list[str] | None:
    """The same value, where it is a list of strings."""
    is_one = isinstance(value, list) and all(isinstance(part, str) for part in value)
    return value if is_one else None
