"""How long a response has, and what becomes of one whose worker is killed, stopped or slow to start."""

import os
import signal
import threading
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from hostile_graders import PROBLEM, Intruder

import tasks.grading.pool
import tasks.grading.process
from tasks.base import Problem
from tasks.grading.batch import MAX_GRADINGS, Batch, Grades
from tasks.grading.messages import GradedAnswer, Started
from tasks.grading.pool import GradingPool
from tasks.grading.process import LOOK_SECONDS, SLACK_SECONDS, GradingProcess, Phase

FAR = 600.0
"""A limit that nothing here comes near."""


@pytest.fixture(scope="module")
def pool():
    with GradingPool(Intruder(), timeout_seconds=FAR) as pool:
        yield pool


def problem_with(**facts):
    return Problem(prompt="?", answer="", domain="test", difficulty=0.0, facts=facts)


def worker_pid(pool):
    return pool._workers[0]._process.pid


@contextmanager
def meanwhile(act):
    """Run ``act`` beside the block; what it raises is raised here."""
    raised = []

    def run():
        try:
            act()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()
    assert not raised


def until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)


# Processor time.


class Clock:
    """A machine whose clocks a test sets."""

    def __init__(self, monkeypatch, *, limit, wall_limit):
        self.wall, self.spent = 1000.0, 7.0
        monkeypatch.setattr(tasks.grading.process, "monotonic", lambda: self.wall)
        monkeypatch.setattr(
            GradingProcess, "_spent_seconds", lambda worker: self.spent - worker._spent_before
        )
        self.worker = GradingProcess(
            b"", None, timeout_seconds=limit, wall_limit_seconds=wall_limit, memory_limit_megabytes=None
        )
        self.worker.phase, self.worker.owed = Phase.BUSY, deque([0])
        self.worker.next_job_begins(Started(self.spent))

    def after(self, *, wall, spent):
        self.wall, self.spent = 1000.0 + wall, 7.0 + spent
        return self.worker.is_overdue()


@pytest.mark.parametrize("load", [1, 2, 10, 50])
def test_a_response_within_its_processor_time_is_never_given_up_however_busy_the_machine(monkeypatch, load):
    clock = Clock(monkeypatch, limit=2.0, wall_limit=60.0)
    for tenth in range(1, 11):  # 1 s of the 2 s that it has
        assert not clock.after(wall=load * tenth / 10, spent=tenth / 10)


@pytest.mark.parametrize("load", [1, 2, 10, 25])
def test_a_response_over_its_processor_time_is_given_up_however_busy_the_machine(monkeypatch, load):
    clock = Clock(monkeypatch, limit=2.0, wall_limit=60.0)
    assert not clock.after(wall=2.0 * load, spent=2.0)
    assert clock.after(wall=2.1 * load, spent=2.1)


def test_a_response_that_sleeps_meets_the_limit_of_the_wall_clock(monkeypatch):
    clock = Clock(monkeypatch, limit=2.0, wall_limit=60.0)
    assert not clock.after(wall=59.9, spent=0.1)
    assert clock.worker.deadline == pytest.approx(1060.0)
    assert clock.after(wall=60.0, spent=0.1)


def test_the_parent_looks_when_the_time_can_be_up_and_at_least_every_second(monkeypatch):
    clock = Clock(monkeypatch, limit=2.0, wall_limit=60.0)
    assert clock.worker.deadline == 1002.0  # not before: most responses are never looked at
    clock.after(wall=2.0, spent=1.7)
    assert clock.worker.deadline == pytest.approx(1002.0 + 0.3 + SLACK_SECONDS)
    clock.after(wall=2.4, spent=0.2)
    assert clock.worker.deadline == pytest.approx(1002.4 + LOOK_SECONDS)


def test_the_verdict_goes_by_what_was_used_and_not_by_when_the_parent_looked():
    batch = Batch([(PROBLEM, "")] * 2, num_chunks=1, limit_seconds=2.0)
    batch.settle(0, GradedAnswer(1.0, "", 2.0))
    batch.settle(1, GradedAnswer(1.0, "", 2.001))
    assert batch.grades() == Grades(scores=[1.0, 0.0], num_timeouts=1)


@pytest.mark.parametrize(("limit", "wall_limit"), [(0.5, 60.0), (2.0, 60.0), (3.0, 60.0), (5.0, 100.0)])
def test_the_wall_limit_is_20_times_the_other_and_at_least_a_minute(monkeypatch, limit, wall_limit):
    monkeypatch.setattr(GradingPool, "_start_workers", lambda _: None)
    with GradingPool(Intruder(), timeout_seconds=limit) as pool:
        assert pool._workers[0]._wall_limit_seconds == wall_limit


