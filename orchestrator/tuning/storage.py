"""The Optuna storage of a study: a database, opened after it has been checked, and never MLflow's."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from optuna.exceptions import StorageInternalError

from orchestrator.errors import ConfigError, one_line
from orchestrator.masking import mask_uri, scrub
from orchestrator.tracking.addresses import (
    DEFAULT_PORTS,
    ESCAPE,
    SQLITE,
    dialect,
    host_and_port,
    is_same_database,
    is_sqlite,
    server,
    sqlite_path,
    with_path,
)
from orchestrator.tracking.store import CONNECT_SECONDS
from orchestrator.tuning.study_storage import LOCK_SECONDS, STALE_SECONDS, StudyStorage, waiting
from policies.model.sources import user_path

ATTEMPTS = 5
"""At opening a database in which another process makes the same tables at this moment."""

FILE, JOURNAL = "study.db", "journal.log"
USE_DEFAULT = "leave `storage` out for a SQLite file beside the runs"
FINISH = "finish the study with that version, or give it another name and begin it again"
OURS, MLFLOWS = "studies", "experiments"
"""A table that every database of Optuna's has, and one that every database of MLflow's has."""


def storage_url(configured: str | None, folder: Path) -> str:
    """The database URL of a study; a path is a SQLite file, and None that in the study's folder.

    Raises:
        ConfigError: it is a journal, which earlier versions kept, or no path.
    """
    if configured is None:
        if (folder / JOURNAL).exists() and not (folder / FILE).exists():
            raise ConfigError(
                f"storage: {folder / JOURNAL} has the trials of an earlier version, which this one cannot continue; {FINISH}"
            )
        return f"{SQLITE}{folder / FILE}"
    if "://" not in configured:
        try:
            path = user_path(configured).resolve()
        except ValueError as error:
            raise ConfigError(f"storage: {error}") from error
        return f"{SQLITE}{path}"
    if configured.startswith(SQLITE) and not _names_no_file(configured):
        at_home = configured.replace(f"{SQLITE}~/", f"{SQLITE}{Path.home()}/", 1)
        return with_path(at_home, sqlite_path(at_home))
    return configured


def open_storage(url: str, tracking_uri: str, stale_seconds: int = STALE_SECONDS) -> StudyStorage:
    """An Optuna storage, made where there is none.

    Raises:
        ConfigError: it is MLflow's, of an unknown kind, unreachable, locked, or not Optuna's.
    """
    _refuse_tracking_database(url, tracking_uri)
    _check_database(url, make=True)
    return _open(url, make=True, stale_seconds=stale_seconds)


def find_storage(url: str, tracking_uri: str) -> StudyStorage | None:
    """An Optuna storage to be read only; None where there is none yet.

    Raises:
        ConfigError: as `open_storage`.
    """
    _refuse_tracking_database(url, tracking_uri)
    if is_sqlite(url) and not _names_no_file(url) and not sqlite_path(url).exists():
        return None
    return _open(url, make=False) if OURS in _check_database(url, make=False) else None


def dashboard_hint(url: str) -> str:
    """The command that shows the study in a browser, with what has to be installed first."""
    first = "" if find_spec("optuna_dashboard") else "pip install optuna-dashboard && "
    return f"{first}optuna-dashboard {quote(mask_uri(url))} --host 127.0.0.1"


def storage_failures() -> tuple[type[Exception], ...]:
    """The errors of a database that does not answer."""
    from sqlalchemy.exc import SQLAlchemyError

    return StorageInternalError, SQLAlchemyError


def why(error: BaseException) -> str:
    """The cause of a storage's failure on one line: the driver's words rather than those around them."""
    by_driver = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None)
    return one_line(by_driver or error)


@contextmanager
def answering(path: Path) -> Iterator[None]:
    """A storage that fails while the study of that file uses it gives a sentence instead of a traceback."""
    try:
        yield
    except storage_failures() as error:
        raise ConfigError(
            f"{path}: storage: {why(error)}; check it, and the same command again continues"
        ) from error


def _refuse_tracking_database(url: str, tracking_uri: str) -> None:
    try:
        server(url)
    except ValueError as error:
        raise _refused(url, f"{error}; correct it, or {USE_DEFAULT}") from error
    try:
        is_same = is_same_database(url, tracking_uri)
    except ValueError:  # the tracking URI names no database that could hold both
        is_same = False
    if is_same:
        raise _refused(
            url,
            "is the database of MLflow (tracking.uri); the two overwrite each other's schema version, "
            f"so name another, or {USE_DEFAULT}",
        )


def _check_database(url: str, *, make: bool) -> set[str]:
    """The names of the tables of a database that can be used."""
    tables = _check_sqlite(url, make=make) if is_sqlite(url) else _check_server(url)
    if MLFLOWS in tables:
        raise _refused(
            url, f"is a database of MLflow (it has a table {MLFLOWS!r}); name another, or {USE_DEFAULT}"
        )
    return tables


def _names_no_file(url: str) -> bool:
    return url.rstrip("/") in ("sqlite:", "sqlite") or ":memory:" in url or url.startswith(f"{SQLITE}file:")


def _check_sqlite(url: str, *, make: bool) -> set[str]:
    if not url.startswith(SQLITE) or _names_no_file(url):
        raise _refused(url, "names no file; use `sqlite:////absolute/path/study.db`")
    path = sqlite_path(url)
    if make:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
            raise _refused(url, f"{path.parent} is not a folder that can be written to; name another")
    if not path.exists():
        return set()
    if path.is_dir():
        raise _refused(url, "is a folder; name a file")
    _refuse_journal(url, path)
    address = f"{path.as_uri()}?mode=rw"  # a file that is gone by now is not made
    try:
        with closing(
            sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS, isolation_level=None)
        ) as database:
            # The first fails where the file is locked or cannot be written; to look at it neither matters.
            database.execute("BEGIN IMMEDIATE" if make else "BEGIN")
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            database.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        is_locked = "locked" in str(error)
        remedy = "another command is writing; try again" if is_locked else "make it writable"
        raise _refused(url, f"{error}; {remedy}, or {USE_DEFAULT}") from error
    except sqlite3.Error as error:
        raise _refused(url, f"{error}; name another file, or {USE_DEFAULT}") from error
    if tables and not tables & {OURS, MLFLOWS}:
        raise _refused(url, f"is a database of another program; name another file, or {USE_DEFAULT}")
    return tables


def _refuse_journal(url: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            is_journal = file.read(2) == b'{"'
    except OSError as error:
        raise _refused(url, f"cannot be read: {error.strerror}; name another file") from error
    if is_journal:
        raise _refused(
            url,
            f"is the journal of an earlier version, which this one cannot continue; {FINISH}, in another file",
        )


def _check_server(url: str) -> set[str]:
    import sqlalchemy

    scheme = dialect(url)
    ports = {name: port for name, port in DEFAULT_PORTS.items() if not name.startswith("http")}
    if scheme not in ports:
        known = ", ".join(["a path", "sqlite", *sorted(ports)])
        raise _refused(url, f"unknown scheme {scheme!r}; one of {known}")
    try:
        host, port = host_and_port(url, ports[scheme])
    except ValueError as error:
        raise _refused(url, f"{error}; write it as {scheme}://user@host:port/database, {ESCAPE}") from error
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise _refused(
            url, f"{host}:{port} does not answer ({error}); start the server, or {USE_DEFAULT}"
        ) from error
    try:
        engine = sqlalchemy.create_engine(url, **waiting(url))
        try:
            return set(sqlalchemy.inspect(engine).get_table_names())
        finally:
            engine.dispose()
    except Exception as error:
        raise _unusable(url, error) from error


def _open(url: str, **settings: Any) -> StudyStorage:
    """The storage; two commands that make the same tables at once are tried again until both find them.

    The slower of them meets a table that is there already, or its row with the version of the schema.
    """
    from sqlalchemy.exc import IntegrityError

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return StudyStorage(url, **settings)
        except Exception as error:
            is_made = isinstance(error, IntegrityError) or "already exists" in str(error)
            if attempt == ATTEMPTS or not is_made:
                raise _unusable(url, error) from error
            time.sleep(0.2 * attempt)
    raise AssertionError


def _unusable(url: str, error: Exception) -> ConfigError:
    """The refusal for whatever sqlalchemy, alembic or Optuna raise, with the name of a missing driver."""
    if not isinstance(error, ImportError):
        return _refused(url, f"{one_line(error)}; correct it, or {USE_DEFAULT}")
    cause = error.__cause__ or error.__context__ or error
    driver = getattr(cause, "name", None) or getattr(error, "name", None) or urlsplit(url).scheme
    return _refused(url, f"needs the database driver {driver!r}; install it with pip")


def _refused(url: str, reason: str) -> ConfigError:
    return ConfigError(f"storage: {mask_uri(url)!r}: {scrub(reason, url)}")
