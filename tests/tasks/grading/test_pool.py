import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hostile_graders import PROBLEM, Obedient

from tasks.grading.batch import Batch, Fate
from tasks.grading.messages import GradedAnswer
from tasks.grading.pool import GradingPool

LIMIT = 2.0
"""Seconds of processor time, and of the clock: what hangs costs so much, and what is right has so much."""


@pytest.fixture(scope="module")
def pool():
    with GradingPool(Obedient(), timeout_seconds=LIMIT, wall_limit_seconds=LIMIT) as pool:
        yield pool


def grade(pool, *responses):
    return pool.grade([PROBLEM] * len(responses), responses)


def pids(pool):
    return [worker._process.pid for worker in pool._workers]


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(*pids, seconds=60.0):
    end = time.monotonic() + seconds
    while any(map(is_running, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(is_running, pids))


def test_scores_come_back_in_order(pool):
    grades = grade(pool, "right", "wrong", "right", "true")
    assert grades.scores == [1.0, 0.0, 1.0, 1.0]
    assert (grades.num_timeouts, grades.num_errors, grades.num_crashes) == (0, 0, 0)
    assert grades.first_error == ""


def test_an_empty_batch_has_no_scores(pool):
    assert grade(pool).scores == []


def test_lengths_must_agree(pool):
    with pytest.raises(ValueError, match=r"responses must be as many as problems \(1\), got 2"):
        pool.grade([PROBLEM], ["a", "b"])


@pytest.mark.parametrize("hang", ["hang", "hang_in_c"])
def test_a_hung_grader_is_killed_and_the_rest_is_still_graded(pool, hang):
    grades = grade(pool, "right", hang, "right", "wrong", "right")
    assert grades.scores == [1.0, 0.0, 1.0, 0.0, 1.0]
    assert (grades.num_timeouts, grades.num_errors, grades.num_crashes) == (1, 0, 0)


@pytest.mark.parametrize("crash", ["exit", "segfault"])
def test_a_crashed_grader_scores_0_and_the_rest_is_still_graded(pool, crash):
    grades = grade(pool, crash, "right", crash)
    assert grades.scores == [0.0, 1.0, 0.0]
    assert (grades.num_timeouts, grades.num_errors, grades.num_crashes) == (0, 0, 2)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ("error", "LookupError: no such answer"),
        ("system_exit", "SystemExit: 0"),
        ("keyboard_interrupt", "KeyboardInterrupt"),
        ("recursion", "RecursionError"),
        ("nan", "score must be between 0 and 1, got nan"),
        ("infinite", "score must be between 0 and 1, got inf"),
        ("negative", "score must be between 0 and 1, got -0.5"),
        ("two", "score must be between 0 and 1, got 2.0"),
        ("nothing", "TypeError"),
    ],
)
def test_an_error_scores_0_and_leaves_the_worker_alive(pool, response, message):
    before = pids(pool)
    grades = grade(pool, "right", response, "right")
    assert grades.scores == [1.0, 0.0, 1.0]
    assert (grades.num_timeouts, grades.num_errors, grades.num_crashes) == (0, 1, 0)
    assert message in grades.first_error
    assert pids(pool) == before


def test_the_limits_are_for_each_response_not_for_the_chunk(pool):
    assert grade(pool, *["slow"] * 4).scores == [1.0] * 4  # 2.4 s in all, 2 s allowed to each


def test_the_work_is_shared_and_a_hang_does_not_hold_up_the_other_worker():
    with GradingPool(Obedient(), num_workers=2, timeout_seconds=1.0, wall_limit_seconds=1.0) as pool:
        workers = {round(1 / score) for score in grade(pool, *["pid"] * 8).scores}
        assert workers == set(pids(pool))
        grades = grade(pool, "hang", "right", "hang", "exit", "right", "error", "right", "right")
    assert grades.scores == [0, 1, 0, 0, 1, 0, 1, 1]
    assert (grades.num_timeouts, grades.num_crashes, grades.num_errors) == (2, 1, 1)


def test_a_memory_hungry_grader_meets_its_limit():
    with GradingPool(Obedient(), memory_limit_megabytes=1024) as pool:
        grades = grade(pool, "memory", "right")
    assert grades.scores == [0.0, 1.0]
    assert "MemoryError" in grades.first_error


def test_a_worker_killed_while_idle_costs_no_response(pool):
    for pid in pids(pool):
        os.kill(pid, signal.SIGKILL)
    wait_until_gone(*pids(pool))
    grades = grade(pool, "right")
    assert grades.scores == [1.0]
    assert grades.num_crashes == 0


