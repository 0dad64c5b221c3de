"""The Optuna storage of a study: opened after it has been checked, and never MLflow's database."""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

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
from policies.model.sources import user_path

LOCK_SECONDS = 60.0
"""How long a write waits for other workers at a SQLite file."""

JOURNAL = "journal.log"
USE_JOURNAL = "leave `storage` out for a journal file beside the runs"
OURS, MLFLOWS = "studies", "experiments"
"""A table that every database of Optuna's has, and one that every database of MLflow's has."""


def storage_url(configured: str | None, folder: Path) -> str:
    """What Optuna's tools take: a database URL, or the absolute path of a journal file."""
    if configured is None:
        return str(folder / JOURNAL)
    if "://" not in configured:
        try:
            return str(user_path(configured).resolve())
        except ValueError as error:
            raise ConfigError(f"storage: {error}") from error
    if configured.startswith(SQLITE) and not _names_no_file(configured):
        at_home = configured.replace(f"{SQLITE}~/", f"{SQLITE}{Path.home()}/", 1)
        return with_path(at_home, sqlite_path(at_home))
    return configured


def open_storage(url: str, tracking_uri: str) -> Any:
    """An Optuna storage, made where there is none.

    Raises:
        ConfigError: it is MLflow's, of an unknown kind, unreachable, locked, or not Optuna's.
    """
    _refuse_tracking_database(url, tracking_uri)
    if "://" not in url:
        return _open_journal(Path(url))
    _check_database(url)
    return _open_database(url)


def find_storage(url: str, tracking_uri: str) -> Any:
    """The same without making anything; None where there is none yet.

    Raises:
        ConfigError: as `open_storage`.
    """
    _refuse_tracking_database(url, tracking_uri)
    if "://" not in url:
        path = Path(url)
        is_there = path.is_dir() or (path.exists() and path.stat().st_size)
        return _open_journal(path, make=False) if is_there else None
    if is_sqlite(url) and not _names_no_file(url) and not sqlite_path(url).exists():
        return None
    return _open_database(url, make=False) if OURS in _check_database(url) else None


def dashboard_hint(url: str) -> str:
    """What a user types to look at the study."""
    first = "" if find_spec("optuna_dashboard") else "pip install optuna-dashboard && "
    return f"{first}optuna-dashboard {quote(mask_uri(url))} --host 127.0.0.1"


def _refuse_tracking_database(url: str, tracking_uri: str) -> None:
    if "://" in url:
        try:
            server(url)
        except ValueError as error:
            raise _refused(url, f"{error}; correct it, or {USE_JOURNAL}") from error
    try:
        is_same = is_same_database(url, tracking_uri)
    except ValueError:  # the tracking URI is of no database that could hold both
        is_same = False
    if is_same:
        raise _refused(
            url,
            "is the database of MLflow (tracking.uri); the two overwrite each other's schema version, "
            f"so name another, or {USE_JOURNAL}",
        )


def _open_journal(path: Path, *, make: bool = True) -> Any:
    from optuna.exceptions import StorageInternalError

    from orchestrator.tuning.journal import open_journal

    if path.is_dir():
        raise _refused(str(path), "is a folder; name a file")
    try:
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        use = "written" if make else "read"
        raise _refused(str(path), f"cannot be {use}: {error.strerror}; name another file") from error
    if head and not head.startswith(b'{"'):
        raise _refused(str(path), f"is not a journal of Optuna's; name another file, or {USE_JOURNAL}")
    try:
        return open_journal(path, mend=make)
    except (ValueError, KeyError, AssertionError, StorageInternalError) as error:
        raise _refused(
            str(path), f"is not a journal of Optuna's ({one_line(error)}); name another file"
        ) from error


def _check_database(url: str) -> set[str]:
    """Make sure that it can be used; give the names of its tables."""
    tables = _check_sqlite(url) if is_sqlite(url) else _check_server(url)
    if MLFLOWS in tables:
        raise _refused(
            url, f"is a database of MLflow (it has a table {MLFLOWS!r}); name another, or {USE_JOURNAL}"
        )
    return tables


def _names_no_file(url: str) -> bool:
    return url.rstrip("/") in ("sqlite:", "sqlite") or ":memory:" in url or url.startswith(f"{SQLITE}file:")


def _check_sqlite(url: str) -> set[str]:
    if not url.startswith(SQLITE) or _names_no_file(url):
        raise _refused(url, "names no file; use `sqlite:////absolute/path/study.db`")
    path = sqlite_path(url)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise _refused(url, f"{path.parent} is not a folder that can be written to; name another")
    if not path.exists():
        return set()
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
    if tables and not tables & {OURS, MLFLOWS}:
        raise _refused(url, f"is a database of another program; name another file, or {USE_JOURNAL}")
    return tables


def _check_server(url: str) -> set[str]:
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
            url, f"{host}:{port} does not answer ({error}); start the server, or {USE_JOURNAL}"
        ) from error
    return _tables(url)


def _tables(url: str) -> set[str]:
    """Names of a server's tables, before anything of Optuna's is among them."""
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(url)
        try:
            return set(sqlalchemy.inspect(engine).get_table_names())
        finally:
            engine.dispose()
    except Exception as error:
        raise _unusable(url, error) from error


def _open_database(url: str, *, make: bool = True) -> Any:
    from optuna.storages import RDBStorage

    engine: dict[str, Any] = {"connect_args": {"timeout": LOCK_SECONDS}} if is_sqlite(url) else {}
    try:
        return RDBStorage(url, engine_kwargs=engine, skip_table_creation=not make)
    except Exception as error:
        raise _unusable(url, error) from error


def _unusable(url: str, error: Exception) -> ConfigError:
    """Whatever sqlalchemy, alembic or Optuna raise of a database means the same, but for a missing driver."""
    if not isinstance(error, ImportError):
        return _refused(url, f"{one_line(error)}; correct it, or {USE_JOURNAL}")
    cause = error.__cause__ or error.__context__ or error
    driver = getattr(cause, "name", None) or getattr(error, "name", None) or urlsplit(url).scheme
    return _refused(url, f"needs the database driver {driver!r}; install it with pip")


def _refused(url: str, why: str) -> ConfigError:
    return ConfigError(f"storage: {mask_uri(url)!r}: {scrub(why, url)}")
