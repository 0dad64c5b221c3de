"""Trials whose worker is gone are noticed, and no others; each is taken by one worker and goes on once, with what it had."""

from __future__ import annotations

import multiprocessing
import time

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from orchestrator.tuning.attempts import (
    CONFIRMS,
    FAILED,
    FIXED,
    OUTCOME,
    PROCESS,
    RANK,
    REASON,
    ROOT,
    counted,
    root,
)
from orchestrator.tuning.storage import open_storage
from orchestrator.tuning.study_storage import StudyStorage
from orchestrator.tuning.trial_queue import Heartbeat, TrialQueue
from tests.orchestrator.tuning.conftest import GONE, TRACKING, age, kill, stale_for_two_beats


@pytest.fixture
def queue(optuna_study, storage):
    """The trials of the Optuna study, of which any number may be drawn."""
    return TrialQueue(optuna_study, storage, budget=1000)


def begin(queue):
    """A trial that was taken and has drawn x."""
    trial = queue.trial(queue.take())
    trial.suggest_float("x", 0, 1)
    return trial


def until(condition, seconds=60.0):
    """What it gives as soon as that is true, or at last."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


# --- Heartbeats


def test_a_trial_without_a_heartbeat_for_so_long_is_stale_and_no_other(optuna_study, storage, queue):
    """A trial has its first heartbeat when it is taken: a worker that dies at once is noticed too."""
    silent, alive = begin(queue), begin(queue)
    assert stale_for_two_beats(storage, optuna_study) == []
    age(storage, 3, silent)
    assert stale_for_two_beats(storage, optuna_study) == []
    age(storage, 2, silent)
    assert stale_for_two_beats(storage, optuna_study) == [silent._trial_id]
    storage.record_heartbeat(silent._trial_id)  # it was slow, and is there again
    age(storage, 5, alive)
    optuna_study.tell(alive, 1.0)
    assert stale_for_two_beats(storage, optuna_study) == []


def test_a_trial_is_given_up_at_the_second_look_and_not_where_it_beat_in_between(
    optuna_study, storage, queue
):
    """The machine was suspended: at the first look afterwards every heartbeat is old."""
    alive, silent = begin(queue), begin(queue)
    age(storage, 3600)
    assert storage.stale_trials(optuna_study) == []
    assert storage.stale_trials(optuna_study) == []  # at once again is no second look
    storage.record_heartbeat(alive._trial_id)
    assert stale_for_two_beats(storage, optuna_study) == [silent._trial_id]
    age(storage, 3600)
    assert storage.stale_trials(optuna_study) == [
        silent._trial_id
    ]  # the other has its second look still to come


def test_trials_of_another_study_are_left_alone(optuna_study, storage):
    other = optuna.create_study(study_name="b", storage=storage)
    kill(storage, begin(TrialQueue(other, storage, budget=9))._trial_id)
    stale_for_two_beats(storage, optuna_study)
    age(storage, 5)
    assert stale_for_two_beats(storage, optuna_study) == []
    list(TrialQueue(optuna_study, storage, budget=9).tidy(retries=3))
    assert [trial.state for trial in other.trials] == [TrialState.RUNNING]
    assert len(stale_for_two_beats(storage, other)) == 1


@pytest.mark.parametrize(("seconds", "interval"), [(4, 1), (60, 15), (100, 25)])
def test_four_heartbeats_are_due_before_a_trial_is_stale(tmp_path, seconds, interval):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db", TRACKING, seconds)
    assert (storage.get_heartbeat_interval(), storage.grace_period) == (interval, seconds)


class Intervals:
    """In place of the event that ends a heartbeat: what is waited for, and the end at once."""

    def __init__(self):
        self.seconds = []

    def wait(self, seconds):
        self.seconds.append(seconds)
        return True

    def set(self):
        pass


def test_a_heartbeat_keeps_the_interval_of_its_storage(queue, tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db", TRACKING, 100)
    heartbeat = Heartbeat(storage, queue.take())
    heartbeat._stop = Intervals()
    with heartbeat:
        pass
    assert heartbeat._stop.seconds == [25]


def test_a_heartbeat_outlasts_an_outage_and_notices_when_the_trial_is_closed(
    optuna_study, queue, storage, monkeypatch
):
    trial_id, beats, real = queue.take(), [], storage.record_heartbeat

    def record(trial_id):
        beats.append(trial_id)
        if len(beats) == 1:
            raise StorageInternalError("no space left on device")
        real(trial_id)

    monkeypatch.setattr(storage, "record_heartbeat", record)
    monkeypatch.setattr(storage, "get_heartbeat_interval", lambda: 0.05)
    with Heartbeat(storage, trial_id) as heartbeat:
        assert until(lambda: len(beats) > 2)
        assert not heartbeat.is_lost
        optuna_study.tell(0, state=TrialState.FAIL)
        assert until(lambda: heartbeat.is_lost)


# --- Another attempt


def test_a_trial_whose_worker_died_goes_on_at_once_with_its_parameters_and_its_runs(
    optuna_study, storage, queue
):
    old, other = begin(queue), begin(queue)
    old.set_user_attr(RANK, 3)
    kill(storage, old._trial_id)
    assert list(queue.tidy(retries=3)) == []
    assert [trial.state.name for trial in optuna_study.trials] == ["FAIL", "RUNNING", "WAITING"]
    assert optuna_study.trials[0].user_attrs[REASON] == "its worker died"
    new = queue.trial(queue.take())
    assert new.number == 2
    assert new.suggest_float("x", 0, 1) == old.params["x"] != other.params["x"]
    assert root(optuna_study.trials[2]) == 0
    assert optuna_study.trials[2].user_attrs[RANK] == 3
    kill(storage, new._trial_id)
    list(queue.tidy(retries=3))
    assert root(optuna_study.trials[3]) == 0


def test_a_worker_of_another_machine_is_gone_when_it_is_silent(optuna_study, storage, queue):
    trial = begin(queue)
    storage.set_trial_user_attr(trial._trial_id, PROCESS, f"elsewhere {GONE.partition(' ')[2]}")
    list(queue.tidy(retries=3))
    assert optuna_study.trials[0].state == TrialState.RUNNING
    age(storage, 5)
    stale_for_two_beats(storage, optuna_study)
    list(queue.tidy(retries=3))
    assert [each.state for each in optuna_study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_a_worker_killed_between_two_parameters_leaves_all_of_them(storage, queue):
    queue.enqueue(RANK, {1: {"x": 0.75, "y": 0.5}})
    kill(storage, begin(queue)._trial_id)
    list(queue.tidy(retries=3))
    new = queue.trial(queue.take())
    assert (new.suggest_float("x", 0, 1), new.suggest_float("y", 0, 1)) == (0.75, 0.5)


def test_one_that_died_before_it_had_parameters_goes_on_too(optuna_study, storage, queue):
    kill(storage, queue.take())
    list(queue.tidy(retries=3))
    assert [each.state for each in optuna_study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert counted(optuna_study.trials) == 1


def test_a_worker_that_lets_go_of_a_trial_uses_up_no_retry(optuna_study, storage, queue):
    for number in range(3):
        queue.let_go(queue.take())
        assert optuna_study.trials[number].user_attrs[REASON] == "its worker let go of it"
    for given_up in ([], [(4, "2 workers died at it")]):  # and then they do die
        kill(storage, queue.take())
        assert [(trial.number, reason) for trial, reason in queue.tidy(retries=1)] == given_up
    assert optuna_study.trials[4].user_attrs[OUTCOME] == FAILED


def test_a_trial_that_kills_every_worker_fails_in_the_end(optuna_study, storage, queue):
    for _ in range(3):
        kill(storage, queue.take())
        given_up = list(queue.tidy(retries=2))
    assert [reason for _, reason in given_up] == ["3 workers died at it"]
    assert [trial.state.name for trial in optuna_study.trials] == ["FAIL"] * 3
    assert optuna_study.trials[-1].user_attrs[OUTCOME] == "failed"
    assert counted(optuna_study.trials) == 1


def test_two_that_notice_at_once_put_it_back_once(optuna_study, storage, queue, monkeypatch):
    trial_id = begin(queue)._trial_id
    for _ in range(2):
        monkeypatch.setattr(queue, "_left", lambda: {trial_id})  # both have looked before either acts
        list(queue.tidy(retries=3))
        queue.let_go(trial_id)  # and the worker itself comes last
    assert [each.state for each in optuna_study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_a_trial_that_has_ended_is_neither_put_back_nor_ended_again(optuna_study, queue, monkeypatch):
    trial = begin(queue)
    optuna_study.tell(trial, 1.0)
    monkeypatch.setattr(queue, "_left", lambda: {trial._trial_id})
    list(queue.tidy(retries=0))
    queue.let_go(trial._trial_id)
    queue.end(trial._trial_id, FAILED, "late")
    assert [each.state for each in optuna_study.trials] == [TrialState.COMPLETE]
    assert OUTCOME not in optuna_study.trials[0].user_attrs


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (lambda queue, _: queue.take(), "record_heartbeat"),
        (lambda queue, running: queue.let_go(running), "create_new_trial"),
        (lambda queue, running: queue.end(running, FAILED, "why"), "set_trial_state_values"),
        (lambda queue, _: queue.enqueue(RANK, {2: {"x": 0.6}, 3: {"x": 0.7}}), "create_new_trial"),
    ],
)
@pytest.mark.parametrize("waiting", [0, 1])
def test_what_the_storage_fails_at_half_way_has_not_begun(
    optuna_study, storage, queue, monkeypatch, change, step, waiting
):
    """The trial that was taken waits on, the one that was drawn is not there, what is at work stays without a note."""
    running = begin(queue)._trial_id
    queue.enqueue(RANK, {1: {"x": 0.5}} if waiting else {})
    before = optuna_study.get_trials()

    def failing(*arguments, **settings):
        getattr(StudyStorage, step)(storage, *arguments, **settings)
        raise StorageInternalError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(storage, step, failing)
        with pytest.raises(StorageInternalError):
            change(queue, running)
    assert optuna_study.get_trials() == before
    change(queue, running)
    assert optuna_study.get_trials() != before


# --- The queue


@pytest.mark.parametrize("mark", [RANK, CONFIRMS])
def test_a_candidate_is_in_the_queue_once_whoever_puts_it_there(optuna_study, storage, queue, mark):
    queue.enqueue(mark, {1: {"x": 0.5}, 2: {"x": 0.6}})
    queue.enqueue(mark, {2: {"x": 0.6}, 3: {"x": 0.7}})
    kill(storage, queue.take())
    list(queue.tidy(retries=3))
    queue.enqueue(mark, {1: {"x": 0.5}})
    assert [trial.system_attrs[FIXED] for trial in optuna_study.trials] == [
        {"x": x} for x in (0.5, 0.6, 0.7, 0.5)
    ]
    assert optuna_study.trials[3].user_attrs == {mark: 1, ROOT: 0}


def test_a_candidate_that_the_budget_had_no_room_for_can_be_queued_again(optuna_study, storage, queue):
    queue.enqueue(RANK, {1: {"x": 0.5}})
    queue.let_go(queue.take())
    lower = TrialQueue(optuna_study, storage, budget=0)
    assert [(trial.number, reason) for trial, reason in lower.tidy(retries=3)] == [
        (1, "the budget is used up")
    ]
    assert queue.trials[1].state == TrialState.FAIL
    queue.enqueue(RANK, {1: {"x": 0.5}})
    assert begin(queue).params == {"x": 0.5}


def test_no_more_is_taken_than_the_budget_has_room_for(optuna_study, storage, queue):
    queue.enqueue(RANK, {rank: {"x": rank / 10} for rank in (1, 2)})
    own = TrialQueue(optuna_study, storage, budget=1)
    first = own.take()
    assert not own.has_next
    assert own.take() is None
    own.let_go(first)  # it has its place, in front of the candidate that waits for longer
    assert own.has_next
    assert own.trial(own.take()).suggest_float("x", 0, 1) == 0.1
    assert own.take() is None


def test_a_study_without_a_budget_takes_what_is_in_the_queue_and_draws_nothing(optuna_study, storage):
    queue = TrialQueue(optuna_study, storage)
    assert queue.take() is None
    queue.enqueue(CONFIRMS, {7: {"x": 0.5}})
    assert queue.take() is not None
    assert queue.take() is None
    assert list(queue.tidy(retries=3)) == []


# --- Several processes at one SQLite file


def take_all(url, budget, taken):
    """Take what there is, as a worker does; without the lock at the beginning two take the same."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(url, TRACKING)
    queue = TrialQueue(optuna.load_study(study_name="a", storage=storage), storage, budget)
    while (trial_id := queue.take()) is not None:
        taken.put(trial_id)
        queue.end(trial_id, FAILED, "it was only taken")


def test_processes_take_each_trial_once_and_draw_no_more_than_the_budget(optuna_study, queue, tmp_path):
    queue.enqueue(RANK, {rank: {"x": rank / 100} for rank in range(8)})
    context = multiprocessing.get_context("spawn")
    taken = context.Queue()
    url = f"sqlite:///{tmp_path}/study.db"
    workers = [context.Process(target=take_all, args=(url, 12, taken)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    numbers = [taken.get() for _ in range(12)]
    assert taken.empty()
    assert len(set(numbers)) == 12
    assert len(optuna_study.trials) == 12
