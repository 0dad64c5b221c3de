"""Compares the configuration of a stored run with an arm as it is now.

A stored configuration lacks the settings that came after it.  Read by today's classes it has their defaults, which
keep what a run did before them, so it is the same configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import Arm
from orchestrator.errors import ConfigError
from orchestrator.masking import masked


def differing_keys(stored: dict[str, Any], arm: Arm) -> list[str]:
    """Keys, with both values, where a stored configuration decides another result than the arm; none if it is the same.

    Args:
        stored: the configuration in a `RunInfo`, without credentials.
        arm: as its campaign says now.
    """
    now = masked(arm.plain)
    try:
        before = replace(arm, config=RunConfig(**stored))
    except (ValidationError, ConfigError):  # a setting or a kind that there is no more
        return list(differences(stored, now)) or ["the format of the configuration"]
    return [] if before.fingerprint == arm.fingerprint else list(differences(masked(before.plain), now))


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Key paths with their values where two configurations differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield f"{path}: stored {old!r}, now {new!r}"
