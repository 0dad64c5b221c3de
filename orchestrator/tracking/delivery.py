"""Delivers one run folder to one MLflow run: every record once, however often a process is killed.

The delivered records are looked up in MLflow and never remembered here: one `log_batch` is one transaction, so
the last step of each kind in MLflow says exactly which records it has.  The folder remembers only
`tracking.json`, the key that finds its MLflow run; it is written before that run is created.
"""

from __future__ import annotations

import getpass
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import innermost
from orchestrator.masking import masked
from orchestrator.storage.files import read_json, write_json
from orchestrator.storage.guardrail_files import read_events
from orchestrator.storage.metrics_log import Kind, Record, Tail
from orchestrator.storage.run_folder import OVER, CampaignInfo, RunFolder, RunInfo, RunState
from orchestrator.tracking.batches import batches, metrics_of
from orchestrator.tracking.datasets import log_datasets
from orchestrator.tracking.keys import clean_key, flat_params
from orchestrator.tracking.logged_models import log_policy
from orchestrator.tracking.samples import SampleDelivery

MAX_TAG_CHARACTERS = 8000  # MLflow's limit
RECORDS_PER_READ = 200
KEY_FILE = "tracking.json"
INPUTS_TAG = "entrostat.inputs"
GUARDRAILS_TAG = "entrostat.guardrails"
MODEL_TAG = "entrostat.model"
NOTES_TAG = "entrostat.notes"
REASON_TAG = "entrostat.reason"
STATE_TAG = "entrostat.state"
"""As in `status.json`; MLflow has one word for a run that was interrupted and one that a guardrail stopped."""

IDENTITY = ("arm", "seed", "method")
"""What tells a run from the others of its campaign, as parameters: MLflow's tables compare and group by those."""

MLFLOW_STATUS: dict[RunState, str] = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "done": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "stopped": "KILLED",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """The MLflow experiment of a campaign and its parent run."""

    experiment_id: str
    parent_run_id: str
    campaign: CampaignInfo
    artifacts: bool
    """Whether checkpoints and policies are copied into it."""
    models: bool = True
    """Whether policies are logged as models, which refer to the folders of their runs."""


