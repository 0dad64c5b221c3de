"""Writes small files completely or not at all, and names the file when the disk is full.

One rule holds for every stored file: it is written under another name in the same folder, flushed to the
disk, and renamed.  A reader sees the old file or the new one, also after a kill or a loss of power.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import ConfigError, named, one_line, printable, short

Stored = TypeVar("Stored")

UNFINISHED = ".unfinished"
"""How the names of files and folders end that are being written."""

DISK_FULL = "the disk is full"
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)

_numbers = itertools.count()


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
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of another when this block is left in good order; makes the folder."""
    with naming_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_unfinished(path.parent, path.name)
        with beside(path) as (file, temporary):
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)


@contextmanager
def beside(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file of another name in the same folder, and the name; it is gone at the end unless it was renamed.

    It is locked while it is written, which tells it from what a killed process has left.
    """
    file, temporary = _open_beside(path)
    try:
        with file:
            yield file, temporary
    finally:
        temporary.unlink(missing_ok=True)


def clear_unfinished(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes have left half written in a folder; of one file, or of all of them."""
    pattern = "*" if name is None else glob.escape(name)
    for path in folder.glob(f".{pattern}.*{UNFINISHED}"):
        with suppress(OSError), path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where somebody is at it
            path.unlink()


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of another when this block is left in good order.

    Two folders cannot be exchanged at once everywhere: for a moment there may be none.  One process at a time.
    """
    unfinished, old = (path.with_name(f"{path.name}{end}") for end in (UNFINISHED, f".old{UNFINISHED}"))
    with naming_full_disk(path):
        try:
            clear_unfinished_folder(path)
            unfinished.mkdir(parents=True)
            yield unfinished
            _sync_tree(unfinished)
            if path.exists():
                path.rename(old)
            unfinished.rename(path)
            sync_folder(path.parent)
        finally:
            clear_unfinished_folder(path)


def clear_unfinished_folder(path: Path) -> None:
    """Remove what a killed `replacing_folder` has left."""
    for end in (UNFINISHED, f".old{UNFINISHED}"):
        shutil.rmtree(path.with_name(f"{path.name}{end}"), ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, as far as its file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


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


def _open_beside(path: Path) -> tuple[BinaryIO, Path]:
    for number in _numbers:  # no name twice: who is done with one removes it
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{number}{UNFINISHED}")
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:  # of another thread, or of another machine
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:  # else it was taken for a leftover before it was locked
            break
        os.close(descriptor)
    return os.fdopen(descriptor, "wb"), temporary


def _sync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(root, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(root))


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
