"""Workers: the budget, the queue, and what is left of a trial when one of them is killed."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from math import nan
from typing import ClassVar

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState, create_trial
from sqlalchemy import event

from orchestrator.errors import ConfigError
from orchestrator.execution.base import ExecutorError
from orchestrator.storage.run_folder import CampaignFolder, RunInfo, Status
from orchestrator.tracking.groups import Group, read_group, write_group
from orchestrator.tuning import workers as module
from orchestrator.tuning.judging import Score
from orchestrator.tuning.records import open_study
from orchestrator.tuning.space import suggest
from orchestrator.tuning.storage import open_storage, storage_url
from orchestrator.tuning.trial import TrialEnding
from orchestrator.tuning.trial_mlflow import RUN_ID, TrialRuns
from orchestrator.tuning.trial_notes import (
    ATTEMPTS,
    FOLDER,
    OUTCOME,
    RANK,
    REASON,
    folder_name,
)
from orchestrator.tuning.trial_queue import Claim
from orchestrator.tuning.workers import Workers
from tests.orchestrator.tuning.conftest import (
    KI,
    KP,
    SIMULATION,
    TRACKING,
    kill,
    when_recorded,
)


class NoTracker:
    def deliver_group(self, path):
        assert (path / "group.json").exists()
        return f"run of {path.name}"


@pytest.fixture
def opened(make_study, fake_training, monkeypatch):
    """A study, its Optuna study, and workers for it."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.02)

    def make(until=None, **changes):
        study = make_study(**changes)
        url = storage_url(study.config.storage, study.folder)
        storage = open_storage(url, TRACKING, study.config.stale_seconds)
        found = open_study(study, storage)
        return study, found, Workers(study, found, storage, TrialRuns(NoTracker(), url), until=until)

    return make


def states(found):
    return [trial.state.name for trial in found.trials]


def test_a_worker_uses_up_the_budget_and_no_more(opened):
    study, found, workers = opened(budget={"trials": 3}, seeds=[0])
    assert workers.run() == 0
    assert states(found) == ["COMPLETE"] * 3
    for trial in found.trials:
        assert trial.params.keys() == {KP, KI}
        assert trial.user_attrs[FOLDER] == f"trial-{trial.number:04d}"
        assert trial.user_attrs[RUN_ID] == f"run of trial-{trial.number:04d}"
        assert (study.folder / f"trial-{trial.number:04d}" / "seed-0" / "metrics.jsonl").exists()
    _, again, workers = opened(budget={"trials": 4}, seeds=[0])
    assert workers.run() == 0
    assert len(again.trials) == 4


def test_where_another_takes_the_last_trial_first_there_is_nothing_to_do(opened, monkeypatch):
    """It was there when the worker looked."""
    study, found, workers = opened(budget={"trials": 1}, seeds=[0])
    take = workers._queue.take

    def late():
        found.tell(workers._queue.trial(take()), 1.0)
        return take()

    monkeypatch.setattr(workers._queue, "take", late)
    assert workers.run() == 0
    assert states(found) == ["COMPLETE"]
    assert not any(study.folder.glob("trial-*"))


def test_a_study_that_an_earlier_version_began_goes_on(opened):
    """It closed a trial that was to go on, and put another into the queue; and it was killed between two parameters."""
    _, found, workers = opened(budget={"trials": 2}, seeds=[0])
    closed, half = workers._queue.take().trial_id, workers._queue.take().trial_id
    workers._storage.set_trial_user_attr(closed, OUTCOME, "replaced")
    workers._storage.set_trial_state_values(closed, state=TrialState.FAIL)
    found.add_trial(
        create_trial(
            state=TrialState.WAITING,
            system_attrs={"failed_trial": 0, "retry_history": [0], "fixed_params": {KP: 1.0, KI: 0.1}},
            user_attrs={"entrostat.root": 0},
        )
    )
    workers._queue.trial(Claim(half, 0)).suggest_float(KP, 0.01, 10.0, log=True)
    kill(workers._storage, half)
    assert workers.run() == 0
    assert states(found) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert [trial.user_attrs.get(FOLDER) for trial in found.trials] == [None, "trial-0001", "trial-0000"]
    assert found.trials[2].params == {KP: 1.0, KI: 0.1}


