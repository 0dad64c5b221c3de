"""The folder of a run: what a killed, resumed or disk-starved process leaves, and how it reads."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from orchestrator.storage.run_folder import (
    CampaignFolder,
    CampaignInfo,
    Record,
    RunBusyError,
    RunFolder,
    RunInfo,
    Status,
    Tail,
    write_json,
)


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "campaign" / "arm" / "seed-0")


def steps(records, kind="train"):
    return [record.step for record in records if record.kind == kind]


def write_run(run, iterations, every=10):
    """A run that evaluates before each `every`-th iteration and after the last."""
    with run.writer() as writer:
        for step in iterations:
            if step % every == 0:
                writer.append(step, {"eval/pass_at_1": step / 100}, kind="eval")
            writer.append(step, {"entropy": 1.0 - step / 1000})


def test_what_is_written_is_read_back_exactly(run):
    third = 1 / 3
    with run.writer() as writer:
        writer.append(0, {"entropy": third, "surprisal": 5e-324})
    (record,) = run.records()
    assert record.metrics == {"entropy": third, "surprisal": 5e-324}
    assert (record.step, record.kind) == (0, "train")
    assert abs(record.time - time.time()) < 60


def test_values_that_are_not_finite_are_left_out(run):
    with run.writer() as writer:
        writer.append(0, {"loss": math.nan, "grad_norm": math.inf, "entropy": 0.5})
    assert run.records()[0].metrics == {"entropy": 0.5}


def test_info_and_status_round_trip(run):
    info = RunInfo(campaign="c", arm="a", seed=3, method="grpo", config={"lr": 0.001}, fingerprint="f")
    run.write_info(info)
    status = Status(status="failed", reason="loss is not finite", iteration=4, num_iterations=9, pid=1)
    run.write_status(status)
    assert run.read_info() == info
    assert replace(run.read_status(), updated=status.updated) == status


def test_a_run_without_status_is_pending(run):
    assert run.read_status().status == "pending"


def test_a_file_that_is_not_ours_names_its_path_and_a_remedy(run):
    write_json(run.path / "run.json", {"campaign": "c"})
    with pytest.raises(ValueError, match=r"run\.json: not written by Entrostat .*delete the folder"):
        run.read_info()
    (run.path / "status.json").write_text("{")
    with pytest.raises(ValueError, match=r"status\.json: not valid JSON"):
        run.read_status()


def test_truncate_keeps_what_checkpoint_20_knows(run):
    write_run(run, range(25))
    run.truncate(20)
    # training iterations 0..19 are done, and the evaluation of the policy they gave
    assert steps(run.records()) == list(range(20))
    assert steps(run.records(), "eval") == [0, 10, 20]


def test_truncate_to_the_present_changes_no_byte(run):
    write_run(run, range(25))
    before = run.metrics_path.read_bytes()
    run.truncate(25)
    assert run.metrics_path.read_bytes() == before


def test_truncate_of_a_run_that_never_wrote(run):
    run.truncate(0)
    assert run.records() == []


def test_a_torn_last_line_is_ignored_then_removed(run):
    write_run(run, range(3))
    with run.metrics_path.open("ab") as file:
        file.write(b'{"step":3,"kind":"train","ti')
    assert steps(run.records()) == [0, 1, 2]
    write_run(run, range(3, 5))
    assert steps(run.records()) == [0, 1, 2, 3, 4]


def test_a_broken_line_inside_names_the_file(run):
    write_run(run, range(3))
    with run.metrics_path.open("ab") as file:
        file.write(b"\0\0\0\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl: not a metrics record.*restore the file"):
        run.records()


def test_a_resumed_writer_knows_what_the_file_has(run):
    write_run(run, range(25))
    run.truncate(20)
    with run.writer() as writer:
        assert writer.has(20, "eval")
        assert writer.has(19, "train")
        assert not writer.has(20, "train")


@pytest.mark.parametrize(("name", "kind"), [("eval/pass_at_1", "train"), ("entropy", "eval")])
def test_names_tell_the_kind(run, name, kind):
    with run.writer() as writer, pytest.raises(AssertionError, match="in a record of kind"):
        writer.append(0, {name: 1.0}, kind=kind)


def test_a_step_cannot_be_written_twice(run):
    write_run(run, range(3))
    with run.writer() as writer, pytest.raises(AssertionError, match="truncate on resume"):
        writer.append(2, {"entropy": 0.0})


def test_tail_gives_each_record_once(run):
    tail = Tail(run.metrics_path)
    assert tail.read() == []
    write_run(run, range(1, 4))
    assert steps(tail.read()) == [1, 2, 3]
    assert tail.read() == []
    write_run(run, range(4, 6))
    assert steps(tail.read()) == [4, 5]


def test_tail_waits_for_the_end_of_a_line(run):
    tail = Tail(run.metrics_path)
    line = json.dumps({"step": 0, "kind": "train", "time": 1.0, "metrics": {}}).encode() + b"\n"
    run.path.mkdir(parents=True)
    with run.metrics_path.open("ab", buffering=0) as file:
        file.write(line[:10])
        assert tail.read() == []
        file.write(line[10:])
    assert tail.read() == [Record(step=0, kind="train", time=1.0, metrics={})]


@pytest.mark.parametrize("regrown", [12, 40])
def test_tail_starts_again_after_a_truncation_even_when_the_file_has_grown_past_it(run, regrown):
    tail = Tail(run.metrics_path)
    write_run(run, range(1, 20))
    assert len(steps(tail.read())) == 19
    run.truncate(5)
    write_run(run, range(5, regrown))
    assert steps(tail.read()) == list(range(1, regrown))
    assert tail.read() == []


def test_sigkill_in_the_middle_loses_no_complete_record(run):
    code = f"""
