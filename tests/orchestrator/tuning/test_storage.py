"""Storages that are refused, and why; those that work."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing

import optuna
import pytest

from orchestrator.configuration.errors import ConfigError
from orchestrator.tuning import storage
from orchestrator.tuning.storage import dashboard_hint, open_storage, storage_url

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
        ("postgresql://a@db:5432/x", "postgresql+psycopg2://b:pw@db/x"),
    ],
)
def test_the_database_of_mlflow_is_refused(tmp_path, url, tracking):
    message = refusal(url.format(tmp_path), tracking.format(tmp_path))
    assert "is the database of MLflow" in message
    assert "pw" not in message
    assert not list(tmp_path.iterdir())


def test_another_database_beside_mlflows_is_fine(tmp_path):
    open_storage(f"sqlite:///{tmp_path}/optuna.db", f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize(("table", "whose"), [("experiments", "of MLflow"), ("cats", "of another program")])
def test_a_foreign_database_is_refused(tmp_path, table, whose):
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"CREATE TABLE {table} (id INTEGER)")
    before = path.read_bytes()
    assert f"is a database {whose}" in refusal(f"sqlite:///{path}")
    assert path.read_bytes() == before


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


def test_the_hint_hides_the_password():
    assert "secret" not in dashboard_hint("postgresql://me:secret@db/x")
