"""Metrics that go straight into MLflow's tables leave there what MLflow would have left."""

from __future__ import annotations

import math
import shutil
import sqlite3
from contextlib import closing

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from orchestrator.tracking.sqlite_client import SqliteClient, has_known_tables
from orchestrator.tracking.store import open_client

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BATCHES = [
    [Metric("a", 0.5, 1000, 0), Metric("a", 0.25, 1000, 1), Metric("b/c", -1e300, 1000, 0)],
    [Metric("a", 1.5, 2000, 3), Metric("a", 2.5, 2000, 2)],  # the last by step is not the last that is told
    [Metric("a", 9.0, 1500, 1), Metric("b/c", 4.0, 900, 0), Metric("d", 1.0, 1, 0)],  # nothing newer but d
    [
        Metric("a", 1.5, 2000, 3),
        Metric("a", 1.5, 2000, 3),
        Metric("e", 0.0, 1, 0),
    ],  # known already, and twice
    [Metric("a", math.nan, 3000, 4), Metric("b/c", math.inf, 3000, 4), Metric("d", 2.0, 3000, 4)],
    [Metric("a", 7.0, 4000, 5), Metric("b/c", -math.inf, 4000, 5)],
    [Metric("a", 8.0, 4000, 5), Metric("b/c", 3, 4000, 6)],
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A database with one run, and the run's id."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    return path, open_client(f"sqlite:///{path}").create_run("0").info.run_id


def content(path):
    """Every row of every table, in no order."""
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: sorted(map(repr, database.execute(f"SELECT * FROM {table}"))) for table in tables}


def copy(run, to):
    path, run_id = run
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return shutil.copy(path, to), run_id


def test_every_table_is_as_after_mlflows_own_client(run, tmp_path):
    theirs, run_id = copy(run, tmp_path / "theirs.db")
    ours, _ = copy(run, tmp_path / "ours.db")
    before = content(ours)
    clients = MlflowClient(f"sqlite:///{theirs}"), SqliteClient(f"sqlite:///{ours}")
    for number, metrics in enumerate(BATCHES):
        for client in clients:
            params, tags = [Param(f"p{number}", "1")], [RunTag("t", str(number))]
            client.log_batch(run_id, metrics=metrics, params=params, tags=tags)
        assert content(ours) == content(theirs), number
    assert len(content(ours)["metrics"]) > len(before["metrics"])
    assert clients[1].get_run(run_id).data.metrics["d"] == 2.0


def test_finite_numbers_of_a_run_do_not_go_through_mlflow(run, tmp_path, monkeypatch):
    path, run_id = copy(run, tmp_path / "mlflow.db")
    client = open_client(f"sqlite:///{path}")
    client.get_run(run_id)  # makes MLflow's store
    sent = []
    monkeypatch.setattr(MlflowClient, "log_batch", lambda *_, **named: sent.append(named["metrics"]))
    client.log_batch(run_id, metrics=[Metric("a", step, step, step) for step in range(5000)])
    client.log_batch(run_id, metrics=BATCHES[4])
    assert sent == [(), BATCHES[4]]
    assert len(client.get_metric_history(run_id, "a")) == 5000


def test_a_deleted_run_is_refused_as_by_mlflow(run, tmp_path):
    path, run_id = copy(run, tmp_path / "mlflow.db")
    client = open_client(f"sqlite:///{path}")
    client.delete_run(run_id)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.log_batch(run_id, metrics=BATCHES[0])
    assert content(path)["metrics"] == []


def test_tables_of_another_version_are_left_to_mlflow(run, tmp_path):
    path, run_id = copy(run, tmp_path / "mlflow.db")
    assert has_known_tables(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE metrics ADD COLUMN unit TEXT")
    assert not has_known_tables(path)
    client = open_client(f"sqlite:///{path}")
    assert type(client) is MlflowClient
    client.log_batch(run_id, metrics=BATCHES[0])
    assert len(content(path)["metrics"]) == 3
