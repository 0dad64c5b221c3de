"""Caches policies: each is built once, by the first process that needs it, completely or not at all."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from policies.model.intact import damage, seal

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The folder of cached policies: ``$ENTROSTAT_CACHE``, else one in the user's cache folder."""
    root = os.environ.get("ENTROSTAT_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME", "~/.cache"), "entrostat"
    )
    return Path(root).expanduser() / "policies"


def made_once(key: str, make: Callable[[Path], None]) -> Path:
    """The model folder of ``key``; where there is none yet, ``make`` writes it.

    ``key`` must hold everything that decides what is made.  Runs that start together make it once; what a
    killed one left half made, and what the disk has changed since, is not used but made again.
    """
    folder = cache_folder() / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if is_there := (folder / "config.json").is_file():
            broken = damage(folder)
            if broken is not None:
                log.warning("%s: %s; it is made again", folder, broken)
            is_there = broken is None
        if not is_there:
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            seal(unfinished, "*")
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.rename(folder)
    return folder
