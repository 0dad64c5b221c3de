"""Storages that are refused, and why; those that work."""

from __future__ import annotations

import multiprocessing
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from orchestrator.errors import ConfigError
from orchestrator.tuning import storage, study_storage
from orchestrator.tuning.storage import (
    dashboard_hint,
    find_storage,
    open_storage,
    storage_failures,
    storage_url,
    why,
)
from orchestrator.tuning.study_storage import waiting
from tests.orchestrator.tuning.conftest import TRACKING, ask


def refusal(url, tracking=TRACKING):
    with pytest.raises(ConfigError) as caught:
        open_storage(str(url), tracking)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_default_is_a_sqlite_file_beside_the_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage_url(None, tmp_path / "runs" / "gains") == f"sqlite:///{tmp_path}/runs/gains/study.db"
    assert storage_url("a.db", tmp_path) == f"sqlite:///{tmp_path / 'a.db'}"
    assert storage_url("sqlite:///a.db", tmp_path) == f"sqlite:///{tmp_path / 'a.db'}"
    assert storage_url("sqlite:///~/a.db?timeout=5", tmp_path) == f"sqlite:///{Path.home()}/a.db?timeout=5"
    assert storage_url("postgresql://h/d", tmp_path) == "postgresql://h/d"


@pytest.mark.parametrize("name", ["study.db", "study {one}.db"])
def test_what_one_process_writes_another_reads(tmp_path, name):
    url = storage_url(f"{tmp_path}/new/{name}", tmp_path)
    study = optuna.create_study(study_name="a", storage=open_storage(url, TRACKING))
    study.tell(ask(study), 1.0)
    again = optuna.load_study(study_name="a", storage=open_storage(url, TRACKING))
    assert [trial.value for trial in again.trials] == [1.0]
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_the_journal_of_an_earlier_version_is_refused_with_what_to_do_and_stays(tmp_path):
    journal = tmp_path / "journal.log"
    journal.write_text('{"op_code": 0, "worker_id": "a"}\n')
    before = journal.read_bytes()
    cure = "finish the study with that version, or give it another name and begin it again"
    for configured in (None, str(journal)):
        with pytest.raises(ConfigError) as caught:
            open_storage(storage_url(configured, tmp_path), TRACKING)
        assert "\n" not in str(caught.value)
        assert str(journal) in str(caught.value)
        assert "of an earlier version, which this one cannot continue" in str(caught.value)
        assert cure in str(caught.value)
    assert journal.read_bytes() == before
    assert list(tmp_path.iterdir()) == [journal]
    open_storage(f"sqlite:///{tmp_path}/study.db", TRACKING)
    assert storage_url(None, tmp_path) == f"sqlite:///{tmp_path}/study.db"  # the study has begun again


def test_two_processes_that_make_a_storage_at_once_both_have_it(tmp_path, monkeypatch):
    """The other process makes the tables between the look at them and their making."""
    url, attempts = f"sqlite:///{tmp_path}/study.db", []
    real = storage.StudyStorage

    def make(*arguments, **settings):
        attempts.append(arguments)
        if len(attempts) == 1:
            raise sqlalchemy.exc.OperationalError(
                "CREATE TABLE", {}, Exception("table studies already exists")
            )
        return real(*arguments, **settings)

    monkeypatch.setattr(storage, "StudyStorage", make)
    assert isinstance(open_storage(url, TRACKING), real)
    assert len(attempts) == 2


def make_tables(url, barrier, said):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for number in range(4):
        barrier.wait(60)
        try:
            open_storage(f"{url}-{number}.db", TRACKING)
        except Exception as error:
            said.put(str(error))


