"""Trials whose worker is gone: noticed, queued again once, and never twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import optuna
import pytest
from optuna.trial import TrialState

from orchestrator.tuning.leases import (
    DUPLICATE,
    LEASE,
    OUTCOME,
    RANK,
    REASON,
    UNTRAINED,
    Lease,
    Watch,
    close,
    counted,
    holder,
    is_redundant,
    root,
    take_up,
)
from orchestrator.tuning.storage import open_storage
from tests.orchestrator.tuning.conftest import ROOT

AWAY = {"machine": "another", "pid": 1, "began": "1"}


@pytest.fixture
def study(tmp_path):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(str(tmp_path / "study.log"), "sqlite:////nowhere/mlflow.db")
    return optuna.create_study(study_name="a", storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))


def begin(study, lease=AWAY):
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    if lease is not None:
        trial.set_user_attr(LEASE, lease)
    return trial


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_sign_of_life_that_stays_the_same_is_none(study):
    clock = Clock()
    watch = Watch(10.0, clock)
    trial = begin(study, {**AWAY, "beat": 1})
    assert watch.abandoned(study.trials) == []
    clock.now = 9.0
    assert watch.abandoned(study.trials) == []
    trial.set_user_attr(LEASE, {**AWAY, "beat": 2})
    clock.now = 18.0
    assert watch.abandoned(study.trials) == []
    clock.now = 28.1
    assert [each.number for each in watch.abandoned(study.trials)] == [0]


def test_a_trial_whose_worker_died_before_its_first_sign_is_noticed(study):
    clock = Clock()
    watch = Watch(10.0, clock)
    begin(study, lease=None)
    assert watch.abandoned(study.trials) == []
    clock.now = 10.1
    assert len(watch.abandoned(study.trials)) == 1


def test_a_dead_process_of_this_machine_is_noticed_at_once(study):
    program = "import json, time; from orchestrator.tuning.leases import holder; print(json.dumps(holder()), flush=True); time.sleep(60)"
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    begin(study, holder())
    begin(study, json.loads(worker.stdout.readline()))
    assert Watch(1e9).abandoned(study.trials) == []
    worker.kill()
    found = until(lambda: Watch(1e9).abandoned(study.trials))
    assert [each.number for each in found] == [1]  # a zombie still: nobody has waited for it
    worker.communicate()
    assert [each.number for each in Watch(1e9).abandoned(study.trials)] == [1]


def until(condition, seconds=60.0):
    """What it gives as soon as that is true, or at last."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


def test_a_process_that_got_the_number_of_a_dead_one_is_told_apart(study):
    begin(study, {**holder(), "began": "another time"})
    assert len(Watch(1e9).abandoned(study.trials)) == 1


def test_a_released_trial_is_taken_up_at_once(study):
    trial = study.ask()
    with Lease(trial, 100.0) as lease:
        assert Watch(1e9).abandoned(study.trials) == []
        lease.release()
    assert len(Watch(1e9).abandoned(study.trials)) == 1


def test_a_lease_leaves_signs_and_notices_when_it_is_lost(study):
    trial = begin(study)
    with Lease(trial, 0.2) as lease:
        first = study.trials[0].user_attrs[LEASE]["beat"]
        assert until(lambda: study.trials[0].user_attrs[LEASE]["beat"] > first)
        assert not lease.is_lost
        study.tell(0, state=TrialState.FAIL)
        assert until(lambda: lease.is_lost)


def test_an_abandoned_trial_goes_on_with_its_parameters_and_its_runs(study):
    old = begin(study)
    old.set_user_attr(RANK, 3)
    take_up(study, study.trials[0], retries=3)
    assert study.trials[0].state == TrialState.FAIL
    assert study.trials[0].user_attrs[REASON] == "its worker died"
    new = study.ask()
    assert new.number == 1
    assert new.suggest_float("x", 0, 1) == old.params["x"]
    assert not is_redundant(study, new)
    assert root(study.trials[1]) == 0
    assert study.trials[1].user_attrs[RANK] == 3
    take_up(study, study.trials[1], retries=3)
    assert root(study.trials[2]) == 0


def test_two_that_notice_at_once_queue_it_twice_and_one_is_dropped(study):
    begin(study)
    seen = study.trials[0]
    take_up(study, seen, retries=3)
    retry = study.trials[1]
    study.add_trial(retry)  # the other one had looked before
    take_up(study, seen, retries=3)  # and a third comes late
    assert len(study.trials) == 3
    first, second = study.ask(), study.ask()
    assert not is_redundant(study, first)
    assert is_redundant(study, second)
    close(second, study, DUPLICATE, "twice")
    assert counted(study.trials) == 1


def test_who_dies_between_queueing_and_closing_leaves_it_to_the_next(study):
    begin(study)
    seen = study.trials[0]
    take_up(study, seen, retries=3)
    half = optuna.create_study(storage=study._storage, study_name="b")
    half.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
    half.ask()
    half.add_trial(
        optuna.trial.create_trial(
            state=TrialState.WAITING, system_attrs={"fixed_params": {"x": 0.5}, "failed_trial": 0}
        )
    )
    retry = half.ask()
    assert not is_redundant(half, retry)
    assert half.trials[0].state == TrialState.FAIL


def test_the_same_candidate_of_stage_one_is_dropped_once(study):
    for _ in range(2):
        study.enqueue_trial({"x": 0.5}, user_attrs={RANK: 1})
    first, second = study.ask(), study.ask()
    assert not is_redundant(study, first)
    assert is_redundant(study, second)


def test_a_trial_that_kills_every_worker_fails_in_the_end(study):
    begin(study)
    for _ in range(3):
        take_up(study, study.trials[-1], retries=2)
        if study.trials[-1].state == TrialState.WAITING:
            study.ask()
    assert len(study.trials) == 3
    assert study.trials[-1].user_attrs[OUTCOME] == "failed"
    assert "3 workers died at it" in study.trials[-1].user_attrs[REASON]
    assert counted(study.trials) == 1


def test_one_that_died_before_it_had_parameters_is_closed_for_good(study):
    study.ask()
    take_up(study, study.trials[0], retries=3)
    assert [each.state for each in study.trials] == [TrialState.FAIL]
    assert counted(study.trials) == 0


def test_twenty_that_were_not_trained_count_as_one():
    class Untrained:
        state = TrialState.PRUNED
        user_attrs = {OUTCOME: UNTRAINED}  # noqa: RUF012

    assert counted([Untrained()] * 19) == 0
    assert counted([Untrained()] * 40) == 2
