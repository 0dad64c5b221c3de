"""Reads YAML files into plain mappings by OmegaConf: interpolation, and overrides from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from orchestrator.configuration.interpolations import MARK, resolved
from orchestrator.configuration.part_schema import LARGEST_INTEGER
from orchestrator.configuration.text_files import read_text
from orchestrator.configuration.yaml_bounds import DEEPEST, check_yaml
from orchestrator.errors import ConfigError, named, one_line, quoted, refusing, short

LONGEST_OVERRIDE = 10_000
"""Characters of an override."""

PLAIN = (str, bool, int, float, type(None))


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a mapping, apply ``a.b=c`` overrides, resolve interpolations.

    Raises:
        ConfigError: unreadable, too large, not YAML, a key given twice, not a mapping, a bad override or an
            interpolation that leads nowhere: whatever it is, in one line with file and key.
    """
    text, where = read_text(path), named(path)
    try:
        content = _parsed(text)
        if not isinstance(content, dict):
            kind = (
                "an empty file"
                if content is None
                else "a list"
                if isinstance(content, list)
                else "a single value"
            )
            raise ConfigError(f"must be a mapping of keys to values, got {kind}; write key: value lines")
        if not overrides and MARK not in text:
            _check_values(content)
            return content
        with refusing("cannot be read", "fix it"):
            loaded = OmegaConf.create(content)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    for override in overrides:
        try:
            _override(loaded, override)
        except ConfigError as error:
            raise ConfigError(f"--set {short(override)[1:-1]}: {error}") from error
    try:
        with refusing("cannot be resolved", "fix its interpolations"):
            plain = resolved(loaded)
            _check_values(plain)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return plain


def _parsed(text: str) -> Any:
    """What a YAML text holds, by OmegaConf's rules: a number as 1e-3 is one, a date is a text.

    Raises:
        ConfigError: says line or key, rule and remedy.
    """
    check_yaml(text)
    with refusing("not valid YAML", "fix that value"):
        # As an override, which may be any value: OmegaConf takes a file for a mapping or a list.
        try:
            content: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
        except OmegaConfBaseException as error:
            key = str(error.full_key or "").removeprefix("value").removeprefix(".")
            raise ConfigError(f"{key}{': ' if key else ''}{one_line(error)}; fix that value") from error
        return content["value"]


def _override(loaded: DictConfig, override: str) -> None:
    """Lay ``a.b=c`` on a configuration; ``arms.0.name=x`` reaches into a list."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError("must have the form key.path=value")
    if len(override) > LONGEST_OVERRIDE:
        raise ConfigError(f"must have at most {LONGEST_OVERRIDE} characters, got {len(override)}; use a file")
    if key.count(".") + key.count("[") >= DEEPEST:
        raise ConfigError(f"must be nested at most {DEEPEST} deep, got more; set what is above it")
    try:
        given = _parsed(text)
    except ConfigError as error:
        raise ConfigError(f"{error}; the form is key.path=value") from error
    with refusing("cannot be set", "the form is key.path=value"):
        without_effect = given == {} and bool(OmegaConf.select(loaded, key))
        OmegaConf.update(loaded, key, given)
    if without_effect:
        raise ConfigError(
            "an empty mapping changes nothing, since mappings are merged key by key; "
            "set the keys themselves, or remove them in the file"
        )


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid on ``base``, key by key and level by level; neither is changed.

    A mapping that names another ``kind`` replaces the one below it: the settings of one part mean
    nothing to another.
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and not _other_kind(below, value):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def _other_kind(below: dict[str, Any], above: dict[str, Any]) -> bool:
    return "kind" in above and "kind" in below and above["kind"] != below["kind"]


def _check_values(content: dict[str, Any]) -> None:
    """Make sure that keys are texts, and values plain ones that can be stored, computed with and printed.

    Raises:
        ConfigError: says key, rule, value and remedy.
    """
    left: list[tuple[str, Any]] = [("", content)]
    while left:
        path, value = left.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                inside = f"{path}.{quoted(key)}" if path else quoted(key)
                if not isinstance(key, str) or not key:
                    raise ConfigError(f"{inside}: a key must be a text, got {short(key)}; quote it")
                _check_text(inside, key)
                left.append((inside, item))
        elif isinstance(value, list):
            left += [(f"{path}.{place}", item) for place, item in enumerate(value)]
        elif isinstance(value, str):
            _check_text(path, value)
        elif not isinstance(value, PLAIN):
            raise ConfigError(f"{path}: must be a number or a text, got {short(value)}; quote it")
        elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise ConfigError(
                f"{path}: must be a whole number of at most 64 bits, got {short(value)}; lower it"
            )


def _check_text(path: str, text: str) -> None:
    if "\0" in text:
        raise ConfigError(f"{path}: must have no NUL character, got {short(text)}; remove it")
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise ConfigError(f"{path}: must be Unicode, and has half a surrogate pair, {short(text)}; remove it")


def dotted(over: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """``{"a": {"b": 1}}`` as ``a.b=1``, the form of overrides; JSON is YAML on one line."""
    for key, value in over.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}={json.dumps(value)}"
