"""A checkpoint as a file: written with a checksum at its end, and read only if the checksum is right.

The file is the output of `torch.save`, followed by a line that torch ignores, so `torch.load` reads
it as any other.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from orchestrator.storage.files import naming_full_disk, sync_folder

_SEAL = b"\nentrostat blake2b %s\n"
_SEAL_SIZE = len(_SEAL % bytes(64))
_SEALED = re.compile(rb"\nentrostat blake2b (.{64})\n", re.DOTALL)
_CHUNK = 1 << 20


class DamagedCheckpointError(ValueError):
    """A checkpoint is not what was written, or not one of a run."""


class SealedCheckpoints(TorchCheckpointIO):
    """How Lightning writes a checkpoint: straight into its file, and to the disk; not by way of another folder.

    Lightning's own collects it in memory and writes it to the system's temporary folder first.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: object = None) -> None:
        write_checkpoint(checkpoint, Path(path))


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, its checksum after it, and bring both to the disk.

    Raises:
        OSError: the file cannot be written; half of it may be there.
    """
    with naming_full_disk(path), path.open("wb") as file:
        stream = _Stream(file)
        try:
            torch.save(checkpoint, cast(IO[bytes], stream))
        except Exception as error:
            if stream.failure is not None:  # torch says of it only that its position is unexpected
                raise stream.failure from error
            raise
        file.write(_SEAL % stream.digest.hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a whole checkpoint; its tensors stay on the disk until they are used.

    Raises:
        DamagedCheckpointError: it is not one, or not what was written.
        OSError: it cannot be read.
    """
    _check(path)
    try:
        content = open_checkpoint(path)
        int(content["learner"]["iteration"])
    except (RuntimeError, EOFError, LookupError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise DamagedCheckpointError(f"{path}: not a checkpoint of a run ({_first_line(error)})") from error
    return content


def open_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint that is known to be whole; its tensors stay on the disk until they are used."""
    content: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    return content


def keep(path: Path, second: Path) -> None:
    """Keep a checkpoint under a second name.

    It also stays under the first one, so the last checkpoint is found at any moment, however the
    run was killed, and all ranks find the same one.
    """
    unfinished = second.with_suffix(".unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        try:
            os.link(path, unfinished)
        except OSError:  # a file system without links
            shutil.copyfile(path, unfinished)
        unfinished.replace(second)
        sync_folder(second.parent)
    finally:  # half a copy; or left, where both names have been the same file before
        unfinished.unlink(missing_ok=True)


class _Stream:
    """What `torch.save` writes to: takes the checksum along, and keeps the error of the disk."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = _hash()
        self.failure: OSError | None = None
        self._file = file

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def flush(self) -> None:
        self._file.flush()


def digest_of(path: Path) -> str:
    """The checksum of any file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _hash).hexdigest()


def _check(path: Path) -> None:
    with path.open("rb") as file:
        size = max(0, file.seek(0, os.SEEK_END) - _SEAL_SIZE)
        file.seek(size)
        sealed = _SEALED.fullmatch(file.read())
        file.seek(0)
        digest = _hash()
        while sealed and size and (chunk := file.read(min(size, _CHUNK))):
            digest.update(chunk)
            size -= len(chunk)
    if sealed is None:
        _check_archive(path)
    elif digest.hexdigest().encode() != sealed[1]:
        raise DamagedCheckpointError(f"{path}: is not what was written, by its checksum")


def _check_archive(path: Path) -> None:
    """A checkpoint without our checksum, of an earlier version, has those of its parts."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise DamagedCheckpointError(f"{path}: not a checkpoint of a run ({_first_line(error)})") from error
    if broken is not None:
        raise DamagedCheckpointError(f"{path}: is not what was written, by the checksum of {broken}")


def _hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=32)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