def test_a_worker_that_the_machine_gives_no_time_is_waited_for():
    """Stopped for three times its limit."""

    def let_go_on():
        until(lambda: pool._workers[0].has_begun)
        worker = psutil.Process(worker_pid(pool))
        until(lambda: worker.status() == psutil.STATUS_STOPPED)
        time.sleep(1.5)
        worker.resume()

    with GradingPool(Intruder(), timeout_seconds=0.5, wall_limit_seconds=FAR) as pool, meanwhile(let_go_on):
        grades = pool.grade([PROBLEM] * 2, ["stop", "burn 0.1"])
    assert grades == Grades(scores=[1.0, 1.0])


@pytest.mark.parametrize("response", ["burn 0.8", "burn 3600"])
def test_processor_time_decides_whether_the_response_ends_by_itself_or_not(response):
    with GradingPool(Intruder(), timeout_seconds=0.5, wall_limit_seconds=FAR) as pool:
        grades = pool.grade([PROBLEM] * 3, ["burn 0.2", response, "burn 0.2"])
    assert grades == Grades(scores=[1.0, 0.0, 1.0], num_timeouts=1)


@pytest.mark.parametrize(("response", "score"), [("0.05", 1.0), ("1.3", 0.0), ("3600", 0.0)])
def test_the_processor_time_of_children_counts(response, score):
    needs = Intruder(grading_needs=("processes",))
    with GradingPool(needs, timeout_seconds=1.0, wall_limit_seconds=FAR) as pool:
        grades = pool.grade([PROBLEM] * 2, [f"burn_in_child {response}", "burn 0.1"])
    assert grades == Grades(scores=[score, 1.0], num_timeouts=int(score == 0))


# What a grader leaves running.