@pytest.mark.slow
def test_processes_that_make_a_storage_at_the_same_moment_all_have_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, said = context.Barrier(2), context.Queue()
    url = f"sqlite:///{tmp_path}/study"
    makers = [context.Process(target=make_tables, args=(url, barrier, said)) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(120)
        assert maker.exitcode == 0
    assert [said.get() for _ in range(said.qsize())] == []
    for number in range(4):
        assert (
            storage.OURS
            in sqlalchemy.inspect(open_storage(f"{url}-{number}.db", TRACKING).engine).get_table_names()
        )


def test_the_version_that_another_process_has_written_is_tried_again(tmp_path, monkeypatch):
    """The other process writes it between the look at it and its writing."""
    attempts, real = [], storage.StudyStorage

    def make(*arguments, **settings):
        attempts.append(arguments)
        if len(attempts) == 1:
            reason = Exception("UNIQUE constraint failed: alembic_version.version_num")
            raise sqlalchemy.exc.IntegrityError("INSERT INTO alembic_version", {}, reason)
        return real(*arguments, **settings)

    monkeypatch.setattr(storage, "StudyStorage", make)
    assert isinstance(open_storage(f"sqlite:///{tmp_path}/study.db", TRACKING), real)


def test_a_second_command_waits_for_one_that_writes(tmp_path, monkeypatch):
    """For longer than a server has to answer."""
    monkeypatch.setattr(storage, "CONNECT_SECONDS", 0.1)
    path = tmp_path / "study.db"
    open_storage(f"sqlite:///{path}", TRACKING)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as database:
        database.execute("BEGIN IMMEDIATE")
        threading.Timer(1.0, database.execute, ["ROLLBACK"]).start()
        open_storage(f"sqlite:///{path}", TRACKING)
        assert not database.in_transaction


def test_a_server_that_takes_a_connection_and_stays_silent_is_refused_after_a_while(monkeypatch):
    pytest.importorskip("psycopg", reason="needs psycopg (pip install 'psycopg[binary]')")
    monkeypatch.setattr(study_storage, "CONNECT_SECONDS", 2.0)
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        url = f"postgresql+psycopg://me@127.0.0.1:{server.getsockname()[1]}/db"
        assert "timeout expired" in refusal(url)


def test_connections_that_a_server_has_closed_are_noticed():
    assert waiting("postgresql://me@h/db")["pool_pre_ping"]
    assert "connect_args" not in waiting("postgresql://me@h/db?connect_timeout=30")


@pytest.mark.parametrize(
    ("url", "tracking"),
    [
        ("sqlite:///{}/one.db", "sqlite:///{}/one.db"),
        ("sqlite:///{}/sub/../one.db", "sqlite:///{}/one.db"),
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
    for url in ("sqlite:///{}/a.db", "sqlite:///{}/a.db?timeout=5", "sqlite:///{}/empty.db"):
        assert find_storage(url.format(tmp_path), TRACKING) is None
    assert list(tmp_path.iterdir()) == [tmp_path / "empty.db"]
    assert not (tmp_path / "empty.db").stat().st_size


@pytest.mark.parametrize("query", ["", "?timeout=5"])
def test_a_storage_that_is_there_is_found(tmp_path, query):
    url = storage_url(f"sqlite:///{tmp_path}/study.db{query}", tmp_path)
    optuna.create_study(study_name="a", storage=open_storage(url, TRACKING))
    assert optuna.load_study(study_name="a", storage=find_storage(url, TRACKING)).trials == []
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


def test_a_storage_that_another_process_writes_can_be_looked_at(tmp_path, monkeypatch):
    """A worker holds the lock of a transaction, for longer than a user would wait."""
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.2)
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(study_name="a", storage=open_storage(url, TRACKING))
    before = (tmp_path / "study.db").read_bytes()
    with closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        assert optuna.load_study(study_name="a", storage=find_storage(url, TRACKING)).trials == []
        assert "database is locked" in refusal(url)
    assert (tmp_path / "study.db").read_bytes() == before


def test_a_process_that_died_in_a_transaction_leaves_what_was_there_before(tmp_path):
    path = tmp_path / "study.db"
    study = optuna.create_study(study_name="a", storage=open_storage(f"sqlite:///{path}", TRACKING))
    study.tell(ask(study), 1.0)
    program = (
        "import os, sqlite3, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "d.execute('PRAGMA cache_size=1'); d.execute('BEGIN IMMEDIATE');"
        "d.execute('CREATE TABLE big AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n"
        " WHERE i < 20000) SELECT i, hex(randomblob(50)) FROM n'); d.execute('DELETE FROM trials');"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    assert (tmp_path / "study.db-journal").exists()
    found = optuna.load_study(study_name="a", storage=find_storage(f"sqlite:///{path}", TRACKING))
    assert [trial.value for trial in found.trials] == [1.0]


def test_a_locked_database_is_refused_and_not_waited_for_forever(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.2)
    path = tmp_path / "study.db"
    open_storage(f"sqlite:///{path}", TRACKING)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert "database is locked; another command is writing; try again" in refusal(f"sqlite:///{path}")


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
    (tmp_path / "text").write_text("hello" * 200)
    known = "one of a path, sqlite, mssql, mysql, postgresql"
    assert f"unknown scheme 'redis'; {known}" in refusal("redis://h/0")
    assert "is a folder; name a file" in refusal(f"sqlite:///{tmp_path}")
    assert "file is not a database; name another file" in refusal(f"sqlite:///{tmp_path}/text")
    assert "is not a folder that can be written to" in refusal(f"sqlite:///{tmp_path}/text/a.db")
    assert "names no file" in refusal("sqlite:///:memory:")


def test_the_hint_hides_the_password_and_says_how_to_get_the_dashboard(monkeypatch):
    monkeypatch.setattr(storage, "find_spec", lambda name: name)
    hint = "optuna-dashboard 'postgresql://me:***@db/x' --host 127.0.0.1"
    assert dashboard_hint("postgresql://me:secret@db/x") == hint
    monkeypatch.setattr(storage, "find_spec", lambda name: None)
    assert dashboard_hint("postgresql://me:secret@db/x") == f"pip install optuna-dashboard && {hint}"


@pytest.mark.parametrize("fault", ["no space", "damaged"])
def test_a_file_that_fails_in_mid_study_is_a_storage_error_with_its_reason(tmp_path, fault):
    path = tmp_path / "study.db"
    opened = open_storage(f"sqlite:///{path}", TRACKING)
    study = optuna.create_study(study_name="a", storage=opened)
    if fault == "damaged":
        path.write_bytes(b"no database" * 1000)
    else:  # SQLite's own limit stands in for a full disk
        limit = "PRAGMA max_page_count = 1"
        sqlalchemy.event.listen(opened.engine, "begin", lambda connection: connection.exec_driver_sql(limit))
    with pytest.raises(storage_failures()) as caught:
        study.set_user_attr("large", "x" * 1_000_000)
    reason = "file is not a database" if fault == "damaged" else "database or disk is full"
    assert why(caught.value) == reason
