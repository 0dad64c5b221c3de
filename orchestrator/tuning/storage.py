"""The Optuna storage of a study: opened after it has been checked, and never MLflow's database."""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.configuration.errors import ConfigError
from orchestrator.tracking.store import CONNECT_SECONDS, DEFAULT_PORTS, SQLITE, mask

LOCK_SECONDS = 60.0
"""How long a write waits for other workers at a SQLite file."""

JOURNAL = "journal.log"
USE_JOURNAL = "leave `storage` out for a journal file beside the runs"


def storage_url(configured: str | None, folder: Path) -> str:
    """What Optuna's tools take: a database URL, or the absolute path of a journal file."""
    if configured is None:
        return str(folder / JOURNAL)
    if "://" not in configured:
        return str(Path(configured).expanduser().resolve())
    if configured.startswith(SQLITE):
        return f"{SQLITE}{_sqlite_path(configured)}"
    return configured


def open_storage(url: str, tracking_uri: str) -> Any:
    """An Optuna storage.

    Raises:
        ConfigError: it is MLflow's, of an unknown kind, unreachable, locked, or not Optuna's.
    """
    _refuse_tracking_database(url, tracking_uri)
    if "://" not in url:
        return _open_journal(Path(url))
    if url.startswith(SQLITE):
        _check_sqlite(url)
    else:
        _check_server(url)
    try:
        return _open_database(url)
    except ConfigError:
        raise
    except Exception as error:  # of sqlalchemy, alembic, a missing driver: all mean the same
        raise _refused(url, f"{_one_line(error)}; correct it, or {USE_JOURNAL}") from error


def dashboard_hint(url: str) -> str:
    """What a user types to look at the study."""
    return f"optuna-dashboard {mask(url)} --host 127.0.0.1"


def _refuse_tracking_database(url: str, tracking_uri: str) -> None:
    same = url == tracking_uri
    if tracking_uri.startswith(SQLITE):
        tracked = _sqlite_path(tracking_uri)
        same = same or tracked == (_sqlite_path(url) if url.startswith(SQLITE) else Path(url))
    elif "://" in url:
        same = same or _address(url) == _address(tracking_uri)
    if same:
        raise _refused(
            url,
            "is the database of MLflow (tracking.uri); the two overwrite each other's schema version, "
            f"so name another, or {USE_JOURNAL}",
        )


def _address(url: str) -> tuple[str | None, int | None, str]:
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    return parts.hostname, parts.port or DEFAULT_PORTS.get(scheme), parts.path


def _open_journal(path: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    if path.is_dir():
        raise _refused(str(path), "is a folder; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise _refused(str(path), f"cannot be written: {error.strerror}; name another file") from error
    if head and not head.startswith(b'{"'):
        raise _refused(str(path), f"is not a journal of Optuna's; name another file, or {USE_JOURNAL}")
    _remove_torn_line(path, JournalFileSymlinkLock(str(path)))
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError, AssertionError) as error:
        raise _refused(
            str(path), f"is not a journal of Optuna's ({_one_line(error)}); name another file"
        ) from error


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


def _sqlite_path(url: str) -> Path:
    return Path(url.removeprefix(SQLITE)).expanduser().resolve()


def _check_sqlite(url: str) -> None:
    path = _sqlite_path(url)
    if url == SQLITE or ":memory:" in url:
        raise _refused(url, "names no file; use `sqlite:////absolute/path/study.db`")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise _refused(url, f"{path.parent} is not a folder that can be written to; name another")
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=CONNECT_SECONDS, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")  # fails where the file is locked or cannot be written
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            database.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        remedy = "end the process that holds it" if "locked" in str(error) else "make it writable"
        raise _refused(url, f"{error}; {remedy}, or {USE_JOURNAL}") from error
    except sqlite3.Error as error:
        raise _refused(url, f"{error}; name another file, or {USE_JOURNAL}") from error
    if tables and "studies" not in tables:
        whose = "of MLflow" if "experiments" in tables else "of another program"
        raise _refused(url, f"is a database {whose}; name another file, or {USE_JOURNAL}")


def _check_server(url: str) -> None:
    scheme = urlsplit(url).scheme.partition("+")[0]
    ports = {name: port for name, port in DEFAULT_PORTS.items() if not name.startswith("http")}
    if scheme not in ports:
        known = ", ".join(["a path", "sqlite", *sorted(ports)])
        raise _refused(url, f"unknown scheme {scheme!r}; one of {known}")
    try:
        address = urlsplit(url)
        host, port = address.hostname or "", address.port or ports[scheme]
    except ValueError as error:
        raise _refused(url, f"{error}; write it as {scheme}://user@host:port/database") from error
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise _refused(
            url, f"{host}:{port} does not answer ({error}); start the server, or {USE_JOURNAL}"
        ) from error


def _open_database(url: str) -> Any:
    from optuna.storages import RDBStorage

    engine: dict[str, Any] = {"connect_args": {"timeout": LOCK_SECONDS}} if url.startswith(SQLITE) else {}
    try:
        return RDBStorage(url, engine_kwargs=engine)
    except ImportError as error:
        cause = error.__cause__ or error.__context__ or error
        driver = getattr(cause, "name", None) or urlsplit(url).scheme
        raise _refused(url, f"needs the database driver {driver!r}; install it with pip") from error


def _refused(url: str, why: str) -> ConfigError:
    return ConfigError(f"storage: {mask(url)!r}: {why}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
