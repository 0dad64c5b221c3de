"""Compares the configuration of a stored run with an arm as it is now, or with that of another stored run.

A stored configuration lacks the settings that came after it.  Read by today's classes it has their defaults, which
keep what a run did before them, so it is the same configuration.

It names code of a user's own where that lay.  The same file in another folder is the same code, as in a fingerprint:
what it holds is compared with the inputs of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.own_paths import moved
from orchestrator.configuration.part_schema import to_plain
from orchestrator.configuration.resolve import Arm
from orchestrator.errors import ConfigError
from orchestrator.masking import masked


def differing_keys(stored: dict[str, Any], arm: Arm) -> list[str]:
    """Keys, with both values, where a stored configuration decides another result than the arm; none if it is the same.

    Args:
        stored: the configuration in a `RunInfo`, without credentials.
        arm: as its campaign says now.
    """
    before = as_of_today(stored, arm)
    if before is None:
        return list(differences(stored, masked(arm.plain))) or ["the format of the configuration"]
    if before.fingerprint == arm.fingerprint:
        return []
    return list(differences(masked(before.plain), masked(arm.plain)))


def differing_settings(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Keys, with both values, where two stored configurations differ; none if they are the same."""
    if before == after:
        return []
    return list(differences(*(masked(_settings_of_today(each)) for each in (before, after))))


def _settings_of_today(stored: dict[str, Any]) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = to_plain(RunConfig(**stored))
    except (
        ValidationError,
        ConfigError,
    ):  # a setting or a kind that there is no more, or code that is not here
        return stored
    return settings


def stored_timing(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What `RunConfig.timing` is for a stored configuration, which may be of before there were such settings."""
    rollout, learner = (stored.get(section) or {} for section in ("rollout", "learner"))
    return {
        "ahead": int(rollout.get("ahead", 0)),
        "measure": learner.get("measure", "before_update"),
    }


def as_of_today(stored: dict[str, Any], arm: Arm) -> Arm | None:
    """The arm as it is stored, read by today's classes; None where these cannot read it.

    Args:
        stored: the configuration in a `RunInfo`, without credentials.
        arm: as its campaign says now, which tells where code of a user's own lies now.
    """
    try:
        return replace(arm, config=RunConfig(**moved(stored, arm.plain)))
    except (ValidationError, ConfigError):  # a setting, a kind or code that there is no more
        return None


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Key paths with their values where two configurations differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield f"{path}: stored {old!r}, now {new!r}"
