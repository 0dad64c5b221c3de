"""Tracks a campaign in MLflow: one thread of the parent process follows the run folders.

Training never waits for MLflow and never speaks to it.  The thread runs at low priority and sends in
large batches.  If the server does not answer, it says so once and tries again at growing intervals;
everything stays in the run folders, and the next `entrostat run` of the same campaign delivers it.

Each campaign has one experiment with one parent run, and one child run for each run.  Runs of a group (a
trial of a study) are children of the group's run, which is a child of the campaign's run.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import innermost
from orchestrator.masking import mask_uri, scrub
from orchestrator.storage.metric_names import family_name
from orchestrator.storage.run_folder import OVER, CampaignFolder, RunState
from orchestrator.tracking.batches import log_metrics
from orchestrator.tracking.delivery import (
    MLFLOW_STATUS,
    Experiment,
    RunDelivery,
    complete_run,
    find_or_create_run,
    provenance_tags,
)
from orchestrator.tracking.groups import GroupDelivery, groups, is_group
from orchestrator.tracking.keys import clean_key
from orchestrator.tracking.store import experiment_of, open_client

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 120.0
NICENESS = 10


class Tracker:
    """Forwards a campaign folder to MLflow while the campaign runs.

    Args:
        campaign: folder that has its `campaign.json`; run folders may appear later.
        uri: a tracking URI that `tracking_store.check` let pass.
        warn: told, from the tracker's thread, when the server stops answering and when it is back.
        artifacts: whether checkpoints and policies are uploaded too, or only metrics and reports.
        models: whether policies are logged as models, which refer to the folders of their runs.
        system_metrics: whether MLflow's monitor logs the load of this machine on the parent run.
        interval_seconds: between two passes over the run folders.
    """

    def __init__(
        self,
        campaign: CampaignFolder,
        uri: str,
        *,
        warn: Callable[[str], None] = print,
        artifacts: bool = True,
        models: bool = True,
        system_metrics: bool = False,
        interval_seconds: float = 10.0,
    ) -> None:
        self.campaign = campaign
        self.uri = uri
        self._warn = warn
        self._artifacts, self._models = artifacts, models
        self._system_metrics = system_metrics
        self._monitor: Any = None
        self._interval_seconds = interval_seconds
        self._client: Any = None
        self._experiment: Experiment | None = None
        self._runs: dict[Path, RunDelivery] = {}
        self._groups: dict[Path, GroupDelivery] = {}
        self._failures: list[str] = []  # what went wrong in the last pass
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to forward in the background."""
        self._thread = threading.Thread(target=self._loop, name="mlflow", daemon=True)
        self._thread.start()

    def _watch_machine(self, run_id: str) -> None:
        """Start MLflow's monitor, again after it has given up on a server that did not answer."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        if self._monitor is not None:
            self._monitor.finish()
        self._monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=self.uri)
        self._monitor.start()

    def forward(self) -> bool:
        """One pass over all run folders; False where not everything could be delivered."""
        failures = []
        try:
            client, experiment = self._connect()
            for path in groups(self.campaign.path):
                self._deliver_group(path, client, experiment)
            for delivery in self._deliveries():
                failures += self._deliver(delivery, client, experiment)
        except Exception as error:  # whatever MLflow, its server or its database raises: training goes on
            self._experiment = None
            failures.append(innermost(error))
        self._report(failures)
        return not failures

    def deliver_group(self, path: Path) -> str | None:
        """Make the run of one group at once; give its id, None where MLflow does not answer."""
        try:
            client, experiment = self._connect()
            return self._deliver_group(path, client, experiment)
        except Exception as error:  # as in `forward`
            self._experiment = None
            self._report([innermost(error)])
            return None

    @property
    def experiment_id(self) -> str | None:
        """The campaign's experiment; None until MLflow has answered."""
        return None if self._experiment is None else self._experiment.experiment_id

    def finish(
        self, state: RunState | None = None, final: Mapping[str, Mapping[str, float]] | None = None
    ) -> list[str]:
        """Deliver the rest and the report, close the parent run; say what could not be delivered.

        Args:
            state: how the whole ended; without it the runs say.
            final: metric to arm to the arm's final number, for the parent run.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._monitor is not None:
            self._monitor.finish()
        self.forward()
        if self._experiment is not None:  # MLflow answers, whatever else went wrong
            try:
                self._finish_parent(state, final or {})
            except Exception as error:
                self._failures.append(scrub(innermost(error), self.uri))
        if not self._failures:
            return []
        counts = {run.name: run.num_undelivered() for run in self._deliveries()}
        missing = ", ".join(f"{name} ({count} records)" for name, count in counts.items() if count)
        return [
            *(f"tracking: {mask_uri(self.uri)}: {failure}" for failure in self._failures),
            f"tracking: not delivered: {missing or 'status or artifacts'}. Nothing is lost: it is all in "
            f"{self.campaign.path}, and the same command again delivers it.",
        ]

    def _loop(self) -> None:
        with suppress(OSError, AttributeError):  # Linux can lower one thread; elsewhere it stays as it is
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            pause = self._interval_seconds
            if not self.forward():
                pause = self._pause_seconds
                self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
            if self._stop.wait(pause):
                return

    def _connect(self) -> tuple[Any, Experiment]:
        if self._client is None:
            self._client = open_client(self.uri)
        if self._experiment is None:
            self._experiment = self._open_campaign(self._client)
        return self._client, self._experiment

    def _open_campaign(self, client: Any) -> Experiment:
        info = self.campaign.read_info()
        experiment_id = experiment_of(client, self.uri, self.campaign.path.parent, info.name)
        tags = {
            "entrostat.campaign": info.name,
            "mlflow.note.content": info.description,
            **provenance_tags(info),
        }
        start = info.created or None
        run = find_or_create_run(client, experiment_id, self.campaign.path, info.name, tags, start)
        complete_run(client, run, info.config)
        if run.info.status != "RUNNING":
            client.update_run(run.info.run_id, status="RUNNING")
        if self._system_metrics and self._thread is not None:
            self._watch_machine(run.info.run_id)
        return Experiment(
            experiment_id=experiment_id,
            parent_run_id=run.info.run_id,
            campaign=info,
            artifacts=self._artifacts,
            models=self._models,
        )

    def _deliveries(self) -> list[RunDelivery]:
        for folder in self.campaign.runs():
            if folder.path not in self._runs:
                self._runs[folder.path] = RunDelivery(folder)
        return list(self._runs.values())

    def _deliver(self, delivery: RunDelivery, client: Any, experiment: Experiment) -> list[str]:
        from mlflow.exceptions import RestException

        path = delivery.folder.path.parent
        try:
            if is_group(path):  # asked now: it may have come since this pass began
                parent = self._deliver_group(path, client, experiment)
                experiment = replace(experiment, parent_run_id=parent)
            return delivery.forward(client, experiment)
        except (RestException, ValueError, FileNotFoundError) as error:  # of this run; the server does answer
            delivery.forget()
            return [f"{delivery.name}: {innermost(error)}"]
        except Exception:
            delivery.forget()
            raise

    def _deliver_group(self, path: Path, client: Any, experiment: Experiment) -> str:
        delivery = self._groups.setdefault(path, GroupDelivery(path))
        info = experiment.campaign
        tags = {"entrostat.campaign": info.name, **provenance_tags(info)}
        return delivery.forward(client, experiment.experiment_id, experiment.parent_run_id, tags)

    def _finish_parent(self, state: RunState | None, final: Mapping[str, Mapping[str, float]]) -> None:
        client, experiment = self._connect()
        run_id = experiment.parent_run_id
        _send_final_numbers(client, run_id, final)
        if self.campaign.report_path.parent.exists():
            client.log_artifacts(run_id, str(self.campaign.report_path.parent), "report")
        states = {run.folder.read_status().status for run in self._deliveries()}
        failed = "FAILED" if "failed" in states else "KILLED"
        status = MLFLOW_STATUS[state] if state else "FINISHED" if states <= set(OVER) else failed
        client.set_terminated(run_id, status)

    def _report(self, failures: list[str]) -> None:
        before, self._failures = self._failures, [scrub(failure, self.uri) for failure in failures]
        if failures and not before:
            self._warn(
                f"tracking: {mask_uri(self.uri)}: {self._failures[0]}. Training goes on; the metrics stay in "
                f"{self.campaign.path} and are sent when the server answers again."
            )
        if before and not failures:
            self._pause_seconds = FIRST_PAUSE_SECONDS
            self._warn(f"tracking: {mask_uri(self.uri)} answers again; everything so far is delivered.")


def _send_final_numbers(client: Any, run_id: str, final: Mapping[str, Mapping[str, float]]) -> None:
    """Log the final numbers of the arms as ``final/<metric>/<arm>``, where they are not there yet."""
    from mlflow.entities import Metric

    named = {
        f"final/{family_name(metric)}/{arm}": value
        for metric, arms in final.items()
        for arm, value in arms.items()
    }
    there, now = client.get_run(run_id).data.metrics, int(1000 * time.time())
    metrics = [
        Metric(key, value, now, 0)
        for name, value in named.items()
        if there.get(key := clean_key(name)) != value
    ]
    log_metrics(client, run_id, metrics)
