"""Descriptions of the keys of a file: the docstring below each field, and the bounds that its part guards.

A setting is declared once, in the class that holds it.  Its meaning is the docstring below the field; Python
drops it, so it is read from the source.  Its bounds come from the errors of ``__post_init__``.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from math import inf, nan
from textwrap import dedent
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tasks import own_code

OURS = ("controllers", "tasks", "policies", "orchestrator")
OUTSIDE = {float: (nan, -inf, -1e9, 0.0, 1e9, inf), int: (-(10**9), 0, 1, 2, 10**9)}
"""Values that a bound may exclude; each guard answers to one of them with what it asks for."""
LIKELY: dict[Any, Any] = {
    float: 0.5,
    int: 2,
    str: "name",
    bool: False,
    tuple[float, ...]: (0.5,),
    tuple[str, ...]: ("http://localhost:8000",),
}
"""Values for settings without a default, while a guard of another is asked."""


@cache
def meanings(owner: type) -> dict[str, str]:
    """The docstring below each field of a pydantic model or a part, by the field's name.

    Fields of base classes are there too; one without a docstring is not.
    """
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.split(".")[0] in OURS or base.__module__.startswith(own_code.PREFIX):
            found |= dict(_below_fields(base))
    return found


@cache
def bounds(part: type) -> dict[str, str]:
    """What each numeric setting of a part must, such as ``be in [0, 1]``, in the words of its own guard."""
    if not is_dataclass(part) or not hasattr(part, "__post_init__"):
        return {}
    hints = get_type_hints(part)
    complete = {
        setting.name: _likely(hints[setting.name]) if setting.default is MISSING else setting.default
        for setting in fields(part)
    }
    found: dict[str, str] = {}
    for name in complete:
        kind = next((kind for kind in OUTSIDE if kind.__name__ in str(hints[name])), None)
        if kind is None:
            continue
        answers = [_complaint(part, complete | {name: value}, name) for value in OUTSIDE[kind]]
        rules = list(dict.fromkeys(answer for answer in answers if answer))
        if rules:
            found[name] = "; ".join(rules)
    return found


def _likely(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Literal else LIKELY.get(hint)


def _below_fields(owner: type) -> Iterator[tuple[str, str]]:
    try:
        source = dedent(inspect.getsource(owner))
    except (OSError, TypeError):  # made by pydantic, not written
        return
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield field.target.id, " ".join(inspect.cleandoc(str(below.value.value)).split())


def _complaint(part: type, values: dict[str, Any], name: str) -> str | None:
    """What the guards of a part say of one of its values, as the rule alone."""
    unchecked: Any = object.__new__(part)
    for key, value in values.items():
        object.__setattr__(unchecked, key, value)
    try:
        unchecked.__post_init__()
    except ValueError as error:
        said = re.match(rf"{name} must (.+?)(?: \([^,]*?\))?, got ", str(error), flags=re.DOTALL)
        # "low_nats = 0.5" and "[low, high] = [0.5, 2]" name what the rule compares with; the number is ours.
        return re.sub(r"(?<=[\w\]]) = (\[.*?\]|[-\d.e]+)", "", said[1]) if said else None
    except Exception:
        return None  # a guard that cannot take this value at all has a rule elsewhere
    return None
