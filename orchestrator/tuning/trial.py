"""One trial of stage two: its seeds train one after the other, watched, and stopped as soon as that is enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from orchestrator.campaign import run_info
from orchestrator.changed_inputs import continued
from orchestrator.configuration.inputs import inputs_of
from orchestrator.configuration.resolve import Arm
from orchestrator.configuration.stored import differing_keys
from orchestrator.execution.base import Crew, Ending
from orchestrator.execution.runs import Patience, Worker, is_lost, settle_run, start_run, stop_runs
from orchestrator.storage.metrics_log import Record, Tail
from orchestrator.storage.run_folder import CampaignFolder, RunFolder
from orchestrator.tuning.criteria import SeedRecord
from orchestrator.tuning.judging import Score, before_training, score, violations
from orchestrator.tuning.models import Wilcoxon
from orchestrator.tuning.study import Study

POLL_SECONDS = 0.2
DIVERGED = "TrainingDivergedError"
State = Literal["complete", "pruned", "untrained", "failed", "stopped"]
"""``untrained`` is refused before training; ``stopped`` is let go of, and another attempt continues it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnding:
    """How a trial ended."""

    state: State
    score: Score
    reason: str = ""


class _Stopped(Exception):  # noqa: N818 - not an error
    """A run need not go on."""

    def __init__(self, state: State, reason: str) -> None:
        super().__init__(reason)
        self.state: State = state
        self.reason = reason


class LiveRecord:
    """The record of a run as it grows; another process writes it, truncates it, or has not made it yet."""

    def __init__(self, folder: RunFolder, loop: str, sensor: str, dead_time: int = 1) -> None:
        self._tail = Tail(folder.metrics_path)
        self._loop = loop
        self._sensor = sensor
        self._dead_time = dead_time
        self._train: list[Record] = []
        self._evaluations: list[Record] = []

    @property
    def num_iterations(self) -> int:
        """Iterations that are recorded."""
        return self._train[-1].step + 1 if self._train else 0

    def update(self) -> None:
        """Read the new records; a run that goes back to its checkpoint writes some steps again."""
        for record in self._tail.read():
            records = self._train if record.kind == "train" else self._evaluations
            while records and records[-1].step >= record.step:
                records.pop()
            records.append(record)

    def record(self, num_iterations: int | None = None) -> SeedRecord:
        """The record so far, or the record after so many iterations and before the evaluation that followed them."""
        train, evaluations = self._train, self._evaluations
        if num_iterations is not None:
            train = [record for record in train if record.step < num_iterations]
            evaluations = [record for record in evaluations if record.step < num_iterations]
        names = {name for record in evaluations for name in record.metrics if name.count("/") == 1}
        return SeedRecord(
            reading=_column(train, self._sensor),
            r=_column(train, f"loop/{self._loop}/r"),
            u=_column(train, f"loop/{self._loop}/u"),
            dead_time=self._dead_time,
            reward=_column(train, "reward"),
            evaluations={name: _points(evaluations, name) for name in names},
        )


