"""The folders of a campaign and its runs: the one thing that training and everything around it share.

    runs/<campaign>/campaign.json                settings of the campaign
    runs/<campaign>/<arm>/seed-<n>/run.json      settings of the run
                                   status.json   its progress
                                   activity.json what it is at now, to be looked at
                                   also.json     what trackers beside MLflow have of it
                                   metrics.jsonl all measured numbers, one record a line
                                   metrics.npz   the same as columns, once the run has ended
                                   samples/      a few responses as texts, a Parquet file an iteration
                                   initialisation.json  decision of the initialisation, if any
                                   guardrails.jsonl, rollbacks.json  events and their outcomes
                                   graders.json  rules that its graders were held to
                                   profile/      traces of iterations, where they were asked for
                                   continued.json the run of another campaign it continues, if any
                                   checkpoints/last.ckpt, previous.ckpt, *.shares; policy/, log.txt
    runs/<campaign>/report/index.html

A run only appends to its own folder; the campaign's parent process reads along, shows progress
and forwards to MLflow.  A dead tracking server therefore loses nothing, and a run that was killed
continues from its folder alone.  JSON files are replaced whole (write, then rename), so a reader
never sees half of one; `metrics.jsonl` may end in a torn line, which readers skip.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.masking import mask, masked
from orchestrator.storage.files import (
    UNFINISHED,
    clear_unfinished,
    clear_unfinished_folder,
    read_json,
    replace_file,
    write_json,
)
from orchestrator.storage.metrics_log import MetricsWriter, Record, Tail, encode
from orchestrator.storage.renamed import up_to_date
from orchestrator.storage.run_info import OVER, CampaignInfo, RunInfo, RunState, Status, read_info_file
from orchestrator.storage.run_lock import RunBusyError, hold
from orchestrator.storage.sealed import read_sealed

__all__ = [
    "OVER",
    "CampaignFolder",
    "CampaignInfo",
    "MetricsWriter",
    "Record",
    "RunBusyError",
    "RunFolder",
    "RunInfo",
    "RunState",
    "Status",
    "Tail",
    "read_json",
    "write_json",
]

SHARES = ".shares"
"""How the names of folders end that hold the tensors of a checkpoint, where ranks share them."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run on disk."""

    path: Path

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_path(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def previous_checkpoint_path(self) -> Path:
        """The one before the last: where that is damaged, the run goes on from here."""
        return self.path / "checkpoints" / "previous.ckpt"

    @property
    def good_checkpoint_path(self) -> Path:
        """What a guardrail goes back to, where it may: the one before the last, if nothing was wrong since."""
        return self.path / "checkpoints" / "good.ckpt"

    @property
    def shares_paths(self) -> list[Path]:
        """Folders with the tensors of checkpoints whose policy is spread over ranks."""
        return sorted(self.checkpoint_path.parent.glob(f"*{SHARES}"))

    @property
    def confirmed_path(self) -> Path:
        """The iteration before which nothing is taken back any more, where a guardrail may take back."""
        return self.path / "checkpoints" / "confirmed.json"

    @property
    def events_path(self) -> Path:
        """What guardrails found, an event a line."""
        return self.path / "guardrails.jsonl"

    @property
    def rollbacks_path(self) -> Path:
        """What was rolled back, and the limits of commands since."""
        return self.path / "rollbacks.json"

    @property
    def graders_path(self) -> Path:
        """What the graders were held to on this system, rule by rule."""
        return self.path / "graders.json"

    @property
    def start_path(self) -> Path:
        """What entropy-aware initialisation decided, where it was asked for."""
        return self.path / "initialisation.json"

    @property
    def samples_path(self) -> Path:
        """The folder of samples: a few responses of some iterations."""
        return self.path / "samples"

    @property
    def policy_path(self) -> Path:
        return self.path / "policy"

    @property
    def best_path(self) -> Path:
        """The policy whose evaluation was the best, where `evaluation.keep_best` asks for it."""
        return self.path / "best"

    @property
    def engine_path(self) -> Path:
        """What a rollout engine leaves on disk: weights for a server to load."""
        return self.path / "engine"

    @property
    def profile_path(self) -> Path:
        """What `execution.profile_iterations` leaves: a trace of each of them."""
        return self.path / "profile"

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    def write_info(self, info: RunInfo) -> None:
        """Write what the run is, without credentials."""
        write_json(self.path / "run.json", masked(dataclasses.asdict(info)))

    def read_info(self) -> RunInfo:
        info = read_info_file(RunInfo, self.path / "run.json")
        return dataclasses.replace(info, config=up_to_date(info.config))

    def exists(self) -> bool:
        return (self.path / "run.json").exists()

    def write_status(self, status: Status) -> None:
        """Write the status as of now, without credentials."""
        reason = None if status.reason is None else mask(status.reason)
        stamped = dataclasses.replace(status, reason=reason, updated=time.time())
        write_json(self.path / "status.json", dataclasses.asdict(stamped))

    def read_status(self) -> Status:
        """The status as last written; pending where there is none yet."""
        path = self.path / "status.json"
        return read_info_file(Status, path) if path.exists() else Status(updated=0.0)

    def writer(self) -> MetricsWriter:
        """Opens `metrics.jsonl` for appending; a torn last line is removed."""
        return MetricsWriter(self.metrics_path)

    def records(self) -> list[Record]:
        """All complete records, in the order written."""
        return Tail(self.metrics_path).read()

    def truncate(self, iteration: int) -> None:
        """Forget what a checkpoint taken after `iteration` iterations does not know.

        Keeps training records of steps < iteration and evaluations of steps <= iteration: the
        evaluation at step k comes before the checkpoint k.
        """
        records = self.records()
        kept = [rec for rec in records if rec.step < iteration + (rec.kind == "eval")]
        if len(kept) < len(records):
            replace_file(self.metrics_path, b"".join(encode(record) for record in kept))

    def cut_records(self, size: int) -> None:
        """Leave the first ``size`` bytes of the records."""
        if self.metrics_path.exists() and self.metrics_path.stat().st_size > size:
            os.truncate(self.metrics_path, size)

    def clear_unfinished(self) -> None:
        """Remove what killed processes have left half written; for the one that holds the run."""
        for folder in (self.path, self.checkpoint_path.parent, self.samples_path):
            clear_unfinished(folder)
        for path in self.checkpoint_path.parent.glob(f"*{UNFINISHED}"):
            path.unlink(missing_ok=True)
        clear_unfinished_folder(self.policy_path)
        clear_unfinished_folder(self.best_path)

    def settled(self) -> Callable[[Record], bool] | None:
        """The records of an unfinished run that are never rolled back; None if this holds for all of them.

        Only a guardrail rolls back, and never beyond the last good checkpoint.
        """
        if not self.confirmed_path.exists():
            return None
        iteration = int(read_sealed(self.confirmed_path)["iteration"])
        return lambda record: record.step < iteration + (record.kind == "eval")

    def lock(self, wait_seconds: float = 0.0) -> AbstractContextManager[None]:
        """Hold the run exclusively; the kernel frees it when this process ends, however it ends.

        Raises:
            RunBusyError: another process still holds it after `wait_seconds`.
        """
        return hold(self.path, wait_seconds)

    def is_locked(self) -> bool:
        """Whether a live process works on this run, whatever `status.json` says."""
        try:
            with self.lock():
                return False
        except RunBusyError:
            return True


@dataclass(frozen=True, slots=True)
class CampaignFolder:
    """One campaign on disk."""

    path: Path

    @property
    def report_path(self) -> Path:
        return self.path / "report" / "index.html"

    @property
    def study_page_path(self) -> Path:
        """The page of a study, where this is one."""
        return self.path / "report" / "study.html"

    def run(self, arm: str, seed: int) -> RunFolder:
        return RunFolder(self.path / arm / f"seed-{seed}")

    def runs(self) -> list[RunFolder]:
        """The runs that have a `run.json`: arms in the order of the configuration, then seeds."""
        found = [
            (RunFolder(path.parent).read_info(), path.parent) for path in self.path.glob("*/seed-*/run.json")
        ]
        order = {arm: rank for rank, arm in enumerate(_arm_names(self.read_info().config))}
        found.sort(key=lambda item: (order.get(item[0].arm, len(order)), item[0].arm, item[0].seed))
        return [RunFolder(path) for _, path in found]

    def write_info(self, info: CampaignInfo) -> None:
        """Write what the campaign is, without credentials."""
        write_json(self.path / "campaign.json", masked(dataclasses.asdict(info)))

    def read_info(self) -> CampaignInfo:
        info = read_info_file(CampaignInfo, self.path / "campaign.json")
        return dataclasses.replace(info, config=up_to_date(info.config))

    def exists(self) -> bool:
        return (self.path / "campaign.json").exists()


def _arm_names(config: Mapping[str, Any]) -> list[str]:
    """Arms in the order of the configuration, whether they are a mapping or a list with names."""
    arms = config.get("arms") or {}
    return [str(arm["name"]) if isinstance(arm, Mapping) and "name" in arm else str(arm) for arm in arms]
