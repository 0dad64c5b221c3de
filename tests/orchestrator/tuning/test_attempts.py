"""Trials whose worker is gone are noticed, and no others; each goes on once, with what it had."""

from __future__ import annotations

import multiprocessing
import time
from types import SimpleNamespace

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from orchestrator.tuning import attempts
from orchestrator.tuning.attempts import (
    DUPLICATE,
    OUTCOME,
    RANK,
    REASON,
    ROOT,
    SURPLUS,
    UNTRAINED,
    Heartbeat,
    ask,
    close,
    counted,
    is_redundant,
    num_open,
    root,
    take_over,
)
from orchestrator.tuning.storage import open_storage
from tests.orchestrator.tuning.conftest import TRACKING, age, stale_for_two_beats


def begin(study, storage=None):
    """A trial that has drawn x, with one heartbeat where a storage is given."""
    trial = ask(study)
    trial.suggest_float("x", 0, 1)
    if storage is not None:
        storage.record_heartbeat(trial._trial_id)
    return trial


def until(condition, seconds=60.0):
    """What it gives as soon as that is true, or at last."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


# --- Heartbeats


def test_a_trial_without_a_heartbeat_for_so_long_is_stale_and_no_other(optuna_study, storage):
    silent, alive = begin(optuna_study, storage), begin(optuna_study, storage)
    assert stale_for_two_beats(storage, optuna_study) == []
    age(storage, 3, silent)
    assert stale_for_two_beats(storage, optuna_study) == []
    age(storage, 2, silent)
    assert stale_for_two_beats(storage, optuna_study) == [silent._trial_id]
    storage.record_heartbeat(silent._trial_id)  # it was slow, and is there again
    age(storage, 5, alive)
    optuna_study.tell(alive, 1.0)
    assert stale_for_two_beats(storage, optuna_study) == []


def test_a_trial_whose_worker_died_before_its_first_heartbeat_is_noticed(optuna_study, storage):
    trial = begin(optuna_study)
    assert stale_for_two_beats(storage, optuna_study) == []
    age(storage, 5)
    assert stale_for_two_beats(storage, optuna_study) == [trial._trial_id]


def test_a_trial_is_given_up_at_the_second_look_and_not_where_it_beat_in_between(optuna_study, storage):
    """The machine was suspended: at the first look afterwards every heartbeat is old."""
    alive, silent = begin(optuna_study, storage), begin(optuna_study, storage)
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
    begin(other)
    begin(other, storage)
    stale_for_two_beats(storage, optuna_study)
    age(storage, 5)
    assert stale_for_two_beats(storage, optuna_study) == []
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


def test_a_heartbeat_keeps_the_interval_of_its_storage(optuna_study, tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db", TRACKING, 100)
    heartbeat = Heartbeat(storage, begin(optuna_study))
    heartbeat._stop = Intervals()
    with heartbeat:
        pass
    assert heartbeat._stop.seconds == [25]


def test_a_heartbeat_outlasts_an_outage_and_notices_when_the_trial_is_closed(
    optuna_study, storage, monkeypatch
):
    beats, real = [], storage.record_heartbeat

    def record(trial_id):
        beats.append(trial_id)
        if len(beats) == 1:
            raise StorageInternalError("no space left on device")
        real(trial_id)

    monkeypatch.setattr(storage, "record_heartbeat", record)
    monkeypatch.setattr(storage, "get_heartbeat_interval", lambda: 0.05)
    with Heartbeat(storage, begin(optuna_study)) as heartbeat:
        assert until(lambda: len(beats) > 2)
        assert not heartbeat.is_lost
        optuna_study.tell(0, state=TrialState.FAIL)
        assert until(lambda: heartbeat.is_lost)


# --- Another attempt


def test_a_trial_whose_worker_died_goes_on_with_its_parameters_and_its_runs(optuna_study):
    old = begin(optuna_study)
    old.set_user_attr(RANK, 3)
    take_over(optuna_study, optuna_study.trials[0], retries=3)
    assert optuna_study.trials[0].state == TrialState.FAIL
    assert optuna_study.trials[0].user_attrs[REASON] == "its worker died"
    new = ask(optuna_study)
    assert new.number == 1
    assert new.suggest_float("x", 0, 1) == old.params["x"]
    assert not is_redundant(optuna_study, new)
    assert root(optuna_study.trials[1]) == 0
    assert optuna_study.trials[1].user_attrs[RANK] == 3
    take_over(optuna_study, optuna_study.trials[1], retries=3)
    assert root(optuna_study.trials[2]) == 0


def test_a_worker_killed_between_two_parameters_leaves_all_of_them(optuna_study):
    optuna_study.enqueue_trial({"x": 0.75, "y": 0.5}, user_attrs={RANK: 1})
    ask(optuna_study).suggest_float("x", 0, 1)
    take_over(optuna_study, optuna_study.trials[0], retries=3)
    new = ask(optuna_study)
    assert (new.suggest_float("x", 0, 1), new.suggest_float("y", 0, 1)) == (0.75, 0.5)


def test_one_that_died_before_it_had_parameters_goes_on_too(optuna_study):
    ask(optuna_study)
    take_over(optuna_study, optuna_study.trials[0], retries=3)
    assert [each.state for each in optuna_study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert counted(optuna_study.trials) == 1


def test_a_worker_that_lets_go_of_a_trial_uses_up_no_retry(optuna_study):
    begin(optuna_study)
    for number in range(3):
        assert take_over(optuna_study, optuna_study.trials[-1]) == ""
        assert optuna_study.trials[number].user_attrs[REASON] == "its worker let go of it"
        ask(optuna_study)
    for reason in ("", "2 workers died at it"):  # and then they do die
        assert take_over(optuna_study, optuna_study.trials[-1], retries=1) == reason
        if not reason:
            ask(optuna_study)


@pytest.mark.parametrize(("retries", "reason"), [(3, "its worker died"), (None, "its worker let go of it")])
def test_a_worker_that_dies_between_the_two_steps_leaves_the_second_to_the_next(
    optuna_study, monkeypatch, retries, reason
):
    begin(optuna_study)
    with monkeypatch.context() as killed:
        killed.setattr(attempts, "close", lambda *_: None)
        take_over(optuna_study, optuna_study.trials[0], retries)
    assert optuna_study.trials[0].state == TrialState.RUNNING
    assert not is_redundant(optuna_study, ask(optuna_study))
    assert optuna_study.trials[0].state == TrialState.FAIL
    assert optuna_study.trials[0].user_attrs[REASON] == reason


def test_two_that_notice_at_once_queue_it_twice_and_one_is_dropped(optuna_study):
    begin(optuna_study)
    seen = optuna_study.trials[0]
    take_over(optuna_study, seen, retries=3)
    optuna_study.add_trial(optuna_study.trials[1])  # the other one had looked before
    take_over(optuna_study, seen, retries=3)  # and a third comes late
    assert len(optuna_study.trials) == 3
    first, second = ask(optuna_study), ask(optuna_study)
    assert not is_redundant(optuna_study, first)
    assert is_redundant(optuna_study, second)
    close(optuna_study, second, DUPLICATE, "twice")
    assert counted(optuna_study.trials) == 1


def test_a_trial_that_ends_while_it_is_taken_over_is_not_done_twice(optuna_study, monkeypatch):
    """The other worker looked before its end, and queues it after."""
    alive = begin(optuna_study)
    real = optuna_study.add_trial

    def slow(attempt):
        optuna_study.tell(alive, 1.0)
        real(attempt)

    monkeypatch.setattr(optuna_study, "add_trial", slow)
    take_over(optuna_study, optuna_study.trials[0], retries=3)
    assert [each.state for each in optuna_study.trials] == [TrialState.COMPLETE, TrialState.WAITING]
    assert is_redundant(optuna_study, ask(optuna_study))


def test_a_trial_that_has_ended_is_not_taken_over(optuna_study):
    alive = begin(optuna_study)
    seen = optuna_study.get_trials()[0]
    optuna_study.tell(alive, 1.0)
    assert take_over(optuna_study, seen, retries=0) == ""
    assert [each.state for each in optuna_study.trials] == [TrialState.COMPLETE]


def test_a_duplicate_whose_worker_died_before_it_looked_is_a_duplicate_still(optuna_study):
    begin(optuna_study)
    take_over(optuna_study, optuna_study.trials[0], retries=3)
    optuna_study.add_trial(optuna_study.trials[1])  # a second worker noticed at once
    first, _ = ask(optuna_study), ask(optuna_study)
    assert not is_redundant(optuna_study, first)
    for number in (2, 3):  # the duplicate's worker dies, and then that of its next attempt
        take_over(optuna_study, optuna_study.trials[number], retries=3)
        last = ask(optuna_study)
        assert root(optuna_study.trials[last.number]) == 0
        assert is_redundant(optuna_study, last)
    take_over(optuna_study, optuna_study.trials[1], retries=3)
    assert not is_redundant(optuna_study, ask(optuna_study))


def test_a_candidate_queued_twice_is_trained_once_whichever_worker_died(optuna_study):
    for _ in range(2):
        optuna_study.enqueue_trial({"x": 0.5}, user_attrs={RANK: 1})
    for _ in range(2):
        ask(optuna_study)
    for number in range(2):
        take_over(optuna_study, optuna_study.trials[number], retries=3)
    assert [is_redundant(optuna_study, ask(optuna_study)) for _ in range(2)] == [False, True]


def test_one_that_was_let_go_of_goes_on_though_its_worker_was_killed_at_that(optuna_study, monkeypatch):
    """Its retries are used up, and letting go uses none."""
    begin(optuna_study)
    with monkeypatch.context() as killed:
        killed.setattr(attempts, "close", lambda *_: None)
        take_over(optuna_study, optuna_study.trials[0])
    assert take_over(optuna_study, optuna_study.trials[0], retries=0) == ""
    assert optuna_study.trials[0].user_attrs[OUTCOME] == "replaced"
    assert optuna_study.trials[0].user_attrs[REASON] == "its worker let go of it"
    assert len(optuna_study.trials) == 2
    assert not is_redundant(optuna_study, ask(optuna_study))


def test_the_same_candidate_of_stage_one_is_trained_once(optuna_study):
    for _ in range(2):
        optuna_study.enqueue_trial({"x": 0.5}, user_attrs={RANK: 1})
    first, second = ask(optuna_study), ask(optuna_study)
    assert not is_redundant(optuna_study, first)
    assert is_redundant(optuna_study, second)


def test_a_candidate_that_the_budget_had_no_room_for_can_be_queued_again(optuna_study):
    optuna_study.enqueue_trial({"x": 0.5}, user_attrs={RANK: 1})
    close(optuna_study, ask(optuna_study), SURPLUS, "the budget is used up")
    optuna_study.enqueue_trial({"x": 0.5}, user_attrs={RANK: 1})
    assert not is_redundant(optuna_study, ask(optuna_study))


def test_a_trial_that_kills_every_worker_fails_in_the_end(optuna_study):
    begin(optuna_study)
    for _ in range(3):
        take_over(optuna_study, optuna_study.trials[-1], retries=2)
        if optuna_study.trials[-1].state == TrialState.WAITING:
            ask(optuna_study)
    assert len(optuna_study.trials) == 3
    assert optuna_study.trials[-1].user_attrs[OUTCOME] == "failed"
    assert "3 workers died at it" in optuna_study.trials[-1].user_attrs[REASON]
    assert counted(optuna_study.trials) == 1


# --- The budget


def trial(number, state="COMPLETE", outcome=None, of=None):
    attributes = ({OUTCOME: outcome} if outcome else {}) | ({} if of is None else {ROOT: of})
    system = {} if of is None else {"failed_trial": of}
    return SimpleNamespace(
        number=number, state=SimpleNamespace(name=state), user_attrs=attributes, system_attrs=system
    )


def test_a_trial_counts_once_for_all_of_its_attempts():
    trials = [
        trial(0, "FAIL", "replaced"),
        trial(1, "RUNNING"),
        trial(2, "WAITING"),
        trial(3, "WAITING", of=0),
    ]
    assert counted(trials) == 2  # the one that waits in the queue for its first worker has not begun
    assert num_open(trials) == 2
    assert counted([*trials[:3], trial(3, of=0), trial(4, "FAIL", "duplicate", of=0)]) == 2
    assert not num_open([trial(0), trial(1, "WAITING"), trial(2, "FAIL", "failed")])


def test_a_trial_that_goes_on_is_never_one_too_many():
    """Two of two began, the first goes on as number 2, and a third was drawn at the same moment."""
    trials = [trial(0, "FAIL", "replaced"), trial(1), trial(2, "RUNNING", of=0), trial(3, "RUNNING")]
    assert counted(trials, before=root(trials[2])) == 0
    assert counted(trials, before=root(trials[3])) == 2


def test_twenty_that_were_not_trained_count_as_one():
    untrained = [trial(number, "PRUNED", UNTRAINED) for number in range(40)]
    assert (counted(untrained[:19]), counted(untrained)) == (0, 2)


# --- Several processes at one SQLite file


def take_all(url, taken):
    """Take what waits, as a worker does; without the lock at the beginning two take the same."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name="a", storage=open_storage(url, TRACKING))
    while any(each.state == TrialState.WAITING for each in study.get_trials(deepcopy=False)):
        taken.put(ask(study).number)


def test_no_two_processes_take_the_same_trial_of_a_sqlite_file(optuna_study, tmp_path):
    for number in range(24):
        optuna_study.enqueue_trial({"x": number / 24})
    context = multiprocessing.get_context("spawn")
    taken = context.Queue()
    url = f"sqlite:///{tmp_path}/study.db"
    workers = [context.Process(target=take_all, args=(url, taken)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    numbers = [taken.get() for _ in range(taken.qsize())]
    assert sorted(numbers)[:24] == list(range(24))
    assert len(set(numbers)) == len(numbers)