class RunDelivery:
    """One run folder on its way to MLflow."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.info = folder.read_info()
        self._run_id: str | None = None
        self._mlflow_status = ""
        self._tags: dict[str, str] = {}
        self._sent: dict[Kind, int] = {"train": -1, "eval": -1}
        self._found: tuple[list[str], list[int]] = ([], [])  # what guardrails did, as far as it was sent
        self._tail = Tail(folder.metrics_path)
        self._samples = SampleDelivery(folder.samples_path)
        self._has_datasets = False

    @property
    def name(self) -> str:
        return f"{self.info.arm} seed-{self.info.seed}"

    def forward(self, client: Any, experiment: Experiment) -> list[str]:
        """Deliver what is new: records, status, and what stands beside them; say in a line each what of that failed.

        A record that a guardrail may yet take back waits: MLflow keeps every value that it was ever given.
        What stands beside records and status fails alone and last, so that no run stays open for want of it.
        """
        state = self.folder.read_status().status  # before the records: what is done has written them all
        if self._run_id is None:
            if state == "pending":
                return []
            self._run_id = self._open(client, experiment)
        accept = None if state in OVER else self.folder.settled()
        while records := self._tail.read(limit=RECORDS_PER_READ, accept=accept):
            self._send(client, self._run_id, records)
        self._send_status(client, self._run_id, state)
        beside: dict[str, Callable[[Any, str], None]] = {
            "guardrails": self._send_guardrails,
            "data sets": self._send_datasets,
            "samples": partial(self._send_samples, is_over=state in OVER),
        }
        if state == "done" and experiment.artifacts:
            beside["artifacts (tracking.artifacts: false leaves them out)"] = self._send_artifacts
        if state == "done" and experiment.models:
            send = partial(self._send_model, experiment_id=experiment.experiment_id)
            beside["model (tracking.models: false leaves it out)"] = send
        return [line for what, send in beside.items() if (line := self._failure(what, send, client))]

    def _failure(self, what: str, send: Callable[[Any, str], None], client: Any) -> str | None:
        try:
            send(client, str(self._run_id))
        except Exception as error:  # whatever MLflow, its server or its artifact store raises
            return f"{self.name}: {what}: {innermost(error)}"
        return None

    def forget(self) -> None:
        """After any failure: ask MLflow again what it has."""
        self._run_id = None
        self._tail = Tail(self.folder.metrics_path)
        self._samples = SampleDelivery(self.folder.samples_path)

    def num_undelivered(self) -> int:
        """Records in the folder that MLflow is not known to have."""
        return sum(record.step > self._sent[record.kind] for record in self.folder.records())

    def _open(self, client: Any, experiment: Experiment) -> str:
        config = self.info.config
        tags = {
            "mlflow.parentRunId": experiment.parent_run_id,
            "entrostat.campaign": self.info.campaign,
            "entrostat.arm": self.info.arm,
            "entrostat.seed": str(self.info.seed),
            "entrostat.method": self.info.method,
            "entrostat.fingerprint": self.info.fingerprint,
            **provenance_tags(experiment.campaign),
        }
        start = next((record.time for record in Tail(self.folder.metrics_path).read(limit=1)), None)
        run = find_or_create_run(client, experiment.experiment_id, self.folder.path, self.name, tags, start)
        complete_run(client, run, config, named={key: getattr(self.info, key) for key in IDENTITY})
        self._mlflow_status = run.info.status
        self._tags = dict(run.data.tags)
        self._sent = last_steps(run)
        self._set_tag(client, run.info.run_id, INPUTS_TAG, _digests(self.info))
        return str(run.info.run_id)

    def _send(self, client: Any, run_id: str, records: list[Record]) -> None:
        fresh = [record for record in records if record.step > self._sent[record.kind]]
        for batch in batches(fresh):
            client.log_batch(run_id, metrics=[metric for record in batch for metric in metrics_of(record)])
            for record in batch:
                self._sent[record.kind] = record.step

    def _send_status(self, client: Any, run_id: str, state: RunState) -> None:
        status = MLFLOW_STATUS[state]
        self._set_tag(client, run_id, STATE_TAG, state)
        status_now = self.folder.read_status()
        self._set_tag(client, run_id, REASON_TAG, status_now.reason or "")
        self._set_tag(client, run_id, NOTES_TAG, "\n".join(status_now.notes))
        if status == self._mlflow_status:
            return
        if state in ("pending", "running"):
            client.update_run(run_id, status=status)
        else:
            client.set_terminated(run_id, status, int(1000 * self.folder.read_status().updated))
        self._mlflow_status = status

    def _set_tag(self, client: Any, run_id: str, name: str, text: str) -> None:
        """Set a tag where that changes anything."""
        text = text[:MAX_TAG_CHARACTERS]
        if text != self._tags.get(name, ""):
            client.set_tag(run_id, name, text)
            self._tags[name] = text

    def _send_guardrails(self, client: Any, run_id: str) -> None:
        """Send the findings of guardrails and their outcomes, as a tag and as artifacts, whenever there are more."""
        reasons = [
            f"iteration {e.iteration}: {e.reason} ({e.action})" for e in read_events(self.folder.events_path)
        ]
        paths = [path for path in (self.folder.events_path, self.folder.rollbacks_path) if path.exists()]
        sizes = [path.stat().st_size for path in paths]  # a rollback is written after its event
        found = (reasons, sizes)
        if found == self._found:
            return
        text = "\n".join(reasons)[:MAX_TAG_CHARACTERS]
        there = {item.path: item.file_size for item in client.list_artifacts(run_id)}
        for path, size in zip(paths, sizes, strict=True):
            if there.get(path.name) != size or text != self._tags.get(GUARDRAILS_TAG, ""):
                client.log_artifact(run_id, str(path))
        self._set_tag(client, run_id, GUARDRAILS_TAG, text)
        self._found = found

    def _send_datasets(self, client: Any, run_id: str) -> None:
        if not self._has_datasets:
            log_datasets(client, client.get_run(run_id), self.info)
            self._has_datasets = True

    def _send_samples(self, client: Any, run_id: str, *, is_over: bool) -> None:
        try:
            self._samples.forward(client, run_id, before=self._sent["train"] + 1, is_over=is_over)
        except Exception:
            self._samples = SampleDelivery(self.folder.samples_path)  # asks again what MLflow has
            raise

    def _send_artifacts(self, client: Any, run_id: str) -> None:
        if "entrostat.artifacts" in self._tags:
            return
        if self.folder.checkpoint_path.exists():
            client.log_artifact(run_id, str(self.folder.checkpoint_path), "checkpoints")
            for shares in self.folder.shares_paths:  # of a policy that is spread over ranks
                client.log_artifacts(run_id, str(shares), f"checkpoints/{shares.name}")
        if self.folder.policy_path.exists():
            client.log_artifacts(run_id, str(self.folder.policy_path), "policy")
        client.set_tag(run_id, "entrostat.artifacts", "complete")
        self._tags["entrostat.artifacts"] = "complete"

    def _send_model(self, client: Any, run_id: str, *, experiment_id: str) -> None:
        if MODEL_TAG in self._tags or not self.folder.policy_path.exists():
            return
        self._set_tag(
            client, run_id, MODEL_TAG, log_policy(client, experiment_id, run_id, self.folder, self.info)
        )


def renew_key(folder: Path) -> None:
    """Let what the folder holds be another run of MLflow from now on; the one before stays there as it is."""
    path = folder / KEY_FILE
    before = {"retry_of": read_json(path)["key"]} if path.exists() else {}
    write_json(path, {"key": uuid.uuid4().hex, **before})


def find_or_create_run(
    client: Any,
    experiment_id: str,
    folder: Path,
    name: str,
    tags: Mapping[str, str],
    start: float | None = None,
) -> Any:
    """The MLflow run of a folder, found again by the key in its `tracking.json`.

    ``start`` is when the run began [seconds since 1970]; else now, which a run that is delivered late
    would have ended before.
    """
    if not (folder / KEY_FILE).exists():
        renew_key(folder)
    own = {f"entrostat.{name}": str(value) for name, value in read_json(folder / KEY_FILE).items()}
    key = own["entrostat.key"]
    found = client.search_runs([experiment_id], f"tags.`entrostat.key` = '{clean_key(key)}'", max_results=1)
    if found:
        return found[0]
    clipped = {tag: str(value)[:MAX_TAG_CHARACTERS] for tag, value in tags.items() if value}
    milliseconds = None if start is None else int(1000 * start)
    run = client.create_run(experiment_id, milliseconds, run_name=name, tags=clipped | own)
    return client.get_run(run.info.run_id)


def complete_run(
    client: Any, run: Any, config: Mapping[str, Any], named: Mapping[str, Any] | None = None
) -> None:
    """Log the resolved configuration, and parameters beside it, if the run does not have all of them yet."""
    from mlflow.entities import Param

    config = masked(config)  # of a folder that an older version wrote
    params = flat_params({**(named or {}), **config})
    missing = {key: value for key, value in params.items() if key not in run.data.params}
    if missing:
        # The parameters come last: by them a run is known to have both, and an interruption between is made good.
        text = yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False, allow_unicode=True)
        client.log_text(run.info.run_id, text, "config.yaml")
        client.log_batch(run.info.run_id, params=[Param(key, value) for key, value in missing.items()])


def last_steps(run: Any) -> dict[Kind, int]:
    """The last step that MLflow has of each kind; -1 where it has none."""
    last: dict[Kind, int] = {"train": -1, "eval": -1}
    for metric in run.data.to_proto().metrics:
        kind: Kind = "eval" if metric.key.startswith("eval/") else "train"
        last[kind] = max(last[kind], metric.step)
    return last


def provenance_tags(campaign: CampaignInfo) -> dict[str, str]:
    """Who, versions, commit and source file, as tags."""
    versions = {f"entrostat.version.{clean_key(name)}": text for name, text in campaign.versions.items()}
    commit = {"mlflow.source.git.commit": campaign.git_commit} if campaign.git_commit else {}
    return {"mlflow.user": _user(), "mlflow.source.name": campaign.source, **commit, **versions}


def _digests(info: RunInfo) -> str:
    """What a run read when it began, and what was accepted in the place of it, a line each."""
    began = [f"{label} {state['digest']}" for label, state in (info.inputs or {}).items()]
    later = [
        f"{each['input']} {(each['new'] or {}).get('digest')} from iteration {each['iteration']}"
        for each in info.accepted
    ]
    return "\n".join([*began, *later])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return "unknown"
