"""YAML files to plain mappings, through OmegaConf: interpolation, and overrides from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from orchestrator.configuration.errors import ConfigError


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a mapping, apply ``a.b=c`` overrides, resolve interpolations.

    Raises:
        ConfigError: unreadable, not YAML, a key given twice, not a mapping, a bad override or an
            interpolation that leads nowhere.
    """
    try:
        loaded = OmegaConf.load(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except yaml.constructor.ConstructorError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{path}: line {line}: {error.problem}; keep one of the two") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {_one_line(error)}; mend that line") from error
    if not OmegaConf.is_dict(loaded):
        raise ConfigError(f"{path}: must be a mapping of keys to values, not a list or a text")
    try:
        for override in overrides:
            _override(loaded, override)
        plain = OmegaConf.to_container(loaded, resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {_one_line(error)}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _override(loaded: Any, override: str) -> None:
    """Lay ``a.b=c`` on a configuration; ``arms.0.name=x`` reaches into a list."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: must have the form key.path=value")
    try:
        # Read as YAML, so that a number is a number; an interpolation is left for the whole to resolve.
        given: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
        without_effect = given["value"] == {} and bool(OmegaConf.select(loaded, key.strip()))
        OmegaConf.update(loaded, key.strip(), given["value"])
    except (OmegaConfBaseException, yaml.YAMLError, TypeError, ValueError) as error:
        raise ConfigError(f"--set {override}: {_one_line(error)}; the form is key.path=value") from error
    if without_effect:
        raise ConfigError(
            f"--set {override}: an empty mapping changes nothing, since mappings are merged key by key; "
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
