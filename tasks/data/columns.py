"""Reads values of a row by their keys; errors name the place, the key, the known keys and the cure."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from tasks.data.rows import Row
from tasks.names import LONGEST_DOMAIN, escaped

MAX_SHOWN = 80
"""Characters of a value that a message shows."""


def value_at(key: str, row: Row, place: str, setting: str) -> Any:
    """The value of a key, or of a dotted path of keys, ``reward_model.ground_truth``.

    Raises:
        ValueError: it is not there; ``setting`` names what could be set instead.
    """
    if key in row:
        return row[key]
    value: Any = row
    for step in key.split("."):
        if not isinstance(value, dict) or step not in value:
            raise ValueError(
                f"{place}: has no {key!r}, only {', '.join(map(repr, row))}; add it or set {setting}"
            )
        value = value[step]
    return value


def text_at(key: str, row: Row, place: str, setting: str) -> str:
    """A text that is not blank."""
    value = value_at(key, row, place, setting)
    if not isinstance(value, str):
        raise ValueError(f"{place}: {key!r} must be text, got {shown(value)}; make it text, in quotes")
    if not value.strip():
        raise ValueError(f"{place}: {key!r} must not be blank; fill it in or remove the row")
    return value


def domain_at(key: str, row: Row, place: str) -> str:
    """The name of a domain: a text that is short enough to be part of the names of metrics."""
    name = text_at(key, row, place, "domain_key")
    if len(escaped(name)) > LONGEST_DOMAIN:
        raise ValueError(
            f"{place}: {key!r} must be the name of a domain, of at most {LONGEST_DOMAIN} characters (one that is not "
            f"a letter, digit, space, '.', '_' or '-' counts for several), got {name[:40]!r}…; shorten it, or set "
            "another domain_key"
        )
    return name


def number_at(key: str, row: Row, place: str, setting: str) -> float:
    """A finite number."""
    value = value_at(key, row, place, setting)
    if not is_number(value) or not math.isfinite(value):
        raise ValueError(
            f"{place}: {key!r} must be a finite number, got {shown(value)}; write it without quotes"
        )
    return float(value)


def written_at(key: str, row: Row, place: str, setting: str) -> str | None:
    """A number as it is written there, ``1234567.0`` or ``0.10``; None for anything but a number.

    Raises:
        ValueError: it is not finite.
    """
    value = value_at(key, row, place, setting)
    if not is_number(value):
        return None
    if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
        raise ValueError(
            f"{place}: {key!r} must be text or a finite number, got {shown(value)}; fix or remove the row"
        )
    return str(value)


def is_number(value: Any) -> bool:
    """Whether a value is a number, which True is not."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """A value as a message shows it: as JSON, or what JSON does not have with its type."""
    try:
        text = json.dumps(
            value, default=lambda item: str(item) if isinstance(item, Decimal) else _refused(item)
        )
    except (TypeError, ValueError):
        text = f"the {type(value).__name__} {value!r}"
    if isinstance(value, Decimal):
        text = str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _refused(item: Any) -> Any:
    raise TypeError(item)