def test_the_queue_comes_first(opened):
    _, found, workers = opened(budget={"trials": 2}, seeds=[0])
    found.enqueue_trial({KP: 1.0, KI: 0.1}, user_attrs={RANK: 1})
    workers.run()
    assert found.trials[0].params == {KP: 1.0, KI: 0.1}
    assert found.trials[0].value == pytest.approx(0.0)
    assert found.best_trial.number == 0


def test_after_the_wall_clock_no_trial_begins(opened):
    _, found, workers = opened(until=time.time() - 1)
    assert workers.run() == 0
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
    _, found, workers = opened(
        space=space, budget={"trials": 6}, seeds=[0], sampler={"kind": "tpe", "startup_trials": 2}
    )
    workers.run()
    kinds = {trial.params[kind] for trial in found.trials}
    assert kinds == {"pid", "dual_ascent"}
    for trial in found.trials:
        assert (KP in trial.params) == (trial.params[kind] == "pid")
        assert (rate in trial.params) == (trial.params[kind] == "dual_ascent")


def test_what_a_plant_predicts_is_kept_with_a_trained_trial(opened):
    _, found, workers = opened(simulation=SIMULATION, budget={"trials": 1}, seeds=[0])
    workers.run()
    assert found.trials[0].user_attrs["entrostat.predicted"][0] > 0


def test_constraints_and_reasons_are_told(opened):
    space = {KP: {"choices": [1.0]}, KI: {"choices": [0.75]}}
    _, found, workers = opened(space=space, budget={"trials": 1}, constraints={"collapse": {"nats": 0.1}})
    workers.run()
    assert states(found) == ["PRUNED"]
    assert found.trials[0].constraints["collapse"] > 0
    assert found.trials[0].user_attrs[REASON].startswith("collapse")


def test_a_failed_trial_counts_and_says_why(opened):
    space = {KP: {"choices": [1.0]}, KI: {"choices": [0.85]}}
    _, found, workers = opened(space=space, budget={"trials": 2}, seeds=[0])
    assert workers.run() == 0
    assert states(found) == ["FAIL", "FAIL"]
    assert "SIGKILL" in found.trials[0].user_attrs[REASON]
    assert found.trials[0].user_attrs[OUTCOME] == "failed"


def test_a_space_without_a_feasible_point_comes_to_an_end(opened):
    space = {KP: {"choices": [0.01]}, KI: {"choices": [1.0]}}
    constraints = {"sensitivity": 1.5}
    _, found, workers = opened(
        space=space, budget={"trials": 1}, simulation=SIMULATION, constraints=constraints
    )
    assert workers.run() == 0
    assert states(found) == ["PRUNED"] * 20
    assert found.trials[0].constraints["sensitivity"] > 0


def test_a_real_pruner_stops_the_worse_of_two(opened):
    space = {KP: {"choices": [1.0, 10.0]}, KI: {"choices": [0.1]}}
    _, found, workers = opened(
        space=space, budget={"trials": 3}, pruner={"kind": "halving", "first": 10, "factor": 2}
    )
    for kp in (1.0, 10.0, 1.0):
        found.enqueue_trial({KP: kp, KI: 0.1})
    workers.run()
    assert states(found) == ["COMPLETE", "PRUNED", "COMPLETE"]


def test_a_paired_test_stops_what_is_worse_on_every_seed(opened):
    space = {KP: {"choices": [1.0, 10.0]}, KI: {"choices": [0.1]}}
    _, found, workers = opened(
        space=space,
        budget={"trials": 2},
        seeds=[0, 1, 2, 3, 4, 5],
        pruner={"kind": "wilcoxon", "p_threshold": 0.1},
    )
    for kp in (1.0, 10.0):
        found.enqueue_trial({KP: kp, KI: 0.1})
    workers.run()
    assert states(found) == ["COMPLETE", "PRUNED"]
    assert "after 4 seeds" in found.trials[1].user_attrs[REASON]  # 2⁻⁴ < 0.1 < 2⁻³


