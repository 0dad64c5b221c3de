"""Restores a run's credentials, which its folder lacks: from the environment, or from the campaign's file."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.execution.credentials import ANY_ARM, VARIABLE, Place
from orchestrator.masking import leaves, masked
from orchestrator.storage.run_folder import CampaignFolder, RunFolder, RunInfo


def with_credentials(folder: RunFolder, info: RunInfo) -> RunInfo:
    """The settings of a run with its credentials; processes that this one starts no longer receive them.

    Raises:
        ConfigError: they cannot be found.
    """
    lending = json.loads(os.environ.pop(VARIABLE, "{}"))
    missing = {tuple(place) for place in info.hidden}
    given = {tuple(place): value for place, value in lending.get(info.arm) or lending.get(ANY_ARM, ())}
    if missing - given.keys():
        given = _read_again(folder, info)
    if lacking := missing - given.keys():
        keys = ", ".join(sorted(".".join(map(str, place)) for place in lacking))
        raise ConfigError(
            f"{folder.path / 'run.json'}: {keys}: stored without credentials, and neither the process that started "
            "this one nor the campaign's file has them as they were; give the command that began the campaign again"
        )
    return replace(info, config=_with(info.config, {place: given[place] for place in missing}))


def _read_again(folder: RunFolder, info: RunInfo) -> dict[Place, str]:
    """The settings of the run's arm that stand in the file of its campaign or study as they are stored."""
    from orchestrator.configuration.resolve import read_campaign
    from orchestrator.configuration.yaml_files import dotted, read_yaml

    try:
        stored = CampaignFolder(folder.path.parents[1]).read_info()
        source = Path(stored.source)
        if "study" in stored.config:
            study = read_yaml(source, ())
            campaign = read_campaign(source.parent / study["campaign"], list(dotted(study.get("over", {}))))
            named = {arm.name: arm for arm in campaign.arms}
            arms = {info.arm: named[study["arm"]]}  # a trial has a name of its own
        else:
            arms = {arm.name: arm for arm in read_campaign(source).arms}
    except (OSError, ValueError, KeyError):  # it is not there, or no longer the same
        return {}
    found = leaves(arms[info.arm].plain) if info.arm in arms else ()
    stored_as = dict(leaves(info.config))
    return {place: value for place, value in found if masked(value) == stored_as.get(place)}


def _with(content: Any, values: dict[Place, str]) -> Any:
    """The same content with other values at some places."""
    if () in values:
        return values[()]
    if isinstance(content, dict):
        return {key: _with(item, _below(key, values)) for key, item in content.items()}
    if isinstance(content, list):
        return [_with(item, _below(place, values)) for place, item in enumerate(content)]
    return content


def _below(key: str | int, values: dict[Place, str]) -> dict[Place, str]:
    return {place[1:]: value for place, value in values.items() if place[:1] == (key,)}
