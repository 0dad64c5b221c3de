"""The folders that graders may write to: one for each worker, and none is left behind.

The folders of a pool lie in one of the system's temporary folder that the pool keeps locked.  The
kernel opens the lock when the process ends, however it ends, so the next pool on the machine sees
which folders are left over, and removes them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "entrostat-graders-"


class Scratch:
    """A locked folder.  ``fresh`` gives a new one within; ``close`` removes all."""

    def __init__(self) -> None:
        remove_left_over()
        self._path, self._lock = _locked_folder()

    @property
    def path(self) -> Path:
        return self._path

    def fresh(self) -> str:
        """A new empty folder.

        Raises:
            OSError: the temporary folder of the system is full or gone.
        """
        return tempfile.mkdtemp(dir=self._path)

    def close(self) -> None:
        """Remove everything; closing twice does no harm."""
        remove(self._path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove(path: str | Path) -> None:
    """Remove a folder with all that is in it, as far as the system lets us."""
    shutil.rmtree(path, ignore_errors=True)


def empty(path: str) -> None:
    """Remove what is in a folder; quick where that is nothing."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                remove(entry.path)
            else:
                with suppress(OSError):
                    Path(entry.path).unlink()


def remove_left_over() -> None:
    """Remove the folders of pools whose process was killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # of another user, or gone meanwhile
            lock = _lock(path)
            remove(path)
            os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    try:
        while True:
            path = Path(tempfile.mkdtemp(prefix=PREFIX))
            try:
                lock = _lock(path)
            except (FileNotFoundError, BlockingIOError):  # another pool takes it for a left-over one
                continue
            if path.exists():  # as above, and it was removed before this lock
                return path, lock
            os.close(lock)
    except OSError as error:
        raise RuntimeError(
            f"the graders need a scratch folder, and there is none ({error}); "
            "set TMPDIR to a folder that can be written"
        ) from error


def _lock(path: Path) -> int:
    """Lock a folder.  Raises OSError where that does not work at once."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
