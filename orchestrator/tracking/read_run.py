"""Reads one run from MLflow, in the form in which its folder is read.

It reverses `delivery`: the metrics become series, the artifact `config.yaml` the resolved configuration,
`guardrails.jsonl` and `rollbacks.json` the record of the guardrails.  If artifacts cannot be read, e.g. because they
lie on another machine, the parameters replace the configuration.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import nan
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from orchestrator.storage.guardrail_files import Event, Rollback, read_events, read_rollbacks
from orchestrator.storage.metric_names import matches, recorded_name
from orchestrator.storage.renamed import up_to_date
from orchestrator.storage.run_data import RunRecords, Series
from orchestrator.storage.run_folder import RunInfo, RunState, Status
from orchestrator.tracking.delivery import GUARDRAILS_TAG, IDENTITY, MLFLOW_STATUS, REASON_TAG, STATE_TAG
from tasks.names import unescaped

STATES: dict[str, RunState] = {status: state for state, status in MLFLOW_STATUS.items() if state != "stopped"}

Content = TypeVar("Content")


def read_run(client: Any, run: Any, metrics: Sequence[str] | None) -> RunRecords:
    """A training run with the metrics whose names match a pattern, or all of them."""
    histories: dict[str, list[Any]] = {}
    for key in sorted(run.data.metrics):
        name = recorded_name(unescaped(key))
        if metrics is None or matches(name, metrics):
            # A run that an older version began has the first part of a metric under the name that records have.
            histories.setdefault(name, []).extend(client.get_metric_history(run.info.run_id, key))
    times = [point.timestamp for history in histories.values() for point in history]
    train = _series({name: points for name, points in histories.items() if not name.startswith("eval/")})
    tags, artifacts = run.data.tags, Artifacts(client, run.info.run_id)
    config = up_to_date(_config(artifacts, run))
    info = RunInfo(
        campaign=tags.get("entrostat.campaign", ""),
        arm=tags["entrostat.arm"],
        seed=int(tags["entrostat.seed"]),
        method=tags.get("entrostat.method", ""),
        config=config,
        fingerprint=tags.get("entrostat.fingerprint", ""),
    )
    events, rollbacks = _guardrails(artifacts, run)
    status = Status(
        status=_state(run),
        reason=tags.get(REASON_TAG) or None,
        iteration=int(train.steps[-1]) + 1 if train.steps.size else 0,
        num_iterations=int((config.get("learner") or {}).get("iterations") or 0),
        updated=(run.info.end_time or run.info.start_time or 0) / 1000,
    )
    return RunRecords(
        info=info,
        status=status,
        train=train,
        evaluation=_series({name: points for name, points in histories.items() if name.startswith("eval/")}),
        seconds=(max(times) - min(times)) / 1000 if times else nan,
        events=tuple(events),
        rollbacks=tuple(rollbacks),
    )


def _state(run: Any) -> RunState:
    """By its tag, unless MLflow's own status says otherwise, as of a run whose writer was killed."""
    status: RunState = STATES.get(run.info.status, "running")
    tag = run.data.tags.get(STATE_TAG)
    return tag if tag in MLFLOW_STATUS and MLFLOW_STATUS[tag] == run.info.status else status


def _guardrails(artifacts: Artifacts, run: Any) -> tuple[list[Event], list[Rollback]]:
    """What guardrails found and what was rolled back; nothing where that cannot be had."""
    if not run.data.tags.get(GUARDRAILS_TAG):
        return [], []
    events = artifacts.read("guardrails.jsonl", read_events)
    if events is None:
        return [], []
    return events, artifacts.read("rollbacks.json", read_rollbacks) or []


class Artifacts:
    """The files of a run, listed once."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self._run_id = run_id

    def read(self, name: str, read: Callable[[Path], Content]) -> Content | None:
        """What one of them holds; None where there is none, or it cannot be had or read."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as folder:
            try:
                # Asking for what is not there is an error of the server, after which the client tries for a while.
                if name not in self._names:
                    return None
                return read(Path(self._client.download_artifacts(self._run_id, name, folder)))
            except (MlflowException, OSError, ValueError, TypeError, yaml.YAMLError):
                return None

    @cached_property
    def _names(self) -> set[str]:
        return {item.path for item in self._client.list_artifacts(self._run_id)}


def _series(histories: Mapping[str, Sequence[Any]]) -> Series:
    """Columns over the union of the steps; of a point that MLflow has twice, the later one."""
    steps = np.array(sorted({point.step for history in histories.values() for point in history}), np.int64)
    values = {}
    for name, history in histories.items():
        column = np.full(steps.shape, nan)
        points = sorted(history, key=lambda point: (-point.timestamp, point.step))
        column[np.searchsorted(steps, [point.step for point in points])] = [point.value for point in points]
        values[name] = column
    return Series(steps=steps, values=values)


def _config(artifacts: Artifacts, run: Any) -> dict[str, Any]:
    """The resolved configuration: `config.yaml`, or the parameters where it cannot be read."""
    content = artifacts.read("config.yaml", lambda path: yaml.safe_load(path.read_text(encoding="utf-8")))
    if isinstance(content, dict):
        return content
    return nested_params({key: text for key, text in run.data.params.items() if key not in IDENTITY})


def nested_params(params: Mapping[str, str]) -> dict[str, Any]:
    """`{"a.b": "1"}` as `{"a": {"b": 1}}`: undoes `flat_params`, except for texts that look like JSON."""
    nested: dict[str, Any] = {}
    for key, text in params.items():
        *parents, last = map(unescaped, key.split("."))
        node = nested
        for parent in parents:
            inner = node.setdefault(parent, {})
            if not isinstance(inner, dict):
                break
            node = inner
        else:
            try:
                node[last] = json.loads(text)
            except ValueError:
                node[last] = text
    return nested
