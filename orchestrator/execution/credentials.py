"""How the credentials of a run's settings reach its process: on no disk and on no command line.

``run.json`` has its settings without them.  Whoever starts runs lends the rest to the processes that it starts, in a
variable of the environment; a process that was started otherwise, by torchrun or on a cluster that passes no
environment on, reads the campaign's own file again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.configuration.errors import ConfigError
from orchestrator.masking import leaves, masked
from orchestrator.storage.run_folder import CampaignFolder, RunFolder, RunInfo

VARIABLE = "ENTROSTAT_CREDENTIALS"
ANY_ARM = ""
"""Stands for the arms that have no name in the campaign, such as those of a study's trials."""

Place = tuple[str | int, ...]


@contextmanager
def lent(arms: Mapping[str, Any]) -> Iterator[None]:
    """Let the processes that are started meanwhile have the credentials of some arms, given with their settings."""
    lending = {name: found for name, plain in arms.items() if (found := confidential(plain))}
    before = os.environ.get(VARIABLE)
    if lending:
        os.environ[VARIABLE] = json.dumps(lending)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def confidential(config: Any) -> list[tuple[Place, str]]:
    """The settings that are not stored as they are, each with its place."""
    return [(place, value) for place, value in leaves(config) if masked(value) != value]


def hidden(config: Any) -> list[list[str | int]]:
    """The places of the settings that are not stored as they are."""
    return [list(place) for place, _ in confidential(config)]


def borrowed() -> list[str]:
    """What this process was lent, to be kept out of its log."""
    lending = json.loads(os.environ.get(VARIABLE, "{}"))
    return [value for settings in lending.values() for _, value in settings]


def with_credentials(folder: RunFolder, info: RunInfo) -> RunInfo:
    """What a run is, with its credentials; processes that this one starts are not lent them any more.

    Raises:
        ConfigError: nobody has them.
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
    from orchestrator.tuning.reading import read_study

    try:
        stored = CampaignFolder(folder.path.parents[1]).read_info()
        source = Path(stored.source)
        if "study" in stored.config:
            arms = {info.arm: read_study(source, ()).arm}
        else:
            arms = {arm.name: arm for arm in read_campaign(source).arms}
    except (OSError, ValueError):  # it is not there, or no longer the same
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
