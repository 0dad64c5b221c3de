"""Small files that are never half written, and a full disk that says which file it hit."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_json(path: Path, content: object) -> None:
    """Replace a JSON file as a whole: a reader sees the old or the new one."""
    replace_file(path, json.dumps(content, indent=1, ensure_ascii=False).encode())


def read_json(path: Path) -> Any:
    """Contents of a JSON file.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); delete the file or restore it") from error


def replace_file(path: Path, content: bytes) -> None:
    """Write beside the file, then rename over it; makes the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with naming_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Says of a full disk which file it kept from being written, and what to do."""
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        remedy = "free some space and give the same command again; it continues from the last checkpoint"
        raise OSError(error.errno, f"the disk is full: {remedy}", str(path)) from error


def is_full_disk(error: OSError) -> bool:
    """Whether there was no room left, on the disk or in a user's share of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
