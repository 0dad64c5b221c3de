"""Trials whose worker is gone are noticed, and no others."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from orchestrator.tuning.leases import LEASE, Lease, Watch, holder, is_released
from tests.orchestrator.tuning.conftest import AWAY, ROOT, begin


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_sign_of_life_that_stays_the_same_is_none(optuna_study):
    clock = Clock()
    watch = Watch(10.0, clock)
    trial = begin(optuna_study, {**AWAY, "beat": 1})
    assert watch.abandoned(optuna_study.trials) == []
    clock.now = 9.0
    assert watch.abandoned(optuna_study.trials) == []
    trial.set_user_attr(LEASE, {**AWAY, "beat": 2})
    clock.now = 18.0
    assert watch.abandoned(optuna_study.trials) == []
    clock.now = 28.1
    assert [each.number for each in watch.abandoned(optuna_study.trials)] == [0]


def test_a_trial_whose_worker_died_before_its_first_sign_is_noticed(optuna_study):
    clock = Clock()
    watch = Watch(10.0, clock)
    begin(optuna_study, lease=None)
    assert watch.abandoned(optuna_study.trials) == []
    clock.now = 10.1
    assert len(watch.abandoned(optuna_study.trials)) == 1


def test_a_dead_process_of_this_machine_is_noticed_at_once(optuna_study):
    program = "import json, time; from orchestrator.tuning.leases import holder; print(json.dumps(holder()), flush=True); time.sleep(60)"
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    begin(optuna_study, holder())
    begin(optuna_study, json.loads(worker.stdout.readline()))
    assert Watch(1e9).abandoned(optuna_study.trials) == []
    worker.kill()
    found = until(lambda: Watch(1e9).abandoned(optuna_study.trials))
    assert [each.number for each in found] == [1]  # a zombie still: nobody has waited for it
    worker.communicate()
    assert [each.number for each in Watch(1e9).abandoned(optuna_study.trials)] == [1]


def until(condition, seconds=60.0):
    """What it gives as soon as that is true, or at last."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


def test_a_process_that_got_the_number_of_a_dead_one_is_told_apart(optuna_study):
    begin(optuna_study, {**holder(), "began": "another time"})
    assert len(Watch(1e9).abandoned(optuna_study.trials)) == 1


def test_a_released_trial_is_taken_up_at_once(optuna_study):
    trial = optuna_study.ask()
    with Lease(trial, 100.0) as lease:
        assert Watch(1e9).abandoned(optuna_study.trials) == []
        lease.release()
    assert len(Watch(1e9).abandoned(optuna_study.trials)) == 1


def test_a_release_that_could_not_be_written_is_told_and_can_be_tried_again(optuna_study, monkeypatch):
    trial = begin(optuna_study)
    lease = Lease(trial, 100.0)
    with lease, monkeypatch.context() as outage:
        outage.setattr(trial, "set_user_attr", failing)
        with pytest.raises(StorageInternalError):
            lease.release()
    assert not is_released(optuna_study.trials[0])
    lease.release()
    assert is_released(optuna_study.trials[0])


def failing(*_):
    raise StorageInternalError("no space left on device")


def test_a_trial_that_another_has_closed_needs_no_release(optuna_study):
    with Lease(begin(optuna_study), 100.0) as lease:
        optuna_study.tell(0, state=TrialState.FAIL)
        lease.release()
    assert lease.is_lost


class Intervals:
    """In place of the event that ends a lease: what is waited for, and the end at once."""

    def __init__(self):
        self.seconds = []

    def wait(self, seconds):
        self.seconds.append(seconds)
        return True

    def set(self):
        pass


def test_a_sign_is_left_four_times_before_others_give_the_trial_up(optuna_study):
    lease = Lease(begin(optuna_study), 100.0)
    lease._stop = Intervals()
    with lease:
        pass
    assert lease._stop.seconds == [25.0]  # 100 / 4


def test_a_lease_leaves_signs_and_notices_when_it_is_lost(optuna_study):
    trial = begin(optuna_study)
    with Lease(trial, 0.2) as lease:
        first = optuna_study.trials[0].user_attrs[LEASE]["beat"]
        assert until(lambda: optuna_study.trials[0].user_attrs[LEASE]["beat"] > first)
        assert not lease.is_lost
        optuna_study.tell(0, state=TrialState.FAIL)
        assert until(lambda: lease.is_lost)
