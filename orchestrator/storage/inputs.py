"""Inputs of a run besides its settings, by content: recorded when the run starts, compared when it continues.

A path names a place and not a content.  So each file that a run reads has a digest in ``run.json``.  If a file has
changed by then, the run is refused, or continues if the user accepts the change; the record states it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.masking import mask
from orchestrator.storage.files import read_json, write_json
from policies.model.cache import cache_folder

Inputs = dict[str, dict[str, Any]]
"""Label without credentials, such as ``task.path: data.jsonl``, to ``digest``, and of a file ``bytes`` and ``modified`` too."""

REMEMBERED_BYTES = 2**20
"""Files of this size and more are read once and then known by their place, size and times."""
SETTLED_SECONDS = 2.0
"""A file that has changed within these may change again without another time."""
SHOWN = 3


def read_inputs(sources: Mapping[str, Path | str], code: Mapping[str, Path] | None = None) -> Inputs:
    """Digests of what settings name: a file, every file of a folder, or a text that is a digest by itself.

    ``code`` has files whose keys are their labels: their places do not count.

    Raises:
        ConfigError: a file cannot be read.
    """
    found: Inputs = {}
    digests = _Digests(cache_folder().parent / "digests.json")
    for key, source in sources.items():
        if isinstance(source, str):
            found[mask(key)] = {"digest": source}
            continue
        try:
            for shown, file in _files(source):
                found[mask(f"{key}: {shown}")] = _state(file, digests)
        except OSError as error:
            raise _unreadable(key, source, error) from error
    for key, file in (code or {}).items():
        try:
            found[mask(key)] = _state(file, digests)
        except OSError as error:
            raise _unreadable(key, file, error) from error
    digests.save()
    return found


def _unreadable(key: str, source: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{key}: {source} cannot be read ({error.strerror}); looked for {source.expanduser().absolute()}, "
        "check the path"
    )


def combined(settings: str, inputs: Mapping[str, Mapping[str, Any]] | None) -> str:
    """The fingerprint of a run: of its settings, and of what it read when it began, where it read anything."""
    if not inputs:
        return settings
    content = [settings, *(f"{label}={inputs[label]['digest']}" for label in sorted(inputs))]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]


def now(inputs: Inputs, accepted: Iterable[Mapping[str, Any]]) -> Inputs:
    """What a run reads after some changes were accepted."""
    current = dict(inputs)
    for change in accepted:
        if change["new"] is None:
            current.pop(change["input"], None)
        else:
            current[change["input"]] = change["new"]
    return current


def changes(old: Inputs, new: Inputs, *, learned: bool = False) -> list[dict[str, Any]]:
    """What is not the same, an ``input`` with its ``old`` and ``new`` state each.

    What is not known now is no change; what was not known before, as of a hub that did not answer, is one with
    ``learned``.
    """
    found = []
    for label in [*old, *(label for label in new if label not in old)]:
        before, after = old.get(label), new.get(label)
        digests = [each["digest"] if each else None for each in (before, after)]
        if digests[0] != digests[1] and digests[1] != "" and (learned or digests[0] != ""):
            found.append({"input": label, "old": before, "new": after})
    return found


def said(found: Sequence[Mapping[str, Any]]) -> str:
    """Changes on one line."""
    lines = [f"{each['input']} was {_shown(each['old'])}, is {_shown(each['new'])}" for each in found[:SHOWN]]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "; ".join([*lines, *more])


def _shown(state: Mapping[str, Any] | None) -> str:
    if state is None:
        return "not there"
    kind, _, digits = str(state["digest"]).partition(":")
    text = f"{kind} {digits[:12]}" if digits else kind
    if "bytes" not in state:
        return text
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state["modified"]))
    return f"{text} ({state['bytes']} bytes, of {when})"


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    """The file, or the files of a folder in the order of their names; hidden ones do not count.

    Links to folders are followed, each folder once.
    """
    root = source.expanduser()
    if not root.is_dir():
        yield str(source), root
        return
    seen: set[Path] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if (real := Path(folder).resolve()) in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in sorted(files):
            if not name.startswith("."):
                file = Path(folder, name)
                yield str(source / file.relative_to(root)), file


def _state(file: Path, digests: _Digests) -> dict[str, Any]:
    stat = file.stat()
    return {"digest": digests.of(file, stat), "bytes": stat.st_size, "modified": stat.st_mtime}


class _Digests:
    """Digests of files; those of large ones are remembered for as long as nothing about the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._stored()
        self._learned: dict[str, Any] = {}

    def of(self, file: Path, stat: os.stat_result) -> str:
        """The digest of what is in a file now."""
        place = str(file.resolve())
        key = [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        known = self._known.get(place)
        if stat.st_size >= REMEMBERED_BYTES and isinstance(known, dict) and known.get("key") == key:
            return str(known["digest"])
        begin = time.time()
        with file.open("rb") as content:
            digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
        is_settled = max(stat.st_mtime, stat.st_ctime) < begin - SETTLED_SECONDS
        if stat.st_size >= REMEMBERED_BYTES and is_settled:
            self._learned[place] = {"key": key, "digest": digest}
        return digest

    def save(self) -> None:
        """Keep what was learned; without a place to keep it, it is learned again."""
        if not self._learned:
            return
        # Others may have learned in the meantime.
        kept = {place: known for place, known in self._stored().items() if Path(place).exists()}
        with suppress(OSError):
            write_json(self._path, kept | self._learned)

    def _stored(self) -> dict[str, Any]:
        try:
            content = read_json(self._path)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