def test_told_to_stop_a_worker_puts_its_trial_back_into_the_queue(opened, monkeypatch):
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    study, found, workers = opened(seeds=[0], budget={"trials": 1}, retries=0)
    assert workers.run(when_recorded(study.folder)) == 143
    assert states(found) == ["WAITING"]
    assert found.trials[0].user_attrs[ATTEMPTS] == ["its worker let go of it"]
    drawn = found.trials[0].params
    monkeypatch.setenv("FAKE_PAUSE", "0")
    _, found, workers = opened(seeds=[0], budget={"trials": 1}, retries=0)
    assert workers.run() == 0
    assert states(found) == ["COMPLETE"]
    assert found.trials[0].params == drawn


def test_a_trial_has_all_of_its_parameters_or_none(opened, monkeypatch):
    """The storage fails at the second; the next attempt draws both."""
    monkeypatch.setattr(module, "TrainedTrial", Trivial)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    _, found, workers = opened(seeds=[0], budget={"trials": 1})
    real, written, seen = workers._storage._set_trial_param, [], []

    def fails_once(*arguments):
        written.append(arguments)
        if len(written) == 2:
            raise StorageInternalError("the disk is full")
        real(*arguments)

    def let_go(claim, let_go=workers._queue.let_go):
        seen.append(found.trials[0].params)
        return let_go(claim)

    monkeypatch.setattr(workers._storage, "_set_trial_param", fails_once)
    monkeypatch.setattr(workers._queue, "let_go", let_go)
    assert workers.run() == 0
    assert seen == [{}]
    assert found.trials[0].params.keys() == {KP, KI}


def test_a_trial_that_waits_for_its_next_worker_is_no_room_for_another(opened):
    """Its worker died; a worker that sees that draws nothing new, and a budget that is full has room for it."""
    _, found, workers = opened(seeds=[0], budget={"trials": 1})
    kill(workers._storage, workers._queue.take().trial_id)
    assert workers.run() == 0
    assert states(found) == ["COMPLETE"]


def test_what_was_begun_above_a_lower_budget_waits_for_a_higher_one(opened):
    study, found, workers = opened(seeds=[0], budget={"trials": 2})
    for claim in [workers._queue.take() for _ in range(2)]:
        trial = workers._queue.trial(claim)
        workers._runs.begin(study.folder / folder_name(trial), trial, {}, None)
        workers._queue.let_go(claim)
    study, found, workers = opened(seeds=[0], budget={"trials": 1})
    assert workers.run() == 0
    assert states(found) == ["COMPLETE", "WAITING"]
    assert read_group(study.folder / "trial-0001").tags["entrostat.reason"] == "the budget is used up"
    study, found, workers = opened(seeds=[0], budget={"trials": 2})
    assert workers.run() == 0
    assert states(found) == ["COMPLETE", "COMPLETE"]


def test_a_storage_that_fails_for_a_while_costs_no_more_than_a_trials_second_start(
    opened, monkeypatch, capsys
):
    """The disk is full in the middle of the first trial, and has room a moment later."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    _, found, workers = opened(seeds=[0], budget={"trials": 2}, retries=0, stale_seconds=1000)
    outage = optuna.exceptions.StorageInternalError("database or disk is full")
    real, reports = optuna.trial.Trial.report, []
    let_go, releases = workers._queue.let_go, []

    def report(trial, value, step):
        reports.append(step)
        if len(reports) in (3, 4):
            raise outage
        real(trial, value, step)

    def failing(claim):
        releases.append(claim)
        if len(releases) in (1, 2):  # the outage outlasts the first attempts to let go
            raise outage
        let_go(claim)

    monkeypatch.setattr(optuna.trial.Trial, "report", report)
    monkeypatch.setattr(workers._queue, "let_go", failing)
    assert workers.run() == 0
    assert states(found) == ["COMPLETE", "COMPLETE"]
    assert found.trials[0].user_attrs[ATTEMPTS] == ["its worker let go of it"] * 2
    said = capsys.readouterr().out
    assert (
        said.count("storage: database or disk is full; trying again") == 2
    )  # in between it had room for a trial
    assert len({trial.user_attrs[FOLDER] for trial in found.trials}) == 2


def test_two_short_outages_apart_are_not_one_long_outage(opened, monkeypatch):
    """The storage fails once in each of two trainings that are longer than an outage may be."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "OUTAGE_SECONDS", 0.3)
    _, found, workers = opened(seeds=[0], budget={"trials": 1}, stale_seconds=1000)
    outages = []

    class Long(Trivial):
        def run(self):
            if len(outages) < 2:
                time.sleep(0.5)
                outages.append(time.monotonic())
                raise optuna.exceptions.StorageInternalError("the server is restarted")
            return (yield from super().run())

    monkeypatch.setattr(module, "TrainedTrial", Long)
    assert workers.run() == 0
    assert states(found) == ["COMPLETE"]
    assert len(found.trials[0].user_attrs[ATTEMPTS]) == 2


