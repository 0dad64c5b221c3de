"""Progress: what the parent reads from the folders of its runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from orchestrator.campaign import RunQueue
from orchestrator.commands.progress import COLUMNS, Progress, RunProgress
from orchestrator.storage.metrics_log import Record, encode
from orchestrator.storage.run_folder import RunFolder, RunInfo, Status


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path / "arm" / "seed-0")
    run.write_info(
        RunInfo(campaign="c", arm="arm", seed=0, method="m", config={"learner": {"iterations": 100}})
    )
    run.write_status(Status(status="running"))
    return run


def write(folder, steps, seconds=1.0, start=0.0, **metrics):
    records = [
        Record(step=t, kind="train", time=start + seconds * t, metrics={"entropy": 0.25, **metrics})
        for t in steps
    ]
    folder.metrics_path.write_bytes(b"".join(map(encode, records)))


def progress_of(folder):
    progress = RunProgress.of(folder)
    progress.update()
    return progress


def cells(folder):
    return dict(zip(COLUMNS, progress_of(folder).cells(), strict=True))


def test_row_of_a_run(folder):
    held = {
        "loop/entropy/r": 0.3,
        "loop/entropy/u": 0.5,
        "pass_rate": 0.75,
        "rollout/tokens_per_second": 123.4,
    }
    write(folder, range(10), **held)
    assert cells(folder) == {
        "run": "arm/seed-0", "status": "running", "iteration": "10/100", "pass": "0.75", "entropy": "0.250",
        "setpoint": "0.300", "command": "+0.500", "tokens/s": "123", "left": "1:30",
    }  # fmt: skip


def test_a_run_whose_saves_fail_shows_it_while_it_runs(folder):
    write(folder, range(3), **{"guard/collapse": 1.0})
    folder.write_status(Status(status="running", reason="not saved since iteration 2: the disk is full"))
    assert cells(folder)["status"] == "running !unsaved !collapse"
    folder.write_status(Status(status="failed", reason="unsaved: the disk is full"))
    assert cells(folder)["status"] == "failed !collapse"


def test_row_of_a_run_that_has_not_begun(folder):
    assert cells(folder)["iteration"] == "0/100"
    assert cells(folder)["left"] == "–"


def test_time_left_does_not_count_a_pause(folder):
    write(folder, range(10))
    progress = progress_of(folder)
    with folder.metrics_path.open("ab") as file:  # continued the next day
        for t in range(10, 13):
            file.write(encode(Record(step=t, kind="train", time=86400.0 + t, metrics={})))
    progress.update()
    assert progress.seconds_left() == pytest.approx(87.0)


def test_run_that_went_back_to_its_checkpoint(folder):
    write(folder, range(10))
    progress = progress_of(folder)
    write(folder, range(4), start=1000.0)
    progress.update()
    assert progress.iteration == 4
    assert progress.seconds_left() == pytest.approx(96.0)


def test_broken_metrics_stop_a_row_and_not_the_campaign(folder):
    folder.metrics_path.write_bytes(b"garbage\n")
    assert progress_of(folder).iteration == 0


def test_a_log_gets_a_line_for_each_running_run_now_and_then(folder):
    class Running:
        pass

    worker = Running()
    worker.folder = folder
    write(folder, range(3))
    console = Console(file=io.StringIO(), width=20)
    with Progress([folder], console) as progress:
        for _ in range(3):
            progress(RunQueue(waiting=[], running=[worker]))
    assert console.file.getvalue().count("\n") == 1
    assert "arm/seed-0  iteration 3/100" in console.file.getvalue()


def test_a_terminal_gets_a_table(folder):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Progress([folder], console) as progress:
        progress(RunQueue(waiting=[folder]))
    assert "arm/seed-0" in console.file.getvalue()
