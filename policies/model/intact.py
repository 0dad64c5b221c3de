"""Checksums of a stored policy: a weight that has changed on the disk is detected when it is read.

They are in a file that `sha256sum --check` also reads.  A folder from elsewhere has none, and is read unchecked.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def seal(folder: Path, pattern: str = "*.safetensors") -> None:
    """Write down the checksums of files in a folder: of the weights, since a user may well edit the others."""
    files = sorted(path for path in folder.glob(pattern) if path.is_file() and path.name != SUMS)
    lines = [f"{_digest(path)}  {path.name}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def damage(folder: Path) -> str | None:
    """What of a folder is not what was written there: the first thing; None where nothing is known to be."""
    sums = folder / SUMS
    if not sums.is_file():
        return None
    for line in sums.read_bytes().decode("utf-8", "replace").splitlines():
        entry = _LINE.fullmatch(line)
        if entry is None:
            return f"{SUMS} has a line that is not a checksum: {line[:80]!r}"
        digest, name = entry.groups()
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if _digest(file) != digest:
            return f"{name} is not what was written, by its checksum in {SUMS}"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
