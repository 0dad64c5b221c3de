"""What a run is at, to be looked at: ``activity.json`` of its folder, such as a warm start, 120 of 700.

It decides nothing and a run never waits for it: it is not brought to the disk, and a write that fails is left out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

EVERY_SECONDS = 0.5
"""Least time between two writes of one activity's count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One phase of the work on a run; ``total`` is 0 where nothing is counted."""

    name: str
    done: int = 0
    total: int = 0
    share: float | None = None
    """How much is done of the one that is being done; None where that is not known."""

    def __str__(self) -> str:
        counted = f"{self.name} {self.done}/{self.total}" if self.total else self.name
        return counted if self.share is None else f"{counted} {self.share:.0%}"


Tell = Callable[[Activity], None]
"""Told what a run is at."""


def keep_silent(_: Activity) -> None:
    """What a rank does that does not write."""


class ActivityFile:
    """Writes what a run is at; every new activity at once, its count now and then."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "activity.json"
        self._name = ""
        self._next = 0.0

    def __call__(self, activity: Activity) -> None:
        now = time.monotonic()
        if activity.name == self._name and now < self._next:
            return
        self._name, self._next = activity.name, now + EVERY_SECONDS
        half = self._path.with_suffix(".new")
        with suppress(OSError):
            half.write_text(json.dumps(asdict(activity)), encoding="utf-8")
            half.replace(self._path)


def read_activity(folder: Path) -> Activity | None:
    """What a run was at last; None where it has never said."""
    try:
        return Activity(**json.loads((folder / "activity.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