class TrainedTrial:
    """Trains the arm of one candidate for every seed.

    Args:
        study: what is tuned.
        trial: reports intermediate values to it and asks it whether to prune; an Optuna trial.
        params: of the candidate.
        name: of its folder, which is that of an arm.
        crew: has the machines that the runs are given to.
        interrupted: is asked between two looks; gives a reason to let go of the trial, or "".
    """

    def __init__(
        self,
        study: Study,
        trial: Any,
        params: Mapping[str, Any],
        name: str,
        *,
        crew: Crew,
        interrupted: Callable[[], str] = lambda: "",
    ) -> None:
        self._study = study
        self._trial = trial
        self._arm: Arm = study.candidate(params, name)
        self._folder = CampaignFolder(study.folder)
        self._crew = crew
        self._interrupted = interrupted
        self._finished: list[SeedRecord] = []
        self._known: Mapping[str, float] = {}

    @property
    def path(self) -> Path:
        """The folder that holds a folder for each seed."""
        return self._folder.path / self._arm.name

    def run(self) -> TrialEnding:
        """Train until every seed is done or one of them is stopped."""
        loop = self._arm.config.loops.get(self._study.loop)
        if loop is not None and self._study.start is not None:
            bound = self._study.config.constraints.sensitivity
            self._known = before_training(loop, self._study.start.plant, bound)
        current: SeedRecord | None = None
        try:
            if any(violation > 0 for violation in self._known.values()):
                raise _Stopped("untrained", "Ms is above its bound; it was not trained")
            for seed in self._study.seeds:
                live = self._live_record(seed)
                try:
                    self._train(seed, live)
                finally:
                    live.update()
                    current = live.record()
                self._finished.append(current)
                current = None
                self._report_seed()
        except _Stopped as stop:
            started = [*self._finished, *([] if current is None else [current])]
            return TrialEnding(state=stop.state, score=self._score(started), reason=stop.reason)
        found = self._score(self._finished)
        if found.has_values:
            return TrialEnding(state="complete", score=found)
        pairs = zip(self._study.criteria, found.values, strict=True)
        lacking = ", ".join(each.name for each, value in pairs if value != value)
        return TrialEnding(
            state="failed", score=found, reason=f"the runs do not tell {lacking or 'a finite value'}"
        )

    def _score(self, records: list[SeedRecord]) -> Score:
        if not records:
            unknown = tuple(float("nan") for _ in self._study.criteria)
            return Score(values=unknown, violations=dict(self._known))
        found = score(records, self._study.criteria, self._study.config.constraints)
        return replace(found, violations={**found.violations, **self._known})

    def _live_record(self, seed: int) -> LiveRecord:
        loop = self._arm.config.loops.get(self._study.loop)
        sensor = loop.reading if loop is not None else "entropy"
        folder = self._folder.run(self._arm.name, seed)
        return LiveRecord(folder, self._study.loop, sensor, self._study.dead_time)

    def _train(self, seed: int, live: LiveRecord) -> None:
        """Train one seed in a process of its own; a seed that is done is not trained again."""
        folder = self._prepared(seed)
        looks = list(self._study.looks)
        if folder.read_status().status == "done":
            live.update()
            self._look(live, looks)
            return
        patience = Patience(self._study.campaign.config.execution.retries)
        is_over = False
        while not is_over:
            ending = self._watch(start_run(folder, self._crew), live, looks)
            is_over = (
                bool(self._interrupted()) or not is_lost(folder, ending) or not patience.takes_up(folder)
            )
            settle_run(folder, ending, "failed" if is_over else "pending")
        if reason := self._interrupted():  # the run may have been told by the same signal
            raise _Stopped("stopped", reason)
        live.update()
        self._look(live, looks)
        self._require_done(folder)

    def _watch(self, worker: Worker, live: LiveRecord, looks: list[int]) -> Ending:
        try:
            while (ending := worker.job.ended()) is None:
                live.update()
                self._look(live, looks)
                if reason := self._interrupted():
                    raise _Stopped("stopped", reason)
                time.sleep(POLL_SECONDS)
        except _Stopped as stop:
            self._stop(worker, stop)
            raise
        except BaseException:
            stop_runs([worker])
            raise
        return ending

    def _prepared(self, seed: int) -> RunFolder:
        folder = self._folder.run(self._arm.name, seed)
        inputs = inputs_of(self._arm.config)
        info = run_info(self._study.config.name, self._arm, seed, self._study.campaign.config, inputs)
        if folder.exists():
            stored = folder.read_info()
            if differing_keys(stored.config, self._arm):
                raise _Stopped("failed", f"{folder.path} holds a run of other parameters; delete {self.path}")
            info = continued(stored, info, folder)  # the study has been asked whether that is right
        folder.write_info(info)
        return folder

    def _stop(self, worker: Worker, stop: _Stopped) -> None:
        stop_runs([worker])
        if stop.state != "stopped":
            status = worker.folder.read_status()
            worker.folder.write_status(replace(status, reason=f"{stop.state}: {stop.reason}", pid=None))

    def _require_done(self, folder: RunFolder) -> None:
        status = folder.read_status()
        if status.status == "done":
            return
        reason = status.reason or f"ended as {status.status}; see {folder.log_path}"
        # A policy that blew up is a bad candidate, not a broken machine: the sampler is to learn from it.
        is_bad = status.status == "stopped" or reason.startswith(DIVERGED)
        state: State = "pruned" if is_bad else "failed"
        raise _Stopped(state, f"{folder.path.name}: {reason}")

    def _look(self, live: LiveRecord, looks: list[int]) -> None:
        """Stop a run that collapsed or exploded, and report the values so far to the pruner."""
        constraints = self._study.config.constraints
        for name, violation in violations(live.record(), constraints).items():
            if violation > 0:
                raise _Stopped("pruned", f"{name}: entropy is {violation:.3g} nats/token beyond the bound")
        while looks and looks[0] <= live.num_iterations:
            self._report(live.record(looks[0]), looks.pop(0))

    def _report(self, record: SeedRecord, num_iterations: int) -> None:
        if len(self._study.criteria) > 1 or isinstance(self._study.config.pruner, Wilcoxon):
            return
        step = len(self._finished) * self._study.num_iterations + num_iterations
        found = self._score([*self._finished, record])
        self._tell(found.values[0], step, f"at iteration {num_iterations} of seed {len(self._finished) + 1}")

    def _report_seed(self) -> None:
        """For the paired test: a seed is a step."""
        if isinstance(self._study.config.pruner, Wilcoxon) and len(self._study.criteria) == 1:
            number = len(self._finished)
            found = self._score(self._finished[-1:])
            self._tell(found.values[0], number - 1, f"of the last, after {number} seeds")

    def _tell(self, value: float, step: int, when: str) -> None:
        if value != value:
            return
        self._trial.report(value, step)
        last = len(self._study.seeds) * self._study.num_iterations
        is_over = step == last or (
            isinstance(self._study.config.pruner, Wilcoxon) and step + 1 == len(self._study.seeds)
        )
        if not is_over and self._trial.should_prune():
            kind = self._study.config.pruner.kind
            raise _Stopped("pruned", f"{kind}: {self._study.criteria[0].name} {value:.4g} {when}")


def _column(records: list[Record], name: str) -> np.ndarray:
    return np.array([record.metrics.get(name, np.nan) for record in records], dtype=float)


def _points(records: list[Record], name: str) -> tuple[np.ndarray, np.ndarray]:
    known = [record for record in records if name in record.metrics]
    steps = np.array([record.step for record in known], dtype=float)
    return steps, np.array([record.metrics[name] for record in known], dtype=float)
