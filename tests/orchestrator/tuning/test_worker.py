"""Workers: the budget, the queue, and what is left of a trial when one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from math import nan
from typing import ClassVar

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import event

from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo, Status
from orchestrator.tracking.groups import Group, read_group, write_group
from orchestrator.tuning import worker as workers
from orchestrator.tuning.addressed_sampling import place_of
from orchestrator.tuning.attempts import (
    FAILED,
    FOLDER,
    OUTCOME,
    RANK,
    REASON,
    folder_name,
)
from orchestrator.tuning.judging import Score
from orchestrator.tuning.records import open_study
from orchestrator.tuning.space import suggest
from orchestrator.tuning.storage import open_storage, storage_url
from orchestrator.tuning.trial import TrialEnding
from orchestrator.tuning.trial_mlflow import RUN_ID, TrialRuns
from orchestrator.tuning.worker import TrialWorker
from tests.orchestrator.tuning.conftest import (
    FAKE_TRAINING,
    KI,
    KP,
    ROOT,
    SIMULATION,
    TRACKING,
    kill,
    stop_when_recorded,
)


class NoTracker:
    def deliver_group(self, path):
        assert (path / "group.json").exists()
        return f"run of {path.name}"


@pytest.fixture
def opened(make_study, fake_training, monkeypatch):
    """A study, its Optuna study, and a worker for it."""
    monkeypatch.setattr(workers, "WAIT_SECONDS", 0.02)

    def make(until=None, **changes):
        study = make_study(**changes)
        url = storage_url(study.config.storage, study.folder)
        storage = open_storage(url, TRACKING, study.config.stale_seconds)
        found = open_study(study, storage)
        return study, found, TrialWorker(study, found, storage, TrialRuns(NoTracker(), url), until=until)

    return make


def states(found):
    return [trial.state.name for trial in found.trials]


def test_a_worker_uses_up_the_budget_and_no_more(opened):
    study, found, worker = opened(budget={"trials": 3}, seeds=[0])
    assert worker.run() == 0
    assert states(found) == ["COMPLETE"] * 3
    for trial in found.trials:
        assert trial.params.keys() == {KP, KI}
        assert trial.user_attrs[FOLDER] == f"trial-{trial.number:04d}"
        assert trial.user_attrs[RUN_ID] == f"run of trial-{trial.number:04d}"
        assert (study.folder / f"trial-{trial.number:04d}" / "seed-0" / "metrics.jsonl").exists()
    _, again, worker = opened(budget={"trials": 4}, seeds=[0])
    assert worker.run() == 0
    assert len(again.trials) == 4


def test_where_another_takes_the_last_trial_first_there_is_nothing_to_do(opened, monkeypatch):
    """It was there when the worker looked."""
    study, found, worker = opened(budget={"trials": 1}, seeds=[0])
    take = worker._queue.take

    def late():
        found.tell(worker._queue.trial(take()), 1.0)
        return take()

    monkeypatch.setattr(worker._queue, "take", late)
    assert worker.run() == 0
    assert states(found) == ["COMPLETE"]
    assert not any(study.folder.glob("trial-*"))


def test_the_queue_comes_first(opened):
    _, found, worker = opened(budget={"trials": 2}, seeds=[0])
    found.enqueue_trial({KP: 1.0, KI: 0.1}, user_attrs={RANK: 1})
    worker.run()
    assert found.trials[0].params == {KP: 1.0, KI: 0.1}
    assert found.trials[0].value == pytest.approx(0.0)
    assert found.best_trial.number == 0


def test_after_the_wall_clock_no_trial_begins(opened):
    _, found, worker = opened(until=time.time() - 1)
    assert worker.run() == 0
    assert found.trials == []


def test_conditions_reach_the_trials(opened):
    kind, rate = "loops.entropy.law.kind", "loops.entropy.law.rate"
    space = {
        kind: {"choices": ["pid", "dual_ascent"]},
        KP: {"low": 0.1, "high": 1, "when": {kind: "pid"}},
        KI: {"low": 0.1, "high": 0.2, "when": {kind: "pid"}},
        rate: {"low": 0.1, "high": 1, "when": {kind: "dual_ascent"}},
        "loops.entropy.law.initial": {"choices": [0.1], "when": {kind: "dual_ascent"}},
    }
    _, found, worker = opened(
        space=space, budget={"trials": 6}, seeds=[0], sampler={"kind": "tpe", "startup_trials": 2}
    )
    worker.run()
    kinds = {trial.params[kind] for trial in found.trials}
    assert kinds == {"pid", "dual_ascent"}
    for trial in found.trials:
        assert (KP in trial.params) == (trial.params[kind] == "pid")
        assert (rate in trial.params) == (trial.params[kind] == "dual_ascent")


def test_what_a_plant_predicts_is_kept_with_a_trained_trial(opened):
    _, found, worker = opened(simulation=SIMULATION, budget={"trials": 1}, seeds=[0])
    worker.run()
    assert found.trials[0].user_attrs["entrostat.predicted"][0] > 0


def test_constraints_and_reasons_are_told(opened):
    space = {KP: {"choices": [1.0]}, KI: {"choices": [0.75]}}
    _, found, worker = opened(space=space, budget={"trials": 1}, constraints={"collapse": {"nats": 0.1}})
    worker.run()
    assert states(found) == ["PRUNED"]
    assert found.trials[0].constraints["collapse"] > 0
    assert found.trials[0].user_attrs[REASON].startswith("collapse")


def test_a_failed_trial_counts_and_says_why(opened):
    space = {KP: {"choices": [1.0]}, KI: {"choices": [0.85]}}
    _, found, worker = opened(space=space, budget={"trials": 2}, seeds=[0])
    assert worker.run() == 0
    assert states(found) == ["FAIL", "FAIL"]
    assert "SIGKILL" in found.trials[0].user_attrs[REASON]
    assert found.trials[0].user_attrs[OUTCOME] == "failed"


def test_a_space_without_a_feasible_point_comes_to_an_end(opened):
    space = {KP: {"choices": [0.01]}, KI: {"choices": [1.0]}}
    constraints = {"sensitivity": 1.5}
    _, found, worker = opened(
        space=space, budget={"trials": 1}, simulation=SIMULATION, constraints=constraints
    )
    assert worker.run() == 0
    assert states(found) == ["PRUNED"] * 20
    assert found.trials[0].constraints["sensitivity"] > 0


def test_a_real_pruner_stops_the_worse_of_two(opened):
    space = {KP: {"choices": [1.0, 10.0]}, KI: {"choices": [0.1]}}
    _, found, worker = opened(
        space=space, budget={"trials": 3}, pruner={"kind": "halving", "first": 10, "factor": 2}
    )
    for kp in (1.0, 10.0, 1.0):
        found.enqueue_trial({KP: kp, KI: 0.1})
    worker.run()
    assert states(found) == ["COMPLETE", "PRUNED", "COMPLETE"]


def test_a_paired_test_stops_what_is_worse_on_every_seed(opened):
    space = {KP: {"choices": [1.0, 10.0]}, KI: {"choices": [0.1]}}
    _, found, worker = opened(
        space=space,
        budget={"trials": 2},
        seeds=[0, 1, 2, 3, 4, 5],
        pruner={"kind": "wilcoxon", "p_threshold": 0.1},
    )
    for kp in (1.0, 10.0):
        found.enqueue_trial({KP: kp, KI: 0.1})
    worker.run()
    assert states(found) == ["COMPLETE", "PRUNED"]
    assert "after 4 seeds" in found.trials[1].user_attrs[REASON]  # 2⁻⁴ < 0.1 < 2⁻³


def test_told_to_stop_a_worker_puts_its_trial_back_into_the_queue(opened, monkeypatch):
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    study, found, worker = opened(seeds=[0], budget={"trials": 1}, retries=0)
    stop_when_recorded(worker, study.folder)
    assert worker.run() == 143
    assert states(found) == ["FAIL", "WAITING"]
    assert found.trials[0].user_attrs[REASON] == "its worker let go of it"
    monkeypatch.setenv("FAKE_PAUSE", "0")
    _, found, worker = opened(seeds=[0], budget={"trials": 1}, retries=0)
    assert worker.run() == 0
    assert states(found) == ["FAIL", "COMPLETE"]
    assert found.trials[1].user_attrs[FOLDER] == "trial-0000"
    assert found.trials[1].params == found.trials[0].params


def test_a_trial_that_waits_for_its_next_worker_is_no_room_for_another(opened):
    """Its worker died; a worker that sees that draws nothing new, and a budget that is full has room for it."""
    _, found, worker = opened(seeds=[0], budget={"trials": 1})
    kill(worker._storage, worker._queue.take())
    assert worker.run() == 0
    assert states(found) == ["FAIL", "COMPLETE"]
    assert found.trials[1].user_attrs[FOLDER] == "trial-0000"


def test_a_lower_budget_ends_what_was_begun_above_it(opened):
    study, found, worker = opened(seeds=[0], budget={"trials": 2})
    for trial in [worker._queue.trial(worker._queue.take()) for _ in range(2)]:
        worker._runs.begin(study.folder / folder_name(trial), trial, {}, None)
        worker._queue.let_go(trial._trial_id)
    study, found, worker = opened(seeds=[0], budget={"trials": 1})
    assert worker.run() == 0
    assert [trial.user_attrs.get(OUTCOME) for trial in found.trials[2:]] == [None, "surplus"]
    assert read_group(study.folder / "trial-0001").tags["entrostat.reason"] == "the budget is used up"


def test_a_storage_that_fails_for_a_while_costs_no_more_than_a_trials_second_start(
    opened, monkeypatch, capsys
):
    """The disk is full in the middle of the first trial, and has room a moment later."""
    monkeypatch.setattr(workers, "RETRY_SECONDS", 0.02)
    _, found, worker = opened(seeds=[0], budget={"trials": 2}, retries=0, stale_seconds=1000)
    outage = optuna.exceptions.StorageInternalError("database or disk is full")
    real, reports = optuna.trial.Trial.report, []
    let_go, releases = worker._queue.let_go, []

    def report(trial, value, step):
        reports.append(step)
        if len(reports) in (3, 4):
            raise outage
        real(trial, value, step)

    def failing(trial_id):
        releases.append(trial_id)
        if len(releases) in (1, 2):  # the outage outlasts the first attempts to let go
            raise outage
        let_go(trial_id)

    monkeypatch.setattr(optuna.trial.Trial, "report", report)
    monkeypatch.setattr(worker._queue, "let_go", failing)
    assert worker.run() == 0
    assert sum(trial.state.name == "COMPLETE" for trial in found.trials) == 2
    assert [trial.user_attrs.get(REASON) for trial in found.trials][:2] == ["its worker let go of it"] * 2
    said = capsys.readouterr().out
    assert (
        said.count("storage: database or disk is full; trying again") == 2
    )  # in between it had room for a trial
    assert len({trial.user_attrs[FOLDER] for trial in found.trials}) == 2


def test_two_short_outages_apart_are_not_one_long_outage(opened, monkeypatch):
    """The storage fails once in each of two trainings that are longer than an outage may be."""
    monkeypatch.setattr(workers, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(workers, "OUTAGE_SECONDS", 0.3)
    _, found, worker = opened(seeds=[0], budget={"trials": 1}, stale_seconds=1000)
    outages = []

    class Long(Trivial):
        def run(self):
            if len(outages) < 2:
                time.sleep(0.5)
                outages.append(time.monotonic())
                raise optuna.exceptions.StorageInternalError("the server is restarted")
            return super().run()

    monkeypatch.setattr(workers, "TrainedTrial", Long)
    assert worker.run() == 0
    assert states(found) == ["FAIL", "FAIL", "COMPLETE"]


def test_a_storage_that_is_read_and_not_written_to_ends_the_worker(opened, monkeypatch, capsys):
    """A full disk: whatever is only read is no sign that it has room again."""
    monkeypatch.setattr(workers, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(workers, "OUTAGE_SECONDS", 0.1)
    _, _, worker = opened(seeds=[0], budget={"trials": 1})

    def full():
        raise optuna.exceptions.StorageInternalError("database or disk is full")

    monkeypatch.setattr(worker._queue, "take", full)
    assert worker.run() == 1
    assert capsys.readouterr().out.count("trying again") == 1


def test_a_storage_that_stays_away_ends_the_worker_with_a_line(opened, monkeypatch, capsys):
    monkeypatch.setattr(workers, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(workers, "OUTAGE_SECONDS", 0.1)
    study, _, worker = opened(seeds=[0], budget={"trials": 2})
    (study.folder / "study.db").write_bytes(b"no database" * 1000)
    assert worker.run() == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "storage: file is not a database; check it, and the same command again continues"


def test_a_worker_that_cannot_open_the_storage_says_so(make_study, tmp_path, capsys):
    study = make_study()
    (tmp_path / "text").write_text("hello" * 200)
    arguments = [str(study.path), "--index", "0", "--set", f"storage={tmp_path}/text"]
    assert workers.main(arguments) == 1
    assert f"{study.path}: storage: 'sqlite:///{tmp_path}/text': file is not" in capsys.readouterr().out


def test_a_trial_that_used_up_its_retries_has_ended_in_mlflow_too(opened):
    study, found, worker = opened(seeds=[0], budget={"trials": 1}, retries=0)
    trial = worker._queue.trial(worker._queue.take())
    suggest(trial, study.config.space)
    path = study.folder / "trial-0000"
    TrialRuns(NoTracker(), "").begin(path, trial, trial.params, None)
    run = CampaignFolder(study.folder).run("trial-0000", 0)
    run.write_info(RunInfo(campaign="gains", arm="trial-0000", seed=0, method="custom"))
    run.write_status(Status(status="running", pid=1))
    kill(worker._storage, trial._trial_id)
    assert read_group(path).state == "running"
    assert worker.run() == 0
    assert states(found) == ["FAIL"]
    group = read_group(path)
    assert group.state == "failed"
    assert group.tags["entrostat.trial_state"] == "failed"
    assert group.tags["entrostat.reason"] == "its worker died"
    assert run.read_status().status == "failed"
    assert "its worker died" in run.read_status().reason


def test_a_worker_that_lost_its_trial_does_not_say_how_it_ended(opened, monkeypatch):
    study, found, worker = opened(seeds=[0], budget={"trials": 1}, stale_seconds=4)

    class TakenOver:
        """A training that is silent for too long: the others give the trial up."""

        def __init__(self, study, trial, params, name, *, crew, interrupted):
            self.path, self._interrupted = study.folder / name, interrupted

        def run(self):
            worker._queue.end(found.trials[0]._trial_id, FAILED, "4 workers died at it")
            TrialRuns(NoTracker(), "").give_up(self.path, "4 workers died at it")
            while not (reason := self._interrupted()):
                time.sleep(0.02)
            return TrialEnding(state="stopped", score=Score(values=(nan,), violations={}), reason=reason)

    monkeypatch.setattr(workers, "TrainedTrial", TakenOver)
    assert worker.run() == 0
    assert states(found) == ["FAIL"]
    group = read_group(study.folder / "trial-0000")
    assert (group.state, group.tags["entrostat.trial_state"]) == ("failed", "failed")
    assert group.tags["entrostat.reason"] == "4 workers died at it"


def test_a_trial_that_was_closed_is_settled_whatever_the_storage_does_at_the_next(opened, monkeypatch):
    study, found, worker = opened(budget={"trials": 2}, retries=0, seeds=[0])
    taken = [worker._queue.take() for _ in range(2)]
    for number, trial_id in enumerate(taken):
        folder = CampaignFolder(study.folder).run(f"trial-{number:04d}", 0)
        folder.write_info(RunInfo(campaign="gains", arm=f"trial-{number:04d}", seed=0, method="none"))
        folder.write_status(Status(status="running"))
        write_group(folder.path.parent, Group(name=f"trial {number}", tags={}, params={}, state="running"))
        kill(worker._storage, trial_id)
    fail, closed = worker._queue._fail, []

    def fails_once(trial_id, *why):
        closed.append(trial_id)
        if len(closed) == 2:
            raise StorageInternalError("the disk is full")
        fail(trial_id, *why)

    monkeypatch.setattr(worker._queue, "_fail", fails_once)
    monkeypatch.setattr(workers, "RETRY_SECONDS", 0.02)
    assert worker.run() == 0
    assert states(found) == ["FAIL", "FAIL"]
    for name in ("trial-0000", "trial-0001"):
        assert read_group(study.folder / name).state == "failed"
        assert CampaignFolder(study.folder).run(name, 0).read_status().status == "failed"


class Trivial:
    """A training that is a sum and takes no time; notes where it trained."""

    trained: ClassVar[list[str]] = []

    def __init__(self, study, trial, params, name, *, crew, interrupted):
        self.path, self._params = study.folder / name, params

    def run(self):
        self.trained.append(self.path.name)
        return TrialEnding(state="complete", score=Score(values=(sum(self._params.values()),), violations={}))


def test_a_worker_that_wakes_up_after_its_trial_was_taken_over_goes_on_with_others(opened, monkeypatch):
    """A machine was suspended: the first that the worker notices is that it cannot report any more."""
    _, found, worker = opened(seeds=[0], budget={"trials": 2})

    class Suspended(Trivial):
        def __init__(self, study, trial, *arguments, **settings):
            super().__init__(study, trial, *arguments, **settings)
            self._trial = trial

        def run(self):
            if self._trial.number == 0:
                kill(worker._storage, self._trial._trial_id)
                list(worker._queue.tidy(retries=3))
                self._trial.report(1.0, 1)
            return super().run()

    monkeypatch.setattr(workers, "TrainedTrial", Suspended)
    assert worker.run() == 0
    assert states(found) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert [trial.user_attrs[FOLDER] for trial in found.trials[1:]] == ["trial-0000", "trial-0002"]
    assert found.trials[1].params == found.trials[0].params


@pytest.mark.parametrize("state", ["complete", "failed", "pruned"])
def test_a_worker_whose_trial_was_taken_over_at_its_very_end_comes_second(opened, monkeypatch, state):
    """Between its last heartbeat and its result; the next attempt is what counts."""
    _, found, worker = opened(budget={"trials": 1})

    class TakenOver(Trivial):
        def run(self):
            ending = super().run()
            if len(self.trained) > 1:
                return ending
            kill(worker._storage, found.trials[0]._trial_id)
            list(worker._queue.tidy(retries=3))
            return replace(ending, state=state)

    monkeypatch.setattr(TakenOver, "trained", [])
    monkeypatch.setattr(workers, "TrainedTrial", TakenOver)
    assert worker.run() == 0
    assert [trial.user_attrs.get(REASON) for trial in found.trials] == ["its worker died", None]
    assert states(found) == ["FAIL", "COMPLETE"]


class Killed(BaseException):
    """A worker is gone between two statements."""


class KilledAt:
    """Kills the main thread before its n-th transaction."""

    def __init__(self, storage, number):
        self.count, self._number = 0, number
        event.listen(storage.engine, "begin", self._begin)

    def _begin(self, connection):
        if threading.current_thread() is threading.main_thread():
            self.count += 1
            if self.count == self._number:
                raise Killed


@pytest.mark.slow
def test_a_worker_can_be_killed_before_any_transaction(opened, make_study, monkeypatch):
    """A second worker then goes on at once; trials, places and values are those of a study in peace."""
    monkeypatch.setattr(workers, "TrainedTrial", Trivial)
    settings = {"budget": {"trials": 2}, "seeds": [0], "sampler": {"kind": "random"}}

    def values(found):
        complete = [trial for trial in found.trials if trial.state.name == "COMPLETE"]
        return {place_of(found, trial): (trial.params, trial.values) for trial in complete}

    def folders(found):
        return [trial.user_attrs[FOLDER] for trial in found.trials if trial.state.name == "COMPLETE"]

    def working(name):
        _, found, worker = opened(**settings, name=name)
        return found, worker, worker._storage

    found, worker, storage = working("peace")
    peaceful = KilledAt(storage, 0)
    assert worker.run() == 0
    expected = values(found)
    assert list(expected) == [0, 1]
    assert peaceful.count > 30
    for number in range(1, peaceful.count - 2):  # at its end it may look once more or less
        found, worker, storage = working(f"killed-{number}")
        KilledAt(storage, number)
        with pytest.raises(Killed):
            worker.run()
        found, worker, storage = working(f"killed-{number}")
        before = folders(found)
        Trivial.trained.clear()
        kill(storage, *(trial._trial_id for trial in found.trials if trial.state.name == "RUNNING"))
        assert worker.run() == 0
        assert values(found) == expected, number
        assert sorted([*before, *Trivial.trained]) == sorted(folders(found)), number


PROGRAM = """
import sys
import orchestrator.execution.process as process, orchestrator.tuning.trial as trial
import orchestrator.tuning.worker as worker
process.WORKER = (sys.argv[2],); trial.POLL_SECONDS = 0.02; worker.WAIT_SECONDS = 0.1
sys.exit(worker.main([sys.argv[1], "--index", sys.argv[3], "--set", sys.argv[4]]))
"""


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing_but_its_trial(make_study, tmp_path):
    """Two worker processes at one storage; one is killed in the middle of a run."""
    study = make_study(budget={"trials": 3}, seeds=[0])
    CampaignFolder(study.folder).write_info(CampaignInfo(name="gains", config=study.plain))
    url = storage_url(study.config.storage, study.folder)
    tracking = f"sqlite:///{tmp_path}/mlflow.db"
    found = open_study(study, open_storage(url, tracking))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "FAKE_PAUSE": "0.15"}

    def start(index):
        command = [sys.executable, "-c", PROGRAM, str(study.path), FAKE_TRAINING, str(index)]
        with (tmp_path / f"log-{index}").open("wb") as log:
            return subprocess.Popen(
                [*command, f"over.tracking.uri={tracking}"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    first = start(0)
    victim = _wait(lambda: [t for t in found.trials if _recorded(study, t) > 3], first, tmp_path)[0]
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    first.stdin.close()
    before = _recorded(study, victim)
    second = start(1)
    assert second.wait(120) == 0, (tmp_path / "log-1").read_text()
    second.stdin.close()
    found = open_study(study, open_storage(url, tracking))
    done = [trial for trial in found.trials if trial.state.name == "COMPLETE"]
    assert len(done) == 3
    assert found.trials[victim.number].state.name == "FAIL"
    assert found.trials[victim.number].user_attrs[REASON] == "its worker died"
    heir = next(trial for trial in done if trial.user_attrs.get("entrostat.root") == victim.number)
    assert heir.params == found.trials[victim.number].params
    assert heir.user_attrs[FOLDER] == f"trial-{victim.number:04d}"  # its run went on
    steps = [
        r.step
        for r in CampaignFolder(study.folder).run(heir.user_attrs[FOLDER], 0).records()
        if r.kind == "train"
    ]
    assert steps == list(range(20))
    assert before > 3


def _recorded(study, trial):
    path = study.folder / f"trial-{trial.number:04d}" / "seed-0" / "metrics.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def _wait(condition, process, tmp_path, seconds=240.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, (tmp_path / "log-0").read_text()
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("nothing happened; " + (tmp_path / "log-0").read_text())