def test_workers_leave_ctrl_c_and_sigterm_to_the_parent(pool):
    before = pids(pool)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(before[0], number)
    assert grade(pool, "right").scores == [1.0]
    assert pids(pool) == before


def test_an_interrupted_grading_leaves_no_stale_scores_behind(pool, monkeypatch):
    def interrupt(self, place, verdict):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Batch, "settle", interrupt)
        with pytest.raises(KeyboardInterrupt):
            grade(pool, "wrong", "wrong")
    assert grade(pool, "right", "right").scores == [1.0, 1.0]


def test_a_pool_made_in_a_thread_survives_that_thread():
    made = []
    thread = threading.Thread(target=lambda: made.append(GradingPool(Obedient())))
    thread.start()
    thread.join()
    with made[0] as pool:
        # Python is done with a thread before Linux is, and only then does Linux kill what it started.
        deadline = time.monotonic() + 60
        while sys.platform == "linux" and pool._workers[0].is_alive and time.monotonic() < deadline:
            time.sleep(0.01)
        assert grade(pool, "right", "wrong").scores == [1.0, 0.0]


def test_close_kills_the_workers_and_may_be_repeated():
    with GradingPool(Obedient(), num_workers=2) as pool:
        workers = pids(pool)
        assert all(map(is_running, workers))
    assert wait_until_gone(*workers)
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        grade(pool, "right")


def test_a_pool_that_is_dropped_takes_its_workers_along():
    pool = GradingPool(Obedient())
    workers = pids(pool)
    del pool
    assert wait_until_gone(*workers)


def test_a_task_that_cannot_be_prepared_is_reported_at_once():
    with pytest.raises(RuntimeError, match="could not load the task: OSError: no dictionary"):
        GradingPool(Obedient(fails_to_prepare=True))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_workers": 0}, "num_workers must be at least 1, got 0"),
        ({"timeout_seconds": 0.0}, "timeout_seconds must be above 0 and finite, got 0.0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds must be above 0 and finite, got nan"),
        ({"wall_limit_seconds": 0.0}, "wall_limit_seconds must be above 0, got 0.0"),
        ({"wall_limit_seconds": float("nan")}, "wall_limit_seconds must be above 0, got nan"),
        ({"memory_limit_megabytes": 0}, "memory_limit_megabytes must be at least 1, got 0"),
    ],
)
def test_settings_are_guarded(setting, message):
    with pytest.raises(ValueError, match=message):
        GradingPool(Obedient(), **setting)


def launch(how):
    script = Path(__file__).parents[1] / "pool_in_a_script.py"
    return subprocess.Popen(
        [sys.executable, script, how], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@pytest.mark.parametrize("how", ["return", "raise"])
def test_no_worker_outlives_a_process_that_forgets_to_close(how):
    with launch(how) as process:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert process.wait(timeout=120) == (how == "raise")
    assert len(workers) == 2
    assert wait_until_gone(*workers)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends hung workers only on Linux")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_a_parent_that_is_killed_while_a_grader_hangs(number):
    with launch("hang_in_c") as process:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert all(map(is_running, workers))
        time.sleep(0.2)
        process.send_signal(number)
        process.wait(timeout=120)
    assert wait_until_gone(*workers)


def test_a_batch_is_cut_into_contiguous_chunks_without_loss():
    assert list(Batch([(PROBLEM, "")] * 7, num_chunks=3).chunks) == [[0, 1], [2, 3], [4, 5, 6]]
    assert list(Batch([(PROBLEM, "")] * 2, num_chunks=4).chunks) == [[0], [1]]


def test_grades_count_each_fate_and_quote_the_first_error_in_order():
    batch = Batch([(PROBLEM, "")] * 5, num_chunks=1)
    batch.settle(4, GradedAnswer(0.0, "later"))
    batch.settle(1, GradedAnswer(0.0, "sooner"))
    batch.settle(0, GradedAnswer(0.5))
    batch.lose(2, Fate.TIMEOUT)
    assert batch.num_left == 1
    batch.lose(3, Fate.CRASH)
    grades = batch.grades()
    assert grades.scores == [0.5, 0.0, 0.0, 0.0, 0.0]
    assert (grades.num_timeouts, grades.num_errors, grades.num_crashes) == (1, 2, 1)
    assert grades.first_error == "sooner"
