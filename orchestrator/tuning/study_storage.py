"""Optuna's database as a study uses it: locks, heartbeats, transactions of one worker at a time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage

from orchestrator.tracking.addresses import dialect, is_sqlite
from orchestrator.tracking.store import CONNECT_SECONDS

LOCK_SECONDS = 60.0
"""How long a transaction waits for other workers at a SQLite file."""
STALE_SECONDS = 60
"""Without a heartbeat, after which a running trial is stale, where the study does not say."""
BEATS = 4
"""Heartbeats within that time, so that a few late ones give no trial up."""


class StudyStorage(RDBStorage):  # type: ignore[misc]
    """Optuna's database with its heartbeat, for workers that ask for trials themselves.

    Args:
        url: of the database.
        make: whether it is written to; else it has to be there, and is only read.
        stale_seconds: without a heartbeat, after which a running trial is stale, by the clock of the database.
    """

    scoped_session: Any

    def __init__(self, url: str, *, make: bool = True, stale_seconds: int = STALE_SECONDS) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(
                url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
                waiting(url),
                heartbeat_interval=max(1, stale_seconds // BEATS),
                grace_period=stale_seconds,
                skip_table_creation=not make,
            )
        self._stale_since: dict[int, float] = {}
        if make and is_sqlite(url):
            from sqlalchemy import event

            # SQLite locks at the first write only: two workers could read one waiting trial and both take it.
            event.listen(self.engine, "begin", lambda it: it.exec_driver_sql("BEGIN IMMEDIATE"))

    @contextmanager
    def alone(self, study: Any) -> Iterator[None]:
        """One transaction of this thread at an Optuna study, beside which no other `alone` is at that study.

        Everything that is written inside is there at once, or not at all.  Read first and write then: Optuna keeps
        what it has read of trials that have ended, also where the transaction is taken back.
        """
        from sqlalchemy import column, select, table
        from sqlalchemy.orm import Session

        study_id: Any = column("study_id")
        row = select(study_id).select_from(table("studies")).where(study_id == study._study_id)
        with self.engine.begin() as connection:
            connection.execute(row.with_for_update())  # the lock that Optuna takes to number a new trial
            self.scoped_session.registry.set(Session(connection, join_transaction_mode="create_savepoint"))
            try:
                yield
            finally:
                self.scoped_session.remove()

    def stale_trials(self, study: Any) -> list[int]:
        """Ids of the running trials of an Optuna study whose worker gives no sign of life.

        A machine that was suspended, or whose clock was set, finds every heartbeat old at its first look.  So a trial is
        stale only if it still is two beats later by a clock that neither moves; a worker that lives has given a beat.
        """
        looked = time.monotonic()
        stale = self._get_stale_trial_ids(study._study_id)
        self._stale_since = {trial_id: self._stale_since.get(trial_id, looked) for trial_id in stale}
        patience = 2 * self.get_heartbeat_interval()
        return [trial_id for trial_id, since in self._stale_since.items() if looked - since >= patience]


def waiting(url: str) -> dict[str, Any]:
    """Settings of sqlalchemy's engine: how long a database is waited for, and that a lost connection is noticed.

    A server that was restarted has closed the connections in the pool, and one may take a connection and stay silent.
    """
    if is_sqlite(url):
        return {"connect_args": {"timeout": LOCK_SECONDS}}
    settings: dict[str, Any] = {"pool_pre_ping": True}
    if dialect(url) in ("postgresql", "mysql") and "connect_timeout" not in url:
        settings["connect_args"] = {"connect_timeout": int(CONNECT_SECONDS)}
    return settings
