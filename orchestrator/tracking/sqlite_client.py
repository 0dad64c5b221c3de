"""MLflow's client for a SQLite file: the numbers of a run go straight into its tables.

MLflow makes an object of SQLAlchemy's for each value, a tenth of a millisecond, and an iteration has a hundred
values.  Here they are two statements in one transaction.  All else goes through MLflow.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from math import isfinite
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from orchestrator.tracking.addresses import sqlite_path

LOCK_SECONDS = 20.0
"""How long another writer is waited for."""

KNOWN_COLUMNS = {"key", "value", "timestamp", "step", "is_nan", "run_uuid"}
"""Columns of `metrics`, which has every value that was logged, and of `latest_metrics`, the last of each key."""

INSERT = """
    INSERT OR IGNORE INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?)
"""
UPDATE_LATEST = """
    INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?)
    ON CONFLICT (key, run_uuid) DO UPDATE
    SET value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = 0
    WHERE (excluded.step, excluded.timestamp, excluded.value)
        > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)
"""

Row = tuple[str, float, int, int, str]
"""Key, value, timestamp, step, run."""


class SqliteClient(MlflowClient):  # type: ignore[misc]
    """A client of one database, whose tables are known; see `has_known_tables`."""

    max_metrics_per_batch = 100_000
    """They arrive all or none.  The more of them, the less an iteration costs: a transaction writes whole pages."""

    def __init__(self, uri: str) -> None:
        super().__init__(tracking_uri=uri)
        self._path = sqlite_path(uri)

    def log_batch(
        self, run_id: str, metrics: Sequence[Any] = (), params: Sequence[Any] = (), tags: Sequence[Any] = ()
    ) -> None:
        """Log metrics, parameters and tags of a run, as MLflow's method does."""
        # MLflow stores what is not finite as something else, and the metrics of a model in a table more.
        if metrics and all(each.model_id is None and isfinite(each.value) for each in metrics):
            rows = [(each.key, each.value, each.timestamp, each.step, run_id) for each in metrics]
            if _insert(self._path, run_id, rows):
                metrics = ()
        super().log_batch(run_id, metrics=metrics, params=params, tags=tags)


def has_known_tables(path: Path) -> bool:
    """Whether metrics are kept in the tables that are known here; another version of MLflow may have others."""
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as database:
        return all(
            {row[1] for row in database.execute(f"PRAGMA table_info({table})")} == KNOWN_COLUMNS
            for table in ("metrics", "latest_metrics")
        )


def _insert(path: Path, run_id: str, rows: Sequence[Row]) -> bool:
    """Insert metrics of a run; False, with nothing done, for a run that MLflow would refuse."""
    last = {row[0]: row for row in sorted(rows, key=_age)}
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        stage = database.execute("SELECT lifecycle_stage FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
        if stage != ("active",):
            return False
        database.executemany(INSERT, rows)
        database.executemany(UPDATE_LATEST, last.values())
        database.execute("COMMIT")
    return True


def _age(row: Row) -> tuple[int, int, float]:
    """What tells the last value of a key."""
    _, value, timestamp, step, _ = row
    return step, timestamp, value
