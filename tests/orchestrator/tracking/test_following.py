"""Trackers beside MLflow see a run while it trains."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator.execution.credentials import VARIABLE
from orchestrator.storage.run_folder import Status
from orchestrator.tracking import following
from orchestrator.tracking.following import Feed, Followers, follow
from orchestrator.tracking.others import write_others

ROOT = Path(__file__).parents[3]


@pytest.fixture
def home(make_campaign):
    """A campaign whose one run is at work."""
    folder = make_campaign(seeds=(0,), arms=("grpo",))
    folder.run("grpo", 0).write_status(Status(status="running"))
    return folder


@pytest.fixture
def run(home):
    return home.run("grpo", 0)


@pytest.fixture
def stopped():
    event = threading.Event()
    event.set()
    return event


def steps(tracker):
    return [step for step, _ in tracker.rows]


def expected(run):
    return [record.step for record in run.records()]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_run_that_trains_is_seen_and_when_it_has_ended_no_record_is_missing_or_doubled(
    home, run, told, name
):
    feed = Feed(home.path, run, name)
    feed.forward(is_over=False)
    (tracker,) = told[name]
    assert steps(tracker) == expected(run)
    assert not tracker.is_finished
    with run.writer() as writer:
        writer.append(150, {"entropy": 0.5})
    run.write_status(Status(status="done"))
    feed.forward(is_over=True)
    assert steps(tracker) == expected(run)
    assert tracker.is_finished
    assert write_others(home, [name]) == []
    assert told[name] == [tracker]  # it has all


def test_what_a_guardrail_may_take_back_waits(home, run, told, monkeypatch):
    monkeypatch.setattr(type(run), "settled", lambda _: lambda record: record.step < 100)
    Feed(home.path, run, "wandb").forward(is_over=False)
    assert max(steps(told["wandb"][0])) == 99


def test_a_run_that_has_gone_back_is_given_anew(home, run, told):
    feed = Feed(home.path, run, "trackio")
    feed.forward(is_over=False)
    lines = run.metrics_path.read_bytes().splitlines(keepends=True)
    run.metrics_path.write_bytes(b"".join(lines[:50]))
    with run.writer() as writer:
        writer.append(120, {"entropy": 0.5})
    feed.forward(is_over=False)
    (tracker,) = told["trackio"]  # the one before is deleted
    assert steps(tracker) == expected(run)


def test_a_tracker_that_fails_is_left_alone_and_the_others_are_not(home, run, told, stopped, monkeypatch):
    def fail(**_):
        raise RuntimeError("no disk")

    monkeypatch.setattr(sys.modules["wandb"], "init", fail)
    follow(home.path, run, ["wandb", "trackio"], stopped)
    (tracker,) = told["trackio"]
    assert steps(tracker) == expected(run)
    assert tracker.is_finished
    run.write_status(Status(status="done"))
    follow(home.path, run, ["wandb", "trackio"], threading.Event())  # which ends with the run
    assert json.loads((run.path / "also.json").read_text()).keys() == {"trackio"}


def test_a_run_that_was_interrupted_is_whole_after_the_next_command(home, run, told, stopped):
    follow(home.path, run, ["trackio"], stopped)
    run.write_status(Status(status="done"))
    follow(home.path, run, ["trackio"], threading.Event())
    (tracker,) = told["trackio"]
    assert steps(tracker) == expected(run)


SEEN = """
import pathlib
class Writer:
    def __init__(self, folder):
        pathlib.Path(folder).mkdir(parents=True)
        self.file = pathlib.Path(folder, "seen").open("a")
        print("loud")
    def add_scalar(self, name, value, step, wall_time):
        print(name, step, file=self.file)
    def flush(self):
        self.file.flush()
    def close(self):
        print("closed", file=self.file)
        self.file.close()
"""


def test_the_follower_is_a_process_that_ends_with_the_campaign(home, run, tmp_path, monkeypatch, capfd):
    package = tmp_path / "fake" / "tensorboard"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "summary.py").write_text(SEEN)
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}:{ROOT}")
    seen = home.path / "tensorboard" / "grpo" / "seed-0" / "seen"
    with Followers(home.path, ["tensorboard"]) as followers:
        deadline = time.monotonic() + 60
        while not seen.exists() or "entropy/mean 149" not in seen.read_text():
            followers([run])  # as at every poll; it is started once
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "closed" not in seen.read_text()
    lines = seen.read_text().splitlines()
    assert lines[-1] == "closed"
    assert lines.count("entropy/mean 149") == 1
    assert capfd.readouterr() == ("", "")


def test_without_further_trackers_no_process_is_started(home, run, monkeypatch):
    monkeypatch.setattr(following.subprocess, "Popen", None)
    with Followers(home.path, []) as followers:
        followers([run])


def test_a_follower_that_cannot_be_started_costs_nothing(home, run, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no process is left")

    monkeypatch.setattr(following.subprocess, "Popen", refuse)
    with Followers(home.path, ["wandb"]) as followers:
        followers([run])
        followers([run])


def test_followers_that_have_ended_leave_nothing_open_and_none_sees_credentials(home, run, monkeypatch):
    started = []

    class Ended(subprocess.Popen):
        def __init__(self, _, **options):
            super().__init__([sys.executable, "-c", ""], **options)
            started.append((self, options["env"]))

    monkeypatch.setattr(following.subprocess, "Popen", Ended)
    monkeypatch.setenv(VARIABLE, "{}")
    with Followers(home.path, ["wandb"]) as followers:
        followers([run])
        ((process, environment),) = started
        process.wait(30)
        followers([run])
        assert process.stdin.closed
        assert VARIABLE not in environment
    assert len(started) == 1
