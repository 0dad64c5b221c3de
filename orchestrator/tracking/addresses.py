"""Finds the database that a URL names, in any spelling: MLflow's and Optuna's must differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.masking import credentials

SQLITE = "sqlite:///"
DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
THIS_MACHINE = ("", "localhost", "127.0.0.1", "::1", "0.0.0.0")  # nosec B104  # compared with, never bound
ESCAPE = "with / @ : # ? % in a password as %2F %40 %3A %23 %3F %25"
_DIALECTS = {"postgres": "postgresql", "mariadb": "mysql"}


def is_sqlite(url: str) -> bool:
    """Whether a URL names a SQLite file, through whatever driver."""
    return dialect(url) == "sqlite"


def dialect(url: str) -> str:
    """Kind of database: the scheme of a URL without its driver."""
    scheme = url.partition("://")[0].partition("+")[0].lower()
    return _DIALECTS.get(scheme, scheme)


def scheme(url: str) -> str:
    """The scheme of a URL without its driver, as it is written; "" for a path."""
    return urlsplit(url).scheme.partition("+")[0]


def sqlite_path(url: str) -> Path:
    """The file of a SQLite URL, without its query."""
    return Path((_parsed(url).database or "").removeprefix("file:")).resolve()


def with_path(url: str, path: Path) -> str:
    """The same SQLite URL, query and all, with another file."""
    return str(_parsed(url).set(database=str(path)).render_as_string(hide_password=False))


def is_same_database(one: str, other: str) -> bool:
    """Whether two URLs, or paths of files, lead to the same database.

    Users, passwords, drivers and queries make no difference, nor do symbolic links, the several names of
    this machine and a port that is the default anyway.
    """
    files = [_file(each) for each in (one, other)]
    if files[0] is not None and files[1] is not None:
        return files[0] == files[1] or (
            files[0].exists() and files[1].exists() and files[0].samefile(files[1])
        )
    return files == [None, None] and server(one) == server(other)


def server(url: str) -> tuple[str, int | None, str]:
    """Host, port and database of a URL.

    Raises:
        ValueError: it is not one.
    """
    parts = _parsed(url)
    host, port = parts.host or _one(parts.query.get("host")), parts.port or _one(parts.query.get("port"))
    name = host.lower().rstrip(".")
    is_local = name in THIS_MACHINE or name.startswith("/")  # a folder has the server's socket
    return (
        "localhost" if is_local else name,
        int(port) if port else DEFAULT_PORTS.get(dialect(url)),
        (parts.database or "").rstrip("/"),
    )


def host_and_port(uri: str, default_port: int) -> tuple[str, int]:
    """Host and port of a server.

    Raises:
        ValueError: it is no address; nothing of its password is in the message.
    """
    try:
        if dialect(uri) in ("http", "https"):
            address = urlsplit(uri)
            host, port = address.hostname or "", address.port
        else:
            parts = _parsed(uri)
            host, port = parts.host or "", parts.port
    except ValueError as error:
        # The error that says which piece of an address is wrong may contain a piece of its password.
        raise ValueError("is no address of a server" if credentials(uri) else str(error)) from error
    return host, port or default_port


def _file(url: str) -> Path | None:
    """The file that is named; None for a server."""
    if "://" not in url:
        try:
            return Path(url).expanduser().resolve()
        except (RuntimeError, OSError) as error:
            raise ValueError(f"{url[:60]!r} cannot be looked for ({error}); correct the path") from error
    return sqlite_path(url) if is_sqlite(url) else None


def _one(value: Any) -> str:
    """The first of a query's values."""
    return (value if isinstance(value, str) else value[0]) if value else ""


def _parsed(url: str) -> Any:
    from sqlalchemy.engine import make_url  # a tenth of a second
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except ArgumentError as error:
        raise ValueError(" ".join(str(error).split())) from error
