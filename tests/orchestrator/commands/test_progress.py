"""Progress: what the parent reads from the folders of its runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from orchestrator.campaign import RunQueue
from orchestrator.commands.progress import COLUMNS, Progress, RunProgress
from orchestrator.execution.runs import Worker
from orchestrator.storage.activity import Activity, ActivityFile
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
    write(folder, range(3))
    console = Console(file=io.StringIO(), width=20)
    with Progress([folder], console) as progress:
        for _ in range(3):
            progress(RunQueue(waiting=[], running=[]))
    run, total = console.file.getvalue().splitlines()
    assert run.startswith("arm/seed-0  status running  iteration 3/100")
    assert total == "0/1 runs ended  3/100 iterations  left 1:37  elapsed 0:00"


def test_a_run_says_what_it_is_at_before_its_iterations(folder):
    ActivityFile(folder.path)(Activity(name="warm start", done=120, total=700))
    assert cells(folder)["status"] == "warm start 120/700"
    ActivityFile(folder.path)(Activity(name="iteration", done=3, total=100))
    assert cells(folder)["status"] == "running"
    ActivityFile(folder.path)(Activity(name="saving"))
    folder.write_status(Status(status="done"))
    assert cells(folder)["status"] == "done"


def test_a_run_whose_process_loads_its_libraries_is_starting(tmp_path):
    waiting, begun = many(tmp_path, 2)
    console = Console(file=io.StringIO(), width=80)
    with Progress([waiting, begun], console) as progress:
        progress(RunQueue(waiting=[waiting], running=[Worker(begun, job=None)]))
    run, total = console.file.getvalue().splitlines()
    assert "seed-1  status starting" in run
    assert total.startswith("0/2 runs ended")


def shown(folders, width=80, height=24):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    progress = Progress(folders, console)
    with console.capture() as capture:
        console.print(progress.view(progress._read(folders), "the total"))
    return capture.get().splitlines()


def many(tmp_path, num, status="pending", name="a_long_name_of_an_arm_that_says_what_is_in_it"):
    folders = []
    for seed in range(num):
        run = RunFolder(tmp_path / name / f"seed-{seed}")
        config = {"learner": {"iterations": 100}}
        run.write_info(RunInfo(campaign="c", arm=name, seed=seed, method="m", config=config))
        run.write_status(Status(status=status))
        folders.append(run)
    return folders


@pytest.mark.parametrize("width", [60, 80, 200])
def test_names_stay_readable_and_a_row_stays_one_line(tmp_path, width):
    (run,) = many(tmp_path, 1, "running")
    write(
        run, range(10), **{"loop/entropy/r": 0.3, "loop/entropy/u": 0.5, "rollout/tokens_per_second": 123.4}
    )
    head, row, total = shown([run], width)
    assert row.split()[0].endswith("what_is_in_it/seed-0")
    assert "10/100" in row
    assert row.rstrip().endswith("1:30")
    assert ("setpoint" in head, "pass" in head) == (width >= 80, width >= 80)
    assert total == "the total"


def test_the_runs_that_run_are_in_sight_whatever_the_height(tmp_path):
    folders = many(tmp_path, 30)
    folders[0].write_status(Status(status="done"))
    folders[28].write_status(Status(status="running"))
    lines = shown(folders, height=12)
    assert len(lines) < 12
    assert any("seed-28" in line and "running" in line for line in lines)
    assert any("seed-0" in line and "done" in line for line in lines)
    assert lines[-2] == "… and 22 more runs"


def test_the_total_tells_the_time_left_at_the_pace_of_the_runs_that_run(tmp_path, monkeypatch):
    folders = many(tmp_path, 3)
    for run in folders[:2]:
        run.write_status(Status(status="running"))
        write(run, range(40), seconds=2.0)
    now = [1000.0]
    monkeypatch.setattr("orchestrator.commands.progress.time.monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=80)
    progress = Progress(folders, console)
    now[0] += 100
    progress(RunQueue(waiting=[]))
    # (60 + 60 + 100) iterations of 2 s, two at a time
    assert console.file.getvalue().splitlines()[-1] == (
        "0/3 runs ended  80/300 iterations  left 3:40  elapsed 1:40"
    )


def test_a_terminal_gets_a_table(folder):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Progress([folder], console) as progress:
        progress(RunQueue(waiting=[folder]))
    assert "arm/seed-0" in console.file.getvalue()
