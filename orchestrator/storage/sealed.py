"""Facts with a checksum, for files that decide how a run continues; the checksum detects a changed digit.

A file of an earlier version has no checksum and is accepted without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.storage.files import read_json, write_json

SEAL = "checksum"


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file as a whole, with a checksum beside its facts."""
    write_json(path, {**content, SEAL: _checksum("", content)})


def read_sealed(path: Path) -> dict[str, Any]:
    """The facts in such a file.

    Raises:
        ValueError: it is not JSON, or not what was written.
    """
    stored = read_json(path)
    if not isinstance(stored, dict) or first_broken([stored]) is not None:
        raise ValueError(f"{path}: is not what was written, by its checksum; restore it from a copy")
    facts: dict[str, Any] = without_seal(stored)
    return facts


def without_seal(entry: Any) -> Any:
    """The facts of an entry; what is no mapping has no seal and stays as it is."""
    if not isinstance(entry, Mapping):
        return entry
    return {name: value for name, value in entry.items() if name != SEAL}


def chained(entries: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each entry with a checksum over itself and the one before, so that none can be lost between two others."""
    before = ""
    for entry in entries:
        before = _checksum(before, entry)
        yield {**entry, SEAL: before}


def first_broken(entries: Iterable[Mapping[str, Any]]) -> int | None:
    """The break of a chain: the number, from 0, of the first entry that is not as it was written."""
    before = ""
    for number, entry in enumerate(entries):
        if SEAL not in entry:
            continue
        before = _checksum(before, without_seal(entry))
        if before != entry[SEAL]:
            return number
    return None


def _checksum(before: str, content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(f"{before} {text}".encode(), digest_size=8).hexdigest()