def test_a_storage_that_is_read_and_not_written_to_ends_the_worker(opened, monkeypatch, capsys):
    """A full disk: whatever is only read is no sign that it has room again."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "OUTAGE_SECONDS", 0.1)
    _, _, workers = opened(seeds=[0], budget={"trials": 1})

    def full():
        raise optuna.exceptions.StorageInternalError("database or disk is full")

    monkeypatch.setattr(workers._queue, "take", full)
    assert workers.run() == 1
    assert capsys.readouterr().out.count("trying again") == 1


def test_a_storage_that_stays_away_ends_the_worker_with_a_line(opened, monkeypatch, capsys):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "OUTAGE_SECONDS", 0.1)
    study, _, workers = opened(seeds=[0], budget={"trials": 2})
    (study.folder / "study.db").write_bytes(b"no database" * 1000)
    assert workers.run() == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "storage: file is not a database; check it, and the same command again continues"


def test_a_trial_that_used_up_its_retries_has_ended_in_mlflow_too(opened):
    study, found, workers = opened(seeds=[0], budget={"trials": 1}, retries=0)
    trial = workers._queue.trial(workers._queue.take())
    suggest(trial, study.config.space)
    path = study.folder / "trial-0000"
    TrialRuns(NoTracker(), "").begin(path, trial, trial.params, None)
    run = CampaignFolder(study.folder).run("trial-0000", 0)
    run.write_info(RunInfo(campaign="gains", arm="trial-0000", seed=0, method="custom"))
    run.write_status(Status(status="running", pid=1))
    kill(workers._storage, trial._trial_id)
    assert read_group(path).state == "running"
    assert workers.run() == 0
    assert states(found) == ["FAIL"]
    group = read_group(path)
    assert group.state == "failed"
    assert group.tags["entrostat.trial_state"] == "failed"
    assert group.tags["entrostat.reason"] == "its worker died"
    assert run.read_status().status == "failed"
    assert "its worker died" in run.read_status().reason


@pytest.mark.parametrize("has_saved", [False, True])
def test_a_worker_that_died_after_a_new_checkpoint_uses_up_no_retry(opened, monkeypatch, has_saved):
    study, found, workers = opened(seeds=[0], budget={"trials": 1}, retries=0)
    checkpoint = CampaignFolder(study.folder).run("trial-0000", 0).checkpoint_path
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("of an earlier attempt")

    class Dies(Trivial):
        def run(self):
            yield
            if has_saved:
                os.utime(checkpoint, (1, 1))
            raise Killed

    monkeypatch.setattr(module, "TrainedTrial", Dies)
    with pytest.raises(Killed):
        workers.run()
    kill(workers._storage, 1)
    monkeypatch.setattr(module, "TrainedTrial", Trivial)
    assert opened(seeds=[0], budget={"trials": 1}, retries=0)[2].run() == 0
    assert states(found) == ["COMPLETE" if has_saved else "FAIL"]


def test_a_worker_that_lost_its_trial_does_not_say_how_it_ended(opened, monkeypatch):
    study, found, workers = opened(seeds=[0], budget={"trials": 1}, stale_seconds=4)

    class TakenOver:
        """A training that is silent for too long: the others give the trial up."""

        def __init__(self, study, trial, params, name, *, crew, interrupted, reported):
            self.path, self._interrupted = study.folder / name, interrupted

        def run(self):
            workers._queue.fail(Claim.at(found.trials[0]), "4 workers died at it")
            TrialRuns(NoTracker(), "").give_up(self.path, "4 workers died at it")
            while not (reason := self._interrupted()):
                yield
            return TrialEnding(state="stopped", score=Score(values=(nan,), violations={}), reason=reason)

    monkeypatch.setattr(module, "TrainedTrial", TakenOver)
    assert workers.run() == 0
    assert states(found) == ["FAIL"]
    group = read_group(study.folder / "trial-0000")
    assert (group.state, group.tags["entrostat.trial_state"]) == ("failed", "failed")
    assert group.tags["entrostat.reason"] == "4 workers died at it"


def test_a_trial_that_was_closed_is_settled_whatever_the_storage_does_at_the_next(opened, monkeypatch):
    study, found, workers = opened(budget={"trials": 2}, retries=0, seeds=[0])
    taken = [workers._queue.take() for _ in range(2)]
    for number, claim in enumerate(taken):
        folder = CampaignFolder(study.folder).run(f"trial-{number:04d}", 0)
        folder.write_info(RunInfo(campaign="gains", arm=f"trial-{number:04d}", seed=0, method="none"))
        folder.write_status(Status(status="running"))
        write_group(folder.path.parent, Group(name=f"trial {number}", tags={}, params={}, state="running"))
        kill(workers._storage, claim.trial_id)
    fail, closed = workers._queue.fail, []

    def fails_once(claim, reason):
        closed.append(claim)
        if len(closed) == 2:
            raise StorageInternalError("the disk is full")
        return fail(claim, reason)

    monkeypatch.setattr(workers._queue, "fail", fails_once)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    assert workers.run() == 0
    assert states(found) == ["FAIL", "FAIL"]
    for name in ("trial-0000", "trial-0001"):
        assert read_group(study.folder / name).state == "failed"
        assert CampaignFolder(study.folder).run(name, 0).read_status().status == "failed"


class Trivial:
    """A training that is a sum and takes no time; notes where it trained."""

    trained: ClassVar[list[str]] = []

    def __init__(self, study, trial, params, name, *, crew, interrupted, reported):
        self.path, self._params, self.interrupted = study.folder / name, params, interrupted

    def run(self):
        yield
        self.trained.append(self.path.name)
        return TrialEnding(state="complete", score=Score(values=(sum(self._params.values()),), violations={}))


class SideBySide(Trivial):
    """A training of five steps; notes which trial took each."""

    steps: ClassVar[list[str]] = []

    def run(self):
        for _ in range(5):
            self.steps.append(self.path.name)
            yield
        return (yield from super().run())


@pytest.mark.parametrize("num", [1, 2, 3])
def test_as_many_trials_train_at_the_same_time_as_there_are_workers(opened, monkeypatch, num):
    monkeypatch.setattr(SideBySide, "steps", [])
    monkeypatch.setattr(module, "TrainedTrial", SideBySide)
    _, found, workers = opened(seeds=[0], budget={"trials": 4}, workers=num)
    assert workers.run() == 0
    assert states(found) == ["COMPLETE"] * 4
    assert len(set(SideBySide.steps[: 2 * num])) == num
    assert len(set(SideBySide.steps[: 5 * num])) == num


def test_parameters_that_are_no_configuration_together_fail_their_trial_alone(opened, monkeypatch):
    class Picky(Trivial):
        def __init__(self, study, trial, params, name, **settings):
            if name == "trial-0000":
                raise ConfigError("study.yaml: space: kp and ki cannot both be 1")
            super().__init__(study, trial, params, name, **settings)

    monkeypatch.setattr(module, "TrainedTrial", Picky)
    _, found, workers = opened(seeds=[0], budget={"trials": 2})
    assert workers.run() == 0
    assert states(found) == ["FAIL", "COMPLETE"]
    assert found.trials[0].user_attrs[REASON] == "study.yaml: space: kp and ki cannot both be 1"


class LosesItsMachines(Trivial):
    """The cluster goes away in the middle of the first trial; the others save."""

    def run(self):
        yield
        if self.path.name == "trial-0000":
            raise ExecutorError("the cluster went away")
        while not self.interrupted():
            yield
        return TrialEnding(state="stopped", score=Score(values=(nan,), violations={}), reason="told to stop")


def test_where_the_executor_is_lost_all_trials_wait_for_the_same_command_again(opened, monkeypatch, capsys):
    monkeypatch.setattr(module, "TrainedTrial", LosesItsMachines)
    _, found, workers = opened(seeds=[0], budget={"trials": 4}, workers=2)
    assert workers.run() == 1
    assert capsys.readouterr().out == "the cluster went away; the same command again continues\n"
    assert states(found) == ["WAITING", "WAITING"]
    assert [trial.user_attrs[ATTEMPTS] for trial in found.trials] == [["its worker let go of it"]] * 2


def test_a_worker_that_wakes_up_after_its_trial_was_taken_over_goes_on_with_others(opened, monkeypatch):
    """A machine was suspended: the first that the worker notices is that it cannot report any more."""
    _, found, workers = opened(seeds=[0], budget={"trials": 2})

    class Suspended(Trivial):
        def __init__(self, study, trial, *arguments, **settings):
            super().__init__(study, trial, *arguments, **settings)
            self._trial = trial

        def run(self):
            if self._trial.number == 0:
                kill(workers._storage, self._trial._trial_id)
                list(workers._queue.tidy(retries=3))
                found.tell(workers._queue.trial(workers._queue.take()), 7.0)
                self._trial.report(1.0, 1)
            return (yield from super().run())

    monkeypatch.setattr(module, "TrainedTrial", Suspended)
    assert workers.run() == 0
    assert states(found) == ["COMPLETE", "COMPLETE"]
    assert found.trials[0].value == 7.0


@pytest.mark.parametrize("state", ["complete", "failed", "pruned", "stopped"])
@pytest.mark.parametrize("has_begun", [False, True])
def test_a_worker_whose_trial_was_taken_over_at_its_very_end_comes_second(
    opened, monkeypatch, state, has_begun
):
    """Between its last heartbeat and its result; the next attempt is what counts."""
    _, found, workers = opened(budget={"trials": 1})

    class TakenOver(Trivial):
        def run(self):
            ending = yield from super().run()
            if len(self.trained) > 1:
                return replace(ending, score=Score(values=(7.0,), violations={}))
            kill(workers._storage, found.trials[0]._trial_id)
            list(workers._queue.tidy(retries=3))
            if has_begun:
                workers._queue.take()
                kill(workers._storage, found.trials[0]._trial_id)
            return replace(ending, state=state)

    monkeypatch.setattr(TakenOver, "trained", [])
    monkeypatch.setattr(module, "TrainedTrial", TakenOver)
    assert workers.run() == 0
    assert [(trial.state.name, trial.values) for trial in found.trials] == [("COMPLETE", [7.0])]
    assert found.trials[0].user_attrs[ATTEMPTS] == ["its worker died"] * (1 + has_begun)


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
    monkeypatch.setattr(module, "TrainedTrial", Trivial)
    settings = {"budget": {"trials": 2}, "seeds": [0], "sampler": {"kind": "random"}}

    def values(found):
        complete = [trial for trial in found.trials if trial.state.name == "COMPLETE"]
        return {trial.number: (trial.params, trial.values) for trial in complete}

    def folders(found):
        return [trial.user_attrs[FOLDER] for trial in found.trials if trial.state.name == "COMPLETE"]

    def working(name):
        _, found, workers = opened(**settings, name=name)
        return found, workers, workers._storage

    found, workers, storage = working("peace")
    peaceful = KilledAt(storage, 0)
    assert workers.run() == 0
    expected = values(found)
    assert list(expected) == [0, 1]
    assert peaceful.count > 20
    for number in range(1, peaceful.count - 2):  # at its end it may look once more or less
        found, workers, storage = working(f"killed-{number}")
        KilledAt(storage, number)
        with pytest.raises(Killed):
            workers.run()
        found, workers, storage = working(f"killed-{number}")
        before = folders(found)
        Trivial.trained.clear()
        kill(storage, *(trial._trial_id for trial in found.trials if trial.state.name == "RUNNING"))
        assert workers.run() == 0
        assert values(found) == expected, number
        assert sorted([*before, *Trivial.trained]) == sorted(folders(found)), number
