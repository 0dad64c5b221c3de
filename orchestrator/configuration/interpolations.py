"""Resolves the interpolations of a configuration, ``${a.b}``, one by one.

OmegaConf resolves the target of an interpolation again each time, so a few lines that refer to each other
twice can stand for billions of values.  Here each interpolation is resolved once, after those that it refers to.
Until then it is missing, and OmegaConf refuses to read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from orchestrator.configuration.yaml_bounds import DEEPEST
from orchestrator.errors import ConfigError, one_line, quoted

MARK = "${"
MISSING = "???"  # as OmegaConf writes it
LONGEST_TEXT = 500
"""Characters of a text that has one in it."""
MOST_READ = 30_000
"""Characters of such texts that are read, some of them several times: what refers to a later one is read again."""
MOST_CHARACTERS = 1 << 20
"""Characters of all that interpolations come to."""
NODE_CHARACTERS = MOST_CHARACTERS // 4000
"""What a key, a value or a collection counts besides its text."""

Path = tuple[str | int, ...]


def resolved(config: DictConfig) -> dict[str, Any]:
    """The configuration as a plain mapping, in which nothing refers to anything.

    Raises:
        ConfigError: an interpolation leads nowhere, in a circle or to too much; says key, rule and remedy.
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    waiting = dict(_interpolated(plain))
    if not waiting:
        return plain
    for path, text in waiting.items():
        if len(text) > LONGEST_TEXT:
            raise _refused(
                path,
                f"a text with '{MARK}' must have at most {LONGEST_TEXT} characters, got {len(text)}; shorten it",
            )
        _put(plain, path, MISSING)
    known = OmegaConf.create(plain)
    room, left_to_read = MOST_CHARACTERS, MOST_READ
    while waiting:
        found = {}
        for path, text in waiting.items():
            left_to_read -= len(text)
            if left_to_read < 0:
                raise _refused(path, "there are too many interpolations; write values out")
            try:
                value = _value(known, path, text)
            except Exception as error:  # not yet, or never: whatever a resolver raises
                reason = error
                continue
            found[path] = value
            room -= _size(path, value)
            if room < 0:
                raise _refused(path, "stands for too much, with those before it; write what is needed out")
            _put(plain, path, value)
            _put(known, path, MISSING if _has_mark(value) else value)  # an escaped one would be read again
        if not found:
            raise _refused(next(reversed(waiting)), _reason(reason))
        waiting = {path: text for path, text in waiting.items() if path not in found}
    return plain


def _interpolated(node: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text with an interpolation in it, and its path; the depth of what was read is bounded."""
    if isinstance(node, str) and MARK in node:
        yield path, node
    for key, value in _items(node):
        yield from _interpolated(value, (*path, key))


def _items(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, list | tuple):
        yield from enumerate(node)


def _value(known: Any, path: Path, text: str) -> Any:
    """What the text comes to beside values that are known; an error where it refers to one that is not."""
    holder = known
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = text
    try:
        value = holder[path[-1]]
    finally:
        holder[path[-1]] = MISSING  # so that a collection that holds the text itself is not known either
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    return value


def _put(node: Any, path: Path, value: Any) -> None:
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value


def _size(path: Path, value: Any) -> int:
    """Characters of the texts in it, and some for every node."""
    size, left = 0, [(value, len(path))]
    while left:
        node, depth = left.pop()
        if depth > DEEPEST:
            raise _refused(path, f"must come to what is nested at most {DEEPEST} deep; flatten it")
        size += NODE_CHARACTERS + (len(node) if isinstance(node, str) else 0)
        left += [(each, depth + 1) for _, each in _items(node)]
    return size


def _has_mark(value: Any) -> bool:
    return any(True for _ in _interpolated(value))


def _reason(error: Exception) -> str:
    if isinstance(error, MissingMandatoryValue | InterpolationToMissingValueError):
        return "refers to itself in a circle, or to what has no value; name a key that has one"
    return f"{one_line(error)}; correct the interpolation"


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{'.'.join(quoted(key) for key in path)}: {why}")
