"""A trial's MLflow run, which is the parent of its seeds' runs: each knows the other by name and number."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

from orchestrator.masking import mask_uri
from orchestrator.storage.run_folder import RunState
from orchestrator.tracking.groups import FILE, Group, read_group, write_group
from orchestrator.tuning.attempts import trial_name
from orchestrator.tuning.space import Params
from orchestrator.tuning.study import Study
from orchestrator.tuning.trial import State, TrialEnding

RUN_ID = "entrostat.mlflow_run_id"
STATES: dict[State, RunState] = {
    "complete": "done",
    "pruned": "interrupted",
    "untrained": "interrupted",
    "stopped": "interrupted",
    "failed": "failed",
}


class DeliversGroups(Protocol):
    """The part of a `Tracker` that is needed."""

    def deliver_group(self, path: Path) -> str | None: ...


class TrialRuns:
    """Writes a trial's description beside its runs, for the tracker, and tells Optuna the id of its MLflow run."""

    def __init__(self, tracker: DeliversGroups, storage_url: str) -> None:
        self._tracker = tracker
        self._storage = mask_uri(storage_url)

    def begin(
        self, path: Path, trial: Any, params: Params, rank: int | None, confirms: int | None = None
    ) -> None:
        """Write before the trial trains; ``confirms`` is the number of the trial that it trains again."""
        name = trial.study.study_name
        tags = {
            "entrostat.kind": "trial" if confirms is None else "confirmation",
            "entrostat.study": name,
            "entrostat.trial": str(trial.number),
            "optuna.study": name,
            "optuna.trial": str(trial.number),
            "optuna.storage": self._storage,
        }
        if rank is not None:
            tags["entrostat.rank"] = str(rank)
        if confirms is not None:
            tags["entrostat.confirms"] = str(confirms)
        shown = trial_name(trial.number, confirms)
        write_group(path, Group(name=shown, tags=tags, params=dict(params), state="running"))
        run_id = self._tracker.deliver_group(path)
        if run_id is not None:  # else the tracker makes it later, and MLflow alone knows of the other
            trial.set_user_attr(RUN_ID, run_id)

    def end(self, path: Path, ending: TrialEnding, study: Study) -> None:
        """Write after the trial has trained, or was stopped."""
        values = zip((each.name for each in study.criteria), ending.score.values, strict=True)
        metrics = {f"objective/{name}": value for name, value in values if isfinite(value)}
        metrics |= {f"constraint/{name}": value for name, value in ending.score.violations.items()}
        self._write(path, ending.state, ending.reason, metrics if ending.state != "stopped" else {})

    def give_up(self, path: Path, reason: str) -> None:
        """Write that the trial's workers died and none goes on with it; nothing where no runs had begun."""
        if (path / FILE).exists():
            self._write(path, "failed", reason, read_group(path).metrics)

    @staticmethod
    def _write(path: Path, state: State, reason: str, metrics: dict[str, float]) -> None:
        group = read_group(path)
        tags = (
            group.tags | {"entrostat.trial_state": state} | ({"entrostat.reason": reason} if reason else {})
        )
        write_group(path, replace(group, tags=tags, metrics=metrics, state=STATES[state]))
