"""Keys and kinds of earlier versions that have another name now, or none.

A file that still has an old name gets one line with the new one.  A stored run keeps the names of its time, and its
configuration is brought up to date where it is read, from its folder and from MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEYS = {("pid", "tracking"): "anti_windup"}
"""From the kind of a part and its old key to the new key."""

KINDS = {"comparison": "larger_number"}
"""From an old kind to the new one."""

RETIRED = {
    "self_tuning": "is retired, as noise of the readings biased the push that it estimated; write `law: auto`, "
    "which learns it and has no settings",
}
"""Kinds that there are no more, and what to write instead."""


def new_key(part: Any, key: str) -> str | None:
    """The name that a key of ``part``, the mapping that holds it, has now; None where it had no other."""
    kind = part.get("kind") if isinstance(part, Mapping) else None
    return KEYS.get((kind, key)) if isinstance(kind, str) else None


def up_to_date(content: Any) -> Any:
    """The content of a stored configuration under the names that keys and kinds have now."""
    if isinstance(content, Mapping):
        named = {new_key(content, key) or key: up_to_date(value) for key, value in content.items()}
        kind = named.get("kind")
        return named | {"kind": KINDS[kind]} if isinstance(kind, str) and kind in KINDS else named
    if isinstance(content, list | tuple):
        return [up_to_date(each) for each in content]
    return content
