"""Durations: ``5 days``, ``01:45:29.840``, ``67 days, 01:04:00``, compared by their length."""

from __future__ import annotations

import re
from fractions import Fraction

from tasks.verifiers.grammars import Facts

_DAYS = re.compile(r"([+-]?[0-9]{1,9})(?: days?)?")
_CLOCK = re.compile(r"([0-9]{1,9}):([0-9]{1,9})(?::([0-9]{1,9}(?:\.[0-9]{1,9})?))?")
_BOTH = re.compile(r"([0-9]{1,9}) days?, ?(.*)")


def same_duration(answer: str, gold: str, facts: Facts) -> bool:
    """The same duration, in the form that the question asks for."""
    value = _seconds(answer, facts["task_type"])
    return value is not None and value == _seconds(gold, facts["task_type"])


def _seconds(text: str, form: str) -> Fraction | None:
    text = " ".join(text.lower().split())
    if form == "date":
        days = _DAYS.fullmatch(text)
        return None if days is None else Fraction(86_400 * int(days[1]))
    if form.startswith("time"):
        return _clock(text)
    both = _BOTH.fullmatch(text)
    clock = None if both is None else _clock(both[2])
    return None if both is None or clock is None else 86_400 * int(both[1]) + clock


def _clock(text: str) -> Fraction | None:
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    return 3600 * int(match[1]) + 60 * int(match[2]) + Fraction(match[3] or 0)
