"""Places of the code of a user's own: beside the file that names it, and anywhere for a run's fingerprint.

A file of code is named relative to the YAML file.  What a run is written down with has its absolute path, so that
workers, cluster jobs and later commands find it from any working directory.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tasks import own_code

KEYS = ("kind", "reward", "function", "sensor")
"""The keys below which code is named."""
FAMILIES = ("law", "filter", "reference", "actuator", "feedforward", "dither", "objective", "advantage")
"""Parts that can be given by their kind alone."""


def located(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The content of a YAML file of ``folder`` with absolute paths of code."""
    changed: dict[str, Any] = _changed(content, lambda reference: own_code.beside(reference, folder))
    return changed


def without_folders(plain: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the folders that code lies in."""
    changed: dict[str, Any] = _changed(plain, own_code.without_folder)
    return changed


def moved(stored: Any, now: Any, key: str = "") -> Any:
    """A stored configuration with each file of code where it is ``now``, if both name the same file and name there."""
    if isinstance(stored, dict) and isinstance(now, dict):
        return {each: moved(value, now.get(each), str(each)) for each, value in stored.items()}
    if isinstance(stored, list) and isinstance(now, list):
        return [moved(one, other, key) for one, other in zip_longest(stored, now[: len(stored)])]
    if _names_code(key, stored) and _names_code(key, now):
        return now if own_code.without_folder(stored) == own_code.without_folder(now) else stored
    return stored


def _changed(node: Any, change: Callable[[str], str], key: str = "") -> Any:
    if isinstance(node, dict):
        return {each: _changed(value, change, str(each)) for each, value in node.items()}
    if isinstance(node, list):
        return [_changed(value, change, key) for value in node]
    return change(node) if _names_code(key, node) else node


def _names_code(key: str, node: Any) -> bool:
    return key in (*KEYS, *FAMILIES) and own_code.is_own(node)