from pathlib import Path
from orchestrator.storage.run_folder import RunFolder
with RunFolder(Path({str(run.path)!r})).writer() as writer:
    for step in range(10**9):
        writer.append(step, {{"entropy": step + 0.5, "reward": step / 7}})
"""
    child = subprocess.Popen([sys.executable, "-c", code])
    while not (run.metrics_path.exists() and run.metrics_path.stat().st_size > 20_000):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    seen = steps(run.records())
    assert seen == list(range(len(seen)))
    with run.writer() as writer:
        writer.append(len(seen), {"entropy": 0.0})
    assert steps(run.records()) == list(range(len(seen) + 1))


def hold_lock(run, then):
    code = f"""
import os, sys, time
from pathlib import Path
from orchestrator.storage.run_folder import RunFolder
with RunFolder(Path({str(run.path)!r})).lock():
    {then}
    print(os.getpid(), flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    return child


def test_a_second_process_is_refused_with_the_pid_of_the_first(run):
    child = hold_lock(run, then="pass")
    try:
        with pytest.raises(RunBusyError, match=f"process {child.pid} is working on this run"), run.lock():
            pass
        assert run.is_locked()
    finally:
        child.kill()
        child.communicate()
    with run.lock(wait_seconds=5):
        assert run.is_locked()
    assert not run.is_locked()


def test_a_killed_process_frees_its_lock_although_its_forked_workers_live_on(run):
    child = hold_lock(run, then="worker = os.fork()\n    if worker == 0: time.sleep(20); os._exit(0)")
    child.kill()
    child.wait()
    with run.lock(wait_seconds=10):  # the worker lets go of it as soon as it runs
        pass
    child.stdout.close()


def test_a_full_disk_names_the_file_and_leaves_it_whole(run, monkeypatch):
    write_run(run, range(1, 4))
    real_write = os.write
    with run.writer() as writer:
        monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:7]))
        with pytest.raises(OSError, match=r"the disk is full: free some space.*metrics\.jsonl") as caught:
            writer.append(4, {"entropy": 1.0})
        monkeypatch.undo()
        assert caught.value.errno == errno.ENOSPC
        writer.append(4, {"entropy": 1.0})
    assert steps(run.records()) == [1, 2, 3, 4]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_on_a_json_file_names_it(tmp_path, monkeypatch):
    def full(_):
        with open("/dev/full", "wb", buffering=0) as file:  # noqa: PTH123
            file.write(b"x")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"the disk is full.*status\.json"):
        RunFolder(tmp_path).write_status(Status())
    assert list(tmp_path.iterdir()) == []


def test_runs_come_in_the_order_of_the_configuration(tmp_path):
    campaign = CampaignFolder(tmp_path / "c")
    campaign.write_info(CampaignInfo(name="c", config={"arms": {"zeta": {}, "alpha": {}}}))
    for arm, seed in [("alpha", 10), ("alpha", 9), ("zeta", 0)]:
        campaign.run(arm, seed).write_info(RunInfo(campaign="c", arm=arm, seed=seed, method="grpo"))
    assert [(r.path.parent.name, r.path.name) for r in campaign.runs()] == [
        ("zeta", "seed-0"),
        ("alpha", "seed-9"),
        ("alpha", "seed-10"),
    ]
