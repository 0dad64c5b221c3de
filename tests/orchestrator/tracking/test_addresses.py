"""The same database under several names is one, and others are others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.tracking.addresses import is_same_database, server, sqlite_path, with_path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sqlite:////a/one.db?timeout=5", "sqlite:////a/one.db"),
        ("sqlite+pysqlite:////a/one.db", "sqlite:////a/b/../one.db"),
        ("sqlite:///file:/a/one.db?mode=rw&uri=true", "/a/one.db"),
        ("postgresql+psycopg2://a:pw@localhost/x", "postgresql://127.0.0.1:5432/x?sslmode=require"),
        ("postgresql://[::1]/x", "postgresql+psycopg://LOCALHOST:5432/x"),
        ("postgresql:///x?host=/var/run/postgresql", "postgres://localhost/x"),
        ("mysql+pymysql://db.example.com/x", "mariadb://DB.example.com:3306/x"),
    ],
)
def test_one_database(one, other):
    assert is_same_database(one, other)
    assert is_same_database(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sqlite:////a/one.db", "sqlite:////a/two.db"),
        ("postgresql://db/x", "postgresql://db/y"),
        ("postgresql://db/x", "postgresql://db:5433/x"),
        ("postgresql://db/x", "mysql://db/x"),
        ("postgresql://db/x", "/x"),
        ("postgresql://db/x", "https://db/x"),
    ],
)
def test_two_databases(one, other):
    assert not is_same_database(one, other)
    assert not is_same_database(other, one)


def test_links_to_a_file_are_the_file(tmp_path):
    (tmp_path / "one.db").touch()
    (tmp_path / "soft.db").symlink_to(tmp_path / "one.db")
    os.link(tmp_path / "one.db", tmp_path / "hard.db")
    for name in ("soft.db", "hard.db"):
        assert is_same_database(f"sqlite:///{tmp_path}/{name}", f"sqlite:///{tmp_path}/one.db")


def test_a_query_stays_with_its_url_and_out_of_its_path():
    assert sqlite_path("sqlite:////a/one.db?timeout=5") == Path("/a/one.db")
    assert with_path("sqlite:///one.db?timeout=5", Path("/a/one.db")) == "sqlite:////a/one.db?timeout=5"


def test_a_tilde_is_a_name_as_it_is_to_mlflow():
    assert sqlite_path("sqlite:///~/one.db") == Path("~/one.db").absolute()


def test_what_is_no_url_is_said():
    assert server("mssql://h/x") == ("h", 1433, "x")
    with pytest.raises(ValueError, match="not-a-port"):
        server("postgresql://h:not-a-port/x")
