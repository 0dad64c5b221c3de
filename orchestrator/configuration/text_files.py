"""Reads the text of a file that a user names: a regular file of bounded size, in UTF-8."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from orchestrator.errors import ConfigError, named

MOST_BYTES = 1 << 20
"""Largest file that is written by hand; the largest that is shipped has a hundredth of it."""


def read_text(path: Path) -> str:
    """The text of a file; a byte order mark at its beginning is left out.

    Opened without waiting, so that a pipe without a writer does not keep a command for ever.

    Raises:
        ConfigError: it cannot be read, is no regular file, is too large, or is not UTF-8.
    """
    where = named(path)
    try:
        content = _bounded(path)
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}; check the path") from error
    except ValueError as error:  # a path with a NUL, or with what the file system cannot encode
        raise ConfigError(f"{where}: cannot be read: {error}; check the path") from error
    if content is None:
        raise ConfigError(f"{where}: cannot be read: it is no regular file; name a file")
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{where}: must have at most {MOST_BYTES} bytes, got more; give a smaller file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{where}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error


def _bounded(path: Path) -> bytes | None:
    """Its content as far as one byte beyond the bound; None for what is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.read(MOST_BYTES + 1)
