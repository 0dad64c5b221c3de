"""Storages that are refused, and why; those that work."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from orchestrator.errors import ConfigError
from orchestrator.tuning import storage
from orchestrator.tuning.storage import dashboard_hint, find_storage, open_storage, storage_url

TRACKING = "sqlite:////nowhere/mlflow.db"


def refusal(url, tracking=TRACKING):
    with pytest.raises(ConfigError) as caught:
        open_storage(str(url), tracking)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_default_is_a_journal_beside_the_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage_url(None, tmp_path / "runs" / "gains") == str(tmp_path / "runs" / "gains" / "journal.log")
    assert storage_url("a.log", tmp_path) == str(tmp_path / "a.log")
    assert storage_url("sqlite:///a.db", tmp_path) == f"sqlite:///{tmp_path / 'a.db'}"
    assert storage_url("sqlite:///~/a.db?timeout=5", tmp_path) == f"sqlite:///{Path.home()}/a.db?timeout=5"
    assert storage_url("postgresql://h/d", tmp_path) == "postgresql://h/d"


@pytest.mark.parametrize("url", ["study.log", "sqlite:///study.db"])
def test_what_one_process_writes_another_reads(tmp_path, url):
    url = url.replace("study", f"{tmp_path}/new/study")
    study = optuna.create_study(study_name="a", storage=open_storage(url, TRACKING))
    study.tell(study.ask(), 1.0)
    again = optuna.load_study(study_name="a", storage=open_storage(url, TRACKING))
    assert [trial.value for trial in again.trials] == [1.0]


@pytest.mark.parametrize(
    ("url", "tracking"),
    [
        ("sqlite:///{}/one.db", "sqlite:///{}/one.db"),
        ("sqlite:///{}/sub/../one.db", "sqlite:///{}/one.db"),
        ("{}/one.db", "sqlite:///{}/one.db"),
        ("sqlite:///{}/one.db?timeout=5", "sqlite:///{}/one.db"),
        ("sqlite:///{}/one.db", "sqlite:///{}/one.db?timeout=5"),
        ("postgresql://localhost/x?sslmode=require", "postgresql+psycopg2://127.0.0.1:5432/x"),
        ("postgresql://a@db:5432/x", "postgresql+psycopg2://b:pw@db/x"),
    ],
)
def test_the_database_of_mlflow_is_refused(tmp_path, url, tracking):
    message = refusal(url.format(tmp_path), tracking.format(tmp_path))
    assert "is the database of MLflow" in message
    assert "pw" not in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tracking", ["databricks-uc://p", "http://h:port/x"])
def test_a_tracking_uri_that_names_no_database_is_not_the_storages_fault(tracking):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert "does not answer" in refusal(f"postgresql://me@127.0.0.1:{port}/db", tracking)
    assert "correct it, or leave `storage` out" in refusal("postgresql://me@h:port/db", tracking)


def test_another_database_beside_mlflows_is_fine(tmp_path):
    open_storage(f"sqlite:///{tmp_path}/optuna.db", f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize("query", ["", "?timeout=5"])
@pytest.mark.parametrize(("table", "whose"), [("experiments", "of MLflow"), ("cats", "of another program")])
def test_a_foreign_database_is_refused(tmp_path, table, whose, query):
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"CREATE TABLE {table} (id INTEGER)")
    before = path.read_bytes()
    assert f"is a database {whose}" in refusal(storage_url(f"sqlite:///{path}{query}", tmp_path))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_server_on_which_mlflow_is_already_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    """The tables are looked at whatever the tracking URI says: an `http://` one does not tell its database."""
    path = tmp_path / "server.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE experiments (id INTEGER)")
        database.execute("CREATE TABLE studies (id INTEGER)")
    before = path.read_bytes()
    real = sqlalchemy.create_engine
    monkeypatch.setattr(sqlalchemy, "create_engine", lambda url, **_: real(f"sqlite:///{path}"))
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        url = f"postgresql://me:secret@127.0.0.1:{server.getsockname()[1]}/db"
        message = refusal(url, "http://127.0.0.1:5000")
    assert "is a database of MLflow (it has a table 'experiments')" in message
    assert "secret" not in message
    assert path.read_bytes() == before


def test_looking_for_a_storage_makes_none(tmp_path):
    (tmp_path / "empty.db").touch()
    (tmp_path / "empty.log").touch()
    before = sorted(tmp_path.iterdir())
    for url in (
        "sqlite:///{}/a.db",
        "sqlite:///{}/a.db?timeout=5",
        "{}/a.log",
        "sqlite:///{}/empty.db",
        "{}/empty.log",
    ):
        assert find_storage(url.format(tmp_path), TRACKING) is None
    assert sorted(tmp_path.iterdir()) == before
    assert not any(path.stat().st_size for path in before)


@pytest.mark.parametrize("url", ["{}/study.log", "sqlite:///{}/study.db?timeout=5"])
def test_a_storage_that_is_there_is_found(tmp_path, url):
    url = storage_url(url.format(tmp_path), tmp_path)
    optuna.create_study(study_name="a", storage=open_storage(url, TRACKING))
    assert optuna.load_study(study_name="a", storage=find_storage(url, TRACKING)).trials == []
    assert {path.name for path in tmp_path.iterdir()} <= {"study.log", "study.db"}


def test_a_locked_database_is_refused_and_not_waited_for_forever(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "CONNECT_SECONDS", 0.2)
    path = tmp_path / "study.db"
    open_storage(f"sqlite:///{path}", TRACKING)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert "database is locked; end the process that holds it" in refusal(f"sqlite:///{path}")


def test_a_server_that_does_not_answer_is_refused():
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    message = refusal(f"postgresql://me:secret@127.0.0.1:{port}/db")
    assert f"127.0.0.1:{port} does not answer" in message
    assert "secret" not in message


def test_a_missing_driver_is_named():
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        message = refusal(f"mysql://me@127.0.0.1:{server.getsockname()[1]}/db")
    assert "needs the database driver 'MySQLdb'; install it with pip" in message


def test_other_refusals(tmp_path):
    (tmp_path / "text").write_text("hello")
    assert "unknown scheme 'redis'; one of a path, mssql, mysql, postgresql, sqlite" in refusal(
        "redis://h/0"
    ).replace("sqlite, mssql, mysql, postgresql", "mssql, mysql, postgresql, sqlite")
    assert "is a folder; name a file" in refusal(tmp_path)
    assert "is not a journal of Optuna's" in refusal(tmp_path / "text")
    assert "cannot be written" in refusal(tmp_path / "text" / "a.log")
    assert "is not a folder that can be written to" in refusal(f"sqlite:///{tmp_path}/text/a.db")
    assert "names no file" in refusal("sqlite:///:memory:")


def test_a_line_that_a_killed_worker_left_unfinished_is_removed(tmp_path):
    path = tmp_path / "study.log"
    study = optuna.create_study(study_name="a", storage=open_storage(str(path), TRACKING))
    study.tell(study.ask(), 1.0)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"wor')
    again = optuna.load_study(study_name="a", storage=open_storage(str(path), TRACKING))
    again.tell(again.ask(), 2.0)
    last = optuna.load_study(study_name="a", storage=open_storage(str(path), TRACKING))
    assert [trial.value for trial in last.trials] == [1.0, 2.0]


@pytest.mark.parametrize("torn", [b"", b'{"op_code":4,"wor'])
def test_what_is_only_looked_at_is_not_opened_for_writing(tmp_path, monkeypatch, torn):
    path = tmp_path / "study.log"
    optuna.create_study(study_name="a", storage=open_storage(str(path), TRACKING))
    path.write_bytes(path.read_bytes() + torn)
    before, real = path.read_bytes(), Path.open

    def read_only(self, mode="r", *arguments, **settings):
        if mode not in ("r", "rb"):
            raise PermissionError(13, "Permission denied")
        return real(self, mode, *arguments, **settings)

    monkeypatch.setattr(Path, "open", read_only)
    assert optuna.load_study(study_name="a", storage=find_storage(str(path), TRACKING)).trials == []
    assert path.read_bytes() == before
    assert "cannot be written: Permission denied" in refusal(path)


def test_the_hint_hides_the_password_and_says_how_to_get_the_dashboard(monkeypatch):
    monkeypatch.setattr(storage, "find_spec", lambda name: name)
    hint = "optuna-dashboard 'postgresql://me:***@db/x' --host 127.0.0.1"
    assert dashboard_hint("postgresql://me:secret@db/x") == hint
    monkeypatch.setattr(storage, "find_spec", lambda name: None)
    assert dashboard_hint("postgresql://me:secret@db/x") == f"pip install optuna-dashboard && {hint}"


def test_a_journal_that_fails_in_mid_study_is_a_storage_error(tmp_path):
    path = tmp_path / "study.log"
    study = optuna.create_study(study_name="a", storage=open_storage(str(path), TRACKING))
    path.unlink()
    path.mkdir()
    with pytest.raises(optuna.exceptions.StorageInternalError, match=r"study\.log: Is a directory"):
        study.ask()
