"""A journal file as an Optuna storage: what is wrong with the file is said as of any other storage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock


class Journal(JournalFileBackend):  # type: ignore[misc]
    """Optuna's, with the one kind of error that its databases have too.

    Raises:
        StorageInternalError: the file cannot be read or written, or holds something else by now.
    """

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        with _as_storage_error(self._file_path):
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _as_storage_error(self._file_path):
            super().append_logs(logs)


def open_journal(path: Path, *, mend: bool = True) -> Any:
    """The storage of a journal file that is there; to be written to, it has to be mended first.

    Raises:
        ValueError, KeyError, AssertionError: its lines are none of Optuna's.
        StorageInternalError: they cannot be read.
    """
    if mend:
        _remove_torn_line(path, JournalFileSymlinkLock(str(path)))
    return JournalStorage(Journal(str(path)))


def _remove_torn_line(path: Path, lock: Any) -> None:
    """What a worker that was killed in the middle of a line has left; the next line would be unreadable."""
    with path.open("rb") as file:
        if not _is_torn(file):
            return
    lock.acquire()
    try:
        with path.open("r+b") as file:
            if _is_torn(file):
                file.seek(0)
                content = file.read()
                os.ftruncate(file.fileno(), content.rfind(b"\n") + 1)
    finally:
        lock.release()


def _is_torn(file: Any) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) != b"\n")


@contextmanager
def _as_storage_error(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageInternalError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise StorageInternalError(f"{path}: is no journal of Optuna's any more ({error})") from error
