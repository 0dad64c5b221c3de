"""Passes the credentials of a run's settings to its process, on no disk and on no command line.

``run.json`` has the settings without credentials.  The process that starts runs passes the rest to them in a
variable of the environment.  A process that was started otherwise, by torchrun or on a cluster that passes no
environment on, reads the campaign's own file again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.masking import leaves, masked

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
    """The places of the settings that are not stored as they are.

    Raises:
        ConfigError: one has a credential in its own name, by which it could not be found again.
    """
    for place, _ in leaves(config):
        if masked(place) != list(place):
            raise ConfigError(
                f"{'.'.join(map(str, masked(place)))}: the name of a setting has a credential in it, which is not stored; "
                "put it in the value"
            )
    return [list(place) for place, _ in confidential(config)]


def borrowed() -> list[str]:
    """What this process was lent, to be kept out of its log."""
    lending = json.loads(os.environ.get(VARIABLE, "{}"))
    return [value for settings in lending.values() for _, value in settings]