def running(mark):
    """Processes whose command ends with ``mark``."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if command[-1:] == [mark] and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def test_a_child_that_a_grader_leaves_is_ended_with_its_response():
    with GradingPool(Intruder(grading_needs=("processes",)), timeout_seconds=FAR) as pool:
        error = pool.grade([PROBLEM], ["leave_child"]).first_error
        child = int(error.rpartition(" ")[2])
        assert not psutil.pid_exists(child)


@pytest.mark.parametrize("response", ["leave_child_and_hang", "leave_child_and_exit"])
def test_what_a_grader_started_ends_with_its_worker(response, tmp_path):
    mark = str(tmp_path)
    needs = Intruder(grading_needs=("processes",))
    with GradingPool(needs, timeout_seconds=FAR, wall_limit_seconds=5.0) as pool:
        grades = pool.grade([problem_with(mark=mark)], [response])
        assert grades.scores == [0.0]
        until(lambda: not running(mark))


# Killed from outside.


def test_a_response_whose_worker_is_killed_is_graded_again(pool, tmp_path):
    flag = tmp_path / "go"

    def kill():
        until(lambda: pool._workers[0].has_begun)
        os.kill(worker_pid(pool), signal.SIGKILL)
        flag.touch()

    with meanwhile(kill):
        grades = pool.grade([problem_with(flag=str(flag))] * 3, ["wait_for"] * 3)
    assert grades == Grades(scores=[1.0] * 3, num_regraded=1)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGUSR1"])
def test_a_response_that_kills_its_worker_each_time_is_an_error_that_names_the_signal(pool, name):
    grades = pool.grade([PROBLEM] * 4, ["burn 0", f"kill {name}", "burn 0", "burn 0"])
    assert grades.scores == [1.0, 0.0, 1.0, 1.0]
    assert (grades.num_errors, grades.num_crashes, grades.num_timeouts) == (1, 0, 0)
    assert grades.num_regraded == MAX_GRADINGS - 1
    assert (
        grades.first_error
        == f"its worker was killed by {name} each of the {MAX_GRADINGS} times it was graded"
    )


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT"])
def test_a_fault_of_the_program_is_a_crash_and_is_not_graded_again(pool, name):
    grades = pool.grade([PROBLEM] * 2, [f"kill {name}", "burn 0"])
    assert grades == Grades(scores=[0.0, 1.0], num_crashes=1, first_error=f"its worker ended by {name}")


def test_a_response_is_settled_once_however_its_gradings_end():
    batch = Batch([(PROBLEM, "")] * 2, num_chunks=1)
    batch.chunks.clear()
    batch.interrupted(0, "its worker was killed by SIGKILL")
    assert list(batch.chunks) == [[0]]
    assert batch.num_left == 2
    batch.settle(0, GradedAnswer(1.0))
    batch.settle(1, GradedAnswer(0.5))
    assert batch.grades() == Grades(scores=[1.0, 0.5], num_regraded=1)


def test_joined_grades_add_up_what_was_graded_again():
    parts = [Grades(scores=[1.0], num_regraded=1), Grades(scores=[0.0], num_regraded=2)]
    assert Grades.join(parts).num_regraded == 3


# Starting.


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(tasks.grading.pool, "sleep", lambda _: None)


def failing_starts(monkeypatch, times):
    """The system refuses a process so many times, once the pool is up."""
    start, left = GradingProcess.start, [times]

    def refuse_or_start(worker):
        if left[0]:
            left[0] -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        start(worker)

    monkeypatch.setattr(GradingProcess, "start", refuse_or_start)


def test_a_replacement_that_fails_to_start_is_started_again(pool, monkeypatch, no_pauses, caplog):
    failing_starts(monkeypatch, 2)
    grades = pool.grade([PROBLEM] * 2, ["kill SIGSEGV", "burn 0"])
    assert grades.scores == [0.0, 1.0]
    assert (
        "could not be launched: [Errno 11] Resource temporarily unavailable; it is started again"
        in caplog.text
    )


def test_a_replacement_that_cannot_be_started_is_an_error_that_says_so(monkeypatch, no_pauses):
    with GradingPool(Intruder(), timeout_seconds=FAR) as pool:
        failing_starts(monkeypatch, 3)
        with pytest.raises(RuntimeError, match=r"could not be launched: .* unavailable, 3 times in a row"):
            pool.grade([PROBLEM] * 2, ["kill SIGSEGV", "burn 0"])


def test_a_replacement_that_fails_to_prepare_is_started_again(tmp_path, no_pauses, caplog):
    broken = tmp_path / "broken"
    with GradingPool(Intruder(broken=str(broken)), timeout_seconds=FAR) as pool:
        broken.touch()
        grades = pool.grade([PROBLEM] * 2, ["kill SIGSEGV", "burn 0"])
    assert grades.scores == [0.0, 1.0]
    assert "could not load the task: OSError: no dictionary; it is started again" in caplog.text


def test_a_worker_killed_while_it_starts_is_started_again(monkeypatch, no_pauses, caplog):
    start, killed = GradingProcess.start, []

    def start_and_kill(worker):
        start(worker)
        if not killed:
            killed.append(worker._process.pid)
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(GradingProcess, "start", start_and_kill)
    with GradingPool(Intruder(), timeout_seconds=FAR) as pool:
        assert pool.grade([PROBLEM], ["burn 0"]).scores == [1.0]
        assert worker_pid(pool) != killed[0]
    assert "was killed by SIGKILL" in caplog.text


def test_a_worker_that_is_slow_to_start_has_a_limit_of_its_own(monkeypatch, no_pauses):
    """It has nothing to do with that of a response, and what is too long is tried again before it is an error."""
    assert tasks.grading.process.START_SECONDS >= 300
    with GradingPool(Intruder(), timeout_seconds=0.01, wall_limit_seconds=FAR) as pool:
        assert pool.grade([PROBLEM], ["burn 0"]).scores == [1.0]
    monkeypatch.setattr(tasks.grading.process, "START_SECONDS", 0.0)
    with pytest.raises(RuntimeError, match="did not start within 300 s, 3 times in a row"):
        GradingPool(Intruder())


# What a response scores depends on nothing else.


def test_a_score_depends_neither_on_the_worker_nor_on_what_was_graded_before(pool):
    responses = ["random", "numpy_random", "hash some text"]
    seen = [{score} for score in pool.grade([PROBLEM] * 3, responses).scores]
    for before in ([], ["numpy_random", "burn 0", "random 1"]):
        with GradingPool(Intruder(), num_workers=2, timeout_seconds=FAR) as two:
            graded = before + responses * 4
            scores = two.grade([PROBLEM] * len(graded), graded).scores[len(before) :]
        for place, score in enumerate(scores):
            seen[place % 3].add(score)
    assert [len(scores) for scores in seen] == [1, 1, 1]
    assert all(0 < score < 1 for score in set.union(*seen))


@pytest.mark.parametrize("hungry", ["many_files", "half_of_the_files", "memory"])
def test_what_a_response_uses_up_is_there_for_the_next_one(hungry):
    with GradingPool(Intruder(), timeout_seconds=FAR, memory_limit_megabytes=2048) as pool:
        first = worker_pid(pool)
        grades = pool.grade([PROBLEM] * 4, ["burn 0", hungry, "scratch", "burn 0"])
        assert grades.scores == [1.0, float(hungry == "half_of_the_files"), 1.0, 1.0]
        assert (grades.num_crashes, grades.num_regraded) == (0, 0)
        assert worker_pid(pool) != first
        second = worker_pid(pool)
        assert pool.grade([PROBLEM] * 2, ["burn 0", hungry]).num_crashes == 0  # the last of its chunk
        assert pool.grade([PROBLEM], ["scratch"]).scores == [1.0]
        assert worker_pid(pool) != second


def test_two_responses_have_draws_of_their_own(pool):
    one, other = pool.grade([PROBLEM] * 2, ["random 1", "random 2"]).scores
    assert one != other


def test_a_grader_that_changes_the_folder_changes_it_for_itself_alone(pool):
    problem = problem_with(here=str(Path.cwd()))
    assert pool.grade([problem] * 3, ["chdir"] * 3).scores == [1.0] * 3


def test_the_environment_of_this_process_is_left_as_it_is(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with GradingPool(Intruder()):
        assert dict(os.environ) == before
