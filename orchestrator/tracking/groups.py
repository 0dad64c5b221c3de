"""Groups of runs, such as the trials of a study: an MLflow run between the campaign's and the seeds' runs.

A group is a folder with a ``group.json`` above the folders of its runs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from orchestrator.masking import masked
from orchestrator.storage.files import read_json, write_json
from orchestrator.storage.run_folder import RunState
from orchestrator.tracking.delivery import MAX_TAG_CHARACTERS, MLFLOW_STATUS, find_or_create_run
from orchestrator.tracking.keys import clean_key, flat_params

FILE = "group.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What ``group.json`` holds."""

    name: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """Metrics of the group as a whole, such as a trial's criterion."""
    state: RunState = "pending"


def write_group(folder: Path, group: Group) -> None:
    """Say what a group is, or how it ended, without credentials."""
    write_json(folder / FILE, masked(asdict(group)))


def read_group(folder: Path) -> Group:
    """What the folder's group is."""
    return Group(**read_json(folder / FILE))


class GroupDelivery:
    """One group on its way to MLflow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run_id: str | None = None
        self._sent: Group | None = None

    def forward(self, client: Any, experiment_id: str, parent_run_id: str, tags: Mapping[str, str]) -> str:
        """Make the group's run or bring it up to date; give its id.

        ``tags`` are those that all runs of the campaign have.
        """
        group = read_group(self.folder)
        if self._run_id is not None and group == self._sent:
            return self._run_id
        every = {**tags, **group.tags, "mlflow.parentRunId": parent_run_id}
        with FileLock(self.folder / f"{FILE}.lock"):  # a worker and the tracker may both come first
            run = find_or_create_run(client, experiment_id, self.folder, group.name, every)
        self._run_id = str(run.info.run_id)
        self._update(client, run, group)
        self._sent = group
        return self._run_id

    def _update(self, client: Any, run: Any, group: Group) -> None:
        from mlflow.entities import Metric, Param, RunTag

        known = run.data
        params = [Param(k, v) for k, v in flat_params(group.params).items() if k not in known.params]
        tags = [
            RunTag(key, value[:MAX_TAG_CHARACTERS])
            for key, value in group.tags.items()
            if known.tags.get(key) != value[:MAX_TAG_CHARACTERS]
        ]
        metrics = [
            Metric(clean_key(name), value, int(1000 * time.time()), 0)
            for name, value in group.metrics.items()
            if known.metrics.get(clean_key(name)) != value
        ]
        if params or tags or metrics:
            client.log_batch(run.info.run_id, metrics=metrics, params=params, tags=tags)
        if run.info.run_name != group.name:  # a trial that was continued has another number
            client.update_run(run.info.run_id, name=group.name)
        status = MLFLOW_STATUS[group.state]
        if status == run.info.status:
            return
        if group.state in ("pending", "running"):
            client.update_run(run.info.run_id, status=status)
        else:
            client.set_terminated(run.info.run_id, status)


def is_group(folder: Path) -> bool:
    """Whether the runs of a folder are those of a group."""
    return (folder / FILE).exists()


def groups(campaign: Path) -> list[Path]:
    """Folders of a campaign that are groups."""
    return sorted(path.parent for path in campaign.glob(f"*/{FILE}"))
