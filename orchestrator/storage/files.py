"""Small files that are never half written, and a full disk that says which file it hit."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from orchestrator.configuration.errors import ConfigError, named, one_line, printable, short

Stored = TypeVar("Stored")

DISK_FULL = "the disk is full"
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def write_json(path: Path, content: object) -> None:
    """Replace a JSON file as a whole: a reader sees the old or the new one."""
    replace_file(path, json.dumps(content, indent=1, ensure_ascii=False).encode())


def read_json(path: Path) -> Any:
    """Contents of a JSON file.

    Raises:
        ConfigError: it is not JSON, or cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{named(path)}: cannot be read ({error.strerror}); restore it") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"{named(path)}: not valid JSON ({one_line(error)}); delete the file or restore it"
        ) from error


def read_record(kind: type[Stored], path: Path, cure: str) -> Stored:
    """A dataclass that was stored as JSON; keys that it does not have, of a later version, are left out.

    Raises:
        ConfigError: the file cannot be read, or holds something else; ``cure`` is what to do then.
    """
    return as_record(kind, read_json(path), f"{named(path)}: not written by Entrostat", cure)


def as_record(kind: type[Stored], content: Any, where: str, cure: str) -> Stored:
    """The dataclass of a mapping, each value of its type.

    Raises:
        ConfigError: ``where``, the key that is wrong, and the cure.
    """
    if not isinstance(content, dict):
        raise ConfigError(f"{where} (it holds {short(content)}); {cure}")
    known = {each.name: content[each.name] for each in fields(cast(Any, kind)) if each.name in content}
    try:
        record: Stored = _adapter(cast(Any, kind)).validate_python(known)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg'].lower()}" for each in error.errors()]
        raise ConfigError(f"{where} ({printable(faults[0])}); {cure}") from error
    return record


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


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
        raise OSError(error.errno, f"{DISK_FULL}: {remedy}", str(path)) from error


def is_full_disk(error: OSError) -> bool:
    """Whether there was no room left, on the disk or in a user's share of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def why_refused(error: OSError) -> str | None:
    """What the file system has refused, and what to do, on one line; None where it is no matter of files."""
    if error.filename is None and not is_full_disk(error):
        return None
    where = f"{named(error.filename)}: " if error.filename is not None else ""
    if is_full_disk(error):
        said = error.strerror or ""
        remedy = (
            said if said.startswith(DISK_FULL) else f"{DISK_FULL}; free some space and give the command again"
        )
        return f"{where}{remedy}"
    remedy = "make it writable, or name another place" if error.errno in _REFUSED else "check the path"
    return f"{where}{error.strerror or one_line(error)}; {remedy}"
