"""The store of tracked metrics: the tracking URI, whether it answers, and its MLflow client.

MLflow is imported inside functions: it takes two seconds, and a run must be able to start without it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from orchestrator.masking import mask_uri as mask
from orchestrator.masking import scrub
from orchestrator.storage.files import sync_folder
from orchestrator.tracking.addresses import DEFAULT_PORTS, ESCAPE, SQLITE, host_and_port, scheme, sqlite_path

CONNECT_SECONDS = 5.0
USE_SQLITE = "use `sqlite:////absolute/path/mlflow.db`, or leave `tracking.uri` out"

UI_HOST, UI_PORT = "127.0.0.1", 5000  # the port is the default of `mlflow server`
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}

ENVIRONMENT = {  # a user's own settings win
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds; MLflow's own 120, 7 times, would outlast a campaign
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


def default_uri(runs_root: Path) -> str:
    """The SQLite file that a campaign is tracked in where no URI is configured."""
    return f"{SQLITE}{runs_root.resolve() / 'mlflow.db'}"


def check(uri: str) -> None:
    """Make sure, within seconds and before any training, that a tracking URI can be used.

    Raises:
        ValueError: with the value, what is wrong and what to do; the caller knows file and key.
    """
    kind = scheme(uri)
    if kind in ("", "file"):
        raise _refused(uri, f"MLflow no longer writes plain folders; {USE_SQLITE}")
    if kind == "sqlite":
        _check_sqlite(uri)
    elif kind in DEFAULT_PORTS:
        _check_port(uri, kind)
        _check_answer(uri)
    elif kind.startswith("databricks"):
        _check_answer(uri)
    else:
        known = ", ".join(["sqlite", *DEFAULT_PORTS, "databricks"])
        raise _refused(uri, f"unknown scheme {kind!r}; one of {known}")


def open_client(uri: str) -> Any:
    """An `MlflowClient` that prints nothing; makes the database of a SQLite URI on first use."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if uri.startswith(SQLITE):
        _create_database(sqlite_path(uri), MlflowClient)
    return MlflowClient(tracking_uri=uri)


def artifact_location(uri: str, runs_root: Path, campaign: str) -> str | None:
    """Folder for artifacts as a URI; None where the server decides.

    Without one, MLflow writes to `./mlruns` of whatever folder the process was started in.
    """
    if scheme(uri) in ("http", "https", "databricks"):
        return None
    root = sqlite_path(uri).parent if uri.startswith(SQLITE) else runs_root.resolve()
    return (root / "mlartifacts" / campaign).as_uri()


def experiment_of(client: Any, uri: str, runs_root: Path, campaign: str) -> str:
    """Id of a campaign's experiment, which is made on first use.

    Its kind lets MLflow's page open on the runs; one without a kind opens on traces, which training has none of.

    Raises:
        RuntimeError: it was deleted.
    """
    experiment = client.get_experiment_by_name(campaign)
    if experiment is None:
        location = artifact_location(uri, runs_root, campaign)
        return str(client.create_experiment(campaign, artifact_location=location, tags=EXPERIMENT_KIND))
    if experiment.lifecycle_stage == "deleted":
        remedy = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        raise RuntimeError(f"the experiment {campaign!r} was deleted; `{remedy}`, or rename the campaign")
    for name, kind in EXPERIMENT_KIND.items():  # of an experiment that an older version made
        if name not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, name, kind)
    return str(experiment.experiment_id)


def ui_hint(uri: str, experiment_id: str | None = None) -> str:
    """What a user types and opens to look at the tracked runs: those of an experiment, where its id is known."""
    page = "" if experiment_id is None else f"/#/experiments/{experiment_id}/runs"
    if uri.startswith("http"):
        return f"{mask(uri).rstrip('/')}{page}"
    command = f"mlflow server --backend-store-uri {mask(uri)} --host {UI_HOST} --workers 1"
    return f"{command}, then open http://{UI_HOST}:{UI_PORT}{page}"


def _refused(uri: str, why: str) -> ValueError:
    return ValueError(f"{mask(uri)!r}: {scrub(why, uri)}")


def _check_sqlite(uri: str) -> None:
    if not uri.startswith(SQLITE) or uri == SQLITE or ":memory:" in uri:
        raise _refused(uri, f"names no file; {USE_SQLITE}")
    path = sqlite_path(uri)
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise _refused(uri, f"{folder} is not a folder that can be written to; {USE_SQLITE}")
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=CONNECT_SECONDS, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")  # fails where the file cannot be written
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            database.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise _refused(uri, f"{error}; name another file, or make this one writable") from error
    if tables and "experiments" not in tables:
        raise _refused(uri, "is a database of another program; name another file")


def _check_port(uri: str, kind: str) -> None:
    try:
        host, port = host_and_port(uri, DEFAULT_PORTS[kind])
    except ValueError as error:
        raise _refused(uri, f"{error}; write it as http://host:port, {ESCAPE}") from error
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        remedy = f"start the server, correct the address, or {USE_SQLITE}"
        raise _refused(uri, f"{host}:{port} does not answer ({error}); {remedy}") from error


def _check_answer(uri: str) -> None:
    try:
        open_client(uri).search_experiments(max_results=1)
    except Exception as error:  # of requests, sqlalchemy, a missing driver, a web page: all mean the same
        reason = " ".join(str(error).split())[:300]
        raise _refused(
            uri, f"does not answer as an MLflow server ({reason}); check it, or {USE_SQLITE}"
        ) from error


def _create_database(path: Path, client_class: Any) -> None:
    """Make the database under another name, so that a process killed meanwhile leaves no half of one.

    The lock is for two campaigns that start at once: MLflow's migrations do not survive a race.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        temporary = path.with_name(f".{path.name}.new")
        temporary.unlink(missing_ok=True)
        client_class(tracking_uri=f"{SQLITE}{temporary}").search_experiments(max_results=1)
        with closing(sqlite3.connect(temporary)) as database:
            database.execute("PRAGMA journal_mode=WAL")  # a batch in 5 ms where it took 30
        temporary.replace(path)
        sync_folder(path.parent)
