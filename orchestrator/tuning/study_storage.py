"""Optuna's database as a study uses it: locks, heartbeats, many trials at once."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
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
WITHOUT_HEARTBEAT = (
    "SELECT trial_id FROM trials WHERE study_id = :study AND state = 'RUNNING' "
    "AND trial_id NOT IN (SELECT trial_id FROM trial_heartbeats)"
)


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
    def one_transaction(self) -> Iterator[Any]:
        """Everything that is written inside is there at once, or not at all; gives the connection."""
        from sqlalchemy.orm import scoped_session, sessionmaker

        own = self.scoped_session
        with self.engine.begin() as connection:
            self.scoped_session = scoped_session(
                sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
            )
            try:
                yield connection
            finally:
                self.scoped_session = own

    def store_study(self, make: Callable[[], Any], trials: Sequence[Any]) -> None:
        """Write a new study with trials that have ended, all at once or not at all, and without holding others up.

        Optuna's `Study.add_trials` asks for each trial how many there are, and holds SQLite's lock for tens of seconds
        at a thousand trials.  One statement a table takes a tenth of a second.

        Args:
            make: creates the Optuna study, without trials.
            trials: numbered from 0, without values of single steps.
        """
        from optuna.distributions import distribution_to_json
        from optuna.storages._rdb import models
        from sqlalchemy import insert, select

        heads, *tables = models.TrialModel, models.TrialValueModel, models.TrialParamModel
        tables += [models.TrialUserAttributeModel, models.TrialSystemAttributeModel]
        with self.one_transaction() as connection:
            study_id = make()._study_id
            columns = ("number", "state", "datetime_start", "datetime_complete")
            rows = [{"study_id": study_id} | {key: getattr(each, key) for key in columns} for each in trials]
            if not rows:
                return
            connection.execute(insert(heads), rows)
            where = heads.study_id == study_id
            known = connection.execute(select(heads.number, heads.trial_id).where(where)).all()
            trial_ids = dict(map(tuple, known))
            content: list[list[dict[str, Any]]] = [[], [], [], []]
            for trial in trials:
                own = {"trial_id": trial_ids[trial.number]}
                assert not trial.intermediate_values
                for objective, value in enumerate(trial.values or ()):
                    stored, kind = models.TrialValueModel.value_to_stored_repr(value)
                    content[0].append(own | {"objective": objective, "value": stored, "value_type": kind})
                for name, value in trial.params.items():
                    distribution = trial.distributions[name]
                    param = {"param_name": name, "param_value": distribution.to_internal_repr(value)}
                    content[1].append(own | param | {"distribution_json": distribution_to_json(distribution)})
                for place, attributes in ((2, trial.user_attrs), (3, trial.system_attrs)):
                    content[place] += [
                        own | {"key": key, "value_json": json.dumps(value)}
                        for key, value in attributes.items()
                    ]
            for table, lines in zip(tables, content, strict=True):
                if lines:
                    connection.execute(insert(table), lines)

    def stale_trials(self, study: Any) -> list[int]:
        """Ids of the running trials of an Optuna study whose worker gives no sign of life.

        Optuna leaves out a trial whose worker died before its first heartbeat.  It gets one here, and is stale when
        that is as old as any other has to be.

        A machine that was suspended, or whose clock was set, finds every heartbeat old at its first look.  So a trial is
        stale only if it still is two beats later by a clock that neither moves; a worker that lives has given a beat.
        """
        from sqlalchemy import text

        with self.engine.connect() as connection:
            silent = connection.execute(text(WITHOUT_HEARTBEAT), {"study": study._study_id}).scalars().all()
        for trial_id in silent:
            self.record_heartbeat(trial_id)
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
