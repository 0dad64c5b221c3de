"""Checks before the work whether the files that a user names can be written, and says so in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import ConfigError, named
from orchestrator.storage.files import beside, is_full_disk


def require_writable(path: Path, option: str) -> None:
    """Make sure, by trying it, that a file can be put there; nothing stays behind.

    Args:
        path: of the file, in a folder that exists.
        option: by which the user has named it, for the message.

    Raises:
        ConfigError: it cannot, or something that is no file is there.
    """
    with naming_output(path, option):
        folder = path.absolute().parent
        if not folder.is_dir():
            raise ConfigError(f"{option} {named(path)}: there is no folder {named(folder)}; make it first")
        if path.exists() and not path.is_file():  # a device too would be replaced, if permissions allow
            what = "a folder" if path.is_dir() else "no file"
            raise ConfigError(f"{option} {named(path)} is {what}; name a file")
        require_name(path, option)
        with beside(path):
            pass


def require_name(path: Path, option: str) -> None:
    """Make sure that a path names a file, whether or not that can be there.

    Raises:
        ConfigError: it is the root, empty, or of characters that no file has.
    """
    if not path.name or "\0" in str(path):
        raise ConfigError(f"{option} {named(path)}: names no file; name one")


@contextmanager
def naming_output(path: Path, option: str) -> Iterator[None]:
    """Says of a file that cannot be written which it is and what to do.

    Raises:
        ConfigError: in the place of any error of the file system.
    """
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:  # a NUL, or what the file system cannot encode
        raise ConfigError(f"{option} {named(path)}: {error}; name a file elsewhere") from error
    except OSError as error:
        # What is said of a run's files does not fit here.
        reason = "the disk is full" if is_full_disk(error) else error.strerror or error
        raise ConfigError(
            f"{option} {named(path)}: cannot be written ({reason}); name a file elsewhere"
        ) from error
