"""A campaign: which runs it starts, what it makes of their ends, and how it is stopped and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from orchestrator import campaign as campaigns
from orchestrator.campaign import (
    InterruptedCampaignError,
    exclusively,
    execute,
    prepare,
    retry_stopped,
    runs_of,
    saved,
)
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.execution import process, runs
from orchestrator.storage.guardrail_files import Event, append_event, read_events
from orchestrator.storage.run_folder import CampaignInfo, RunFolder, Status, read_json, write_json
from tests.elsewhere import python_path

ROOT = Path(__file__).parents[2]
FAKE_WORKER = (str(Path(__file__).with_name("fake_worker.py")),)


def ignore(_):
    """No progress."""


@pytest.fixture
def campaign_of(write_campaign):
    """Read a campaign of the given arms (which `fake_worker` acts out) and seeds."""

    def make(*arms, seeds=(0,), workers=2, **changes):
        path = write_campaign(
            {
                "arms": [{"name": arm} for arm in arms],
                "seeds": list(seeds),
                "execution.workers": workers,
                **changes,
            }
        )
        return read_campaign(path)

    return make


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(process, "WORKER", FAKE_WORKER)
    monkeypatch.setattr(campaigns, "POLL_SECONDS", 0.02)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def started(monkeypatch):
    """Names of the runs that got a process, in order."""
    names, start = [], campaigns.start_run

    def spy(folder, crew):
        names.append(f"{folder.path.parent.name}/{folder.path.name}")
        return start(folder, crew)

    monkeypatch.setattr(campaigns, "start_run", spy)
    return names


def states(folder):
    return {f"{run.path.parent.name}/{run.path.name}": run.read_status().status for run in folder.runs()}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# What is run ------------------------------------------------------------------------------------------


def test_arms_times_seeds_seed_by_seed(campaign_of, fake, started):
    campaign = campaign_of("good", "other", seeds=(3, 1), workers=1)
    folder = prepare(campaign)
    assert states(folder) == dict.fromkeys(
        ["good/seed-1", "good/seed-3", "other/seed-1", "other/seed-3"], "pending"
    )
    assert execute(folder, campaign, on_poll=ignore) == []
    # Seed by seed, so that every arm has a result early.
    assert started == ["good/seed-3", "other/seed-3", "good/seed-1", "other/seed-1"]
    assert set(states(folder).values()) == {"done"}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_no_more_at_once_than_workers(campaign_of, fake, workers):
    campaign = campaign_of("good", seeds=range(4), workers=workers)
    seen = []
    execute(prepare(campaign), campaign, on_poll=lambda schedule: seen.append(len(schedule.running)))
    assert max(seen) == workers


def test_workers_do_not_import_from_the_users_folder(campaign_of, tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("raise SystemExit('the user's own tasks')")
    ours = str(ROOT / "tasks" / "__init__.py")
    code = f"import tasks, sys; sys.exit(tasks.__file__ != {ours!r})"
    flags = process.WORKER[: process.WORKER.index("-m")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *flags, "-c", code], cwd=tmp_path, check=True, env=environment)


# How runs end -----------------------------------------------------------------------------------------


def test_failed_runs_stop_no_others_and_say_why(campaign_of, fake):
    campaign = campaign_of("bad", "dies", "good")
    folder = prepare(campaign)
    failed = execute(folder, campaign, on_poll=ignore)
    assert [run.path.parent.name for run in failed] == ["bad", "dies"]
    assert states(folder) == {"bad/seed-0": "failed", "dies/seed-0": "failed", "good/seed-0": "done"}
    assert folder.run("bad", 0).read_status().reason == "[bold] it does that"
    reason = folder.run("dies", 0).read_status().reason
    assert "the process was killed by SIGKILL" in reason
    assert "log.txt" in reason


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_lost_run_is_taken_up_so_often_and_no_more(campaign_of, fake, started, retries):
    campaign = campaign_of("dies", **{"execution.retries": retries})
    assert len(execute(prepare(campaign), campaign, on_poll=ignore)) == 1
    assert len(started) == 1 + retries


def test_a_run_that_saves_on_its_way_may_be_lost_again_and_again(campaign_of, fake, started):
    campaign = campaign_of("creeps", **{"execution.retries": 1})
    folder = prepare(campaign)
    assert execute(folder, campaign, on_poll=ignore) == []
    assert len(started) == 5
    assert states(folder) == {"creeps/seed-0": "done"}


def test_a_worker_that_others_told_to_stop_is_taken_up(campaign_of, fake, started):
    """As a machine that is taken back does: the run saves and says that it was interrupted."""
    campaign = campaign_of("preempted")
    folder = prepare(campaign)
    assert execute(folder, campaign, on_poll=ignore) == []
    assert len(started) == 2
    assert states(folder) == {"preempted/seed-0": "done"}


def test_same_again_runs_only_what_is_not_done(campaign_of, fake, started):
    campaign = campaign_of("bad", "dies", "good")
    execute(prepare(campaign), campaign, on_poll=ignore)
    started.clear()
    folder = prepare(campaign)
    assert states(folder) == {"bad/seed-0": "pending", "dies/seed-0": "pending", "good/seed-0": "done"}
    execute(folder, campaign, on_poll=ignore)
    assert sorted(started) == ["bad/seed-0", *["dies/seed-0"] * 3]  # lost twice, and continued each time


def test_new_arms_and_seeds_join_what_is_done(campaign_of, fake, started):
    campaign = campaign_of("good")
    execute(prepare(campaign), campaign, on_poll=ignore)
    started.clear()
    campaign = campaign_of("good", "other", seeds=(0, 1))
    execute(prepare(campaign), campaign, on_poll=ignore)
    assert sorted(started) == ["good/seed-1", "other/seed-0", "other/seed-1"]


def test_full_disk_for_the_status_does_not_stop_the_others(campaign_of, fake, monkeypatch):
    campaign = campaign_of("dies", "good", workers=1)
    folder = prepare(campaign)
    write = RunFolder.write_status

    def full(run, status):
        if status.status == "failed":
            raise OSError(28, "No space left on device")
        write(run, status)

    monkeypatch.setattr(RunFolder, "write_status", full)
    assert [run.path.parent.name for run in execute(folder, campaign, on_poll=ignore)] == ["dies"]
    assert states(folder)["good/seed-0"] == "done"


# Another configuration --------------------------------------------------------------------------------


def test_other_configuration_of_the_same_name_is_refused(campaign_of):
    prepare(campaign_of("good"))
    with pytest.raises(ConfigError) as refused:
        prepare(campaign_of("good", **{"learner.iterations": 7, "task.num_digits": 2}))
    message = str(refused.value)
    assert "name: 'small' has a stored run of the arm 'good' with another configuration" in message
    assert "learner.iterations: stored 6, now 7" in message
    assert "task.num_digits: stored 1, now 2" in message
    assert "another name" in message
    assert "group_size" not in message  # which is the same


def test_a_run_of_before_a_setting_came_is_the_same_run(campaign_of):
    """A key that is new has a default that keeps what runs did without it."""
    campaign = campaign_of("good")
    folder = prepare(campaign)
    (run,) = folder.runs()
    stored = run.read_info()
    older = {**stored.config, "learner": {k: v for k, v in stored.config["learner"].items() if k != "betas"}}
    run.write_info(replace(stored, config=older, fingerprint="of another version"))
    prepare(campaign)
    assert run.read_info().fingerprint == "of another version"
    with pytest.raises(ConfigError, match=r"learner\.iterations: stored 6, now 7"):
        prepare(campaign_of("good", **{"learner.iterations": 7}))


def test_refused_configuration_leaves_everything_as_it_was(campaign_of, tmp_path):
    folder = prepare(campaign_of("good"))
    before = {path: path.read_bytes() for path in folder.path.rglob("*.json")}
    with pytest.raises(ConfigError):
        prepare(campaign_of("good", "other", **{"learner.iterations": 7}))
    assert {path: path.read_bytes() for path in folder.path.rglob("*.json")} == before


@pytest.mark.parametrize("begin", [prepare, lambda campaign: exclusively(campaign).__enter__()])
def test_a_study_of_the_same_name_is_refused_and_left_as_it_was(campaign_of, begin):
    campaign = campaign_of("good")
    folder = campaigns.campaign_folder(campaign)
    folder.write_info(
        CampaignInfo(name="small", config={"study": {}, "arm": {}}, source="studies/small.yaml")
    )
    before = {path: path.read_bytes() for path in folder.path.rglob("*")}
    with pytest.raises(
        ConfigError, match=r"name: .*small holds a study .* `entrostat tune studies/small.yaml`"
    ):
        begin(campaign)
    assert {path: path.read_bytes() for path in folder.path.rglob("*")} == before


def test_a_folder_that_cannot_be_written_to_is_said(campaign_of):
    campaign = campaign_of("good", **{"tracking.folder": "/proc/nowhere"})
    message = "tracking.folder: /proc/nowhere/small cannot be written to"
    with pytest.raises(ConfigError, match=message), exclusively(campaign):
        pass


def test_what_changes_no_result_may_change(campaign_of):
    prepare(campaign_of("good", workers=1))
    folder = prepare(campaign_of("good", workers=2, **{"execution.grading_timeout_seconds": 9.0}))
    assert folder.run("good", 0).read_info().execution["grading_timeout_seconds"] == 9.0


def test_same_campaign_twice_at_the_same_time_is_refused(campaign_of):
    campaign = campaign_of("good")
    with exclusively(campaign):
        code = (
            "import sys; from pathlib import Path; from orchestrator.campaign import exclusively;"
            "from orchestrator.configuration.resolve import read_campaign\n"
            "with exclusively(read_campaign(Path(sys.argv[1]))): pass"
        )
        second = subprocess.run(
            [sys.executable, "-c", code, str(campaign.path)],
            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert second.returncode != 0
        assert "name: 'small' is being run by another process" in second.stderr
    with exclusively(campaign):
        pass


# Stopping ---------------------------------------------------------------------------------------------


def once_running(signal_number, num_running):
    """An `on_poll` that sends this process a signal when that many workers have begun."""
    sent = []

    def poll(schedule):
        begun = [w for w in schedule.running if w.folder.read_status().status == "running"]
        if len(begun) == num_running and not sent:
            sent.append(signal_number)
            poll.pids = [worker.job.process.pid for worker in schedule.running]
            os.kill(os.getpid(), signal_number)

    return poll


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_the_workers_and_keeps_the_rest_waiting(campaign_of, fake, started, number):
    campaign = campaign_of("waits", seeds=range(3))
    folder = prepare(campaign)
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    poll = once_running(number, 2)
    with pytest.raises(InterruptedCampaignError, match=f"stopped by {number.name}"):
        execute(folder, campaign, on_poll=poll)
    assert states(folder) == {
        "waits/seed-0": "interrupted", "waits/seed-1": "interrupted", "waits/seed-2": "pending",
    }  # fmt: skip
    assert len(started) == 2
    assert not any(map(is_alive, poll.pids))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers


def test_worker_that_does_not_listen_is_killed(campaign_of, fake, monkeypatch):
    monkeypatch.setattr(runs, "STOP_SECONDS", 0.3)
    campaign = campaign_of("stubborn", "waits")
    folder = prepare(campaign)
    poll = once_running(signal.SIGTERM, 2)
    with pytest.raises(InterruptedCampaignError):
        execute(folder, campaign, on_poll=poll)
    assert not any(map(is_alive, poll.pids))
    # Told to stop, so it did not fail; the same command continues it from its last checkpoint.
    status = folder.run("stubborn", 0).read_status()
    assert status.status == "interrupted"
    assert "killed by SIGKILL" in status.reason


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "nothing is saved yet; it starts over, 12 iterations are lost"),
        (SimpleNamespace(iteration=12), "saved after iteration 12 of 30"),
        (
            SimpleNamespace(iteration=10),
            "saved after iteration 10 of 30, 2 of its 12 iterations are trained again",
        ),
    ],
)
def test_an_interruption_tells_what_is_really_saved(tmp_path, monkeypatch, found, said):
    run = RunFolder(tmp_path)
    run.write_status(Status(status="interrupted", iteration=12, num_iterations=30))
    monkeypatch.setattr("orchestrator.training.going_on.where_to_go_on", lambda _: found)
    assert saved(run) == said
    run.write_status(Status(status="done", iteration=30, num_iterations=30))
    assert saved(run) is None


def test_an_interruption_tells_that_no_checkpoint_can_be_used(tmp_path):
    run = RunFolder(tmp_path)
    run.write_status(Status(status="interrupted", iteration=12, num_iterations=30))
    run.checkpoint_path.parent.mkdir()
    run.checkpoint_path.write_bytes(b"torn")
    assert str(run.checkpoint_path) in saved(run)


def test_error_in_the_parent_leaves_no_orphans(campaign_of, fake):
    campaign = campaign_of("waits")
    folder, pids = prepare(campaign), []

    def poll(schedule):
        if not pids and schedule.running:
            pids.extend(worker.job.process.pid for worker in schedule.running)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        execute(folder, campaign, on_poll=poll)
    assert pids
    assert not any(map(is_alive, pids))


def test_workers_stop_when_the_parent_is_killed(campaign_of, fake, tmp_path):
    campaign = campaign_of("waits")
    folder = prepare(campaign)
    code = (
        "import sys; from pathlib import Path; from orchestrator import campaign as c;"
        "from orchestrator.configuration.resolve import read_campaign;"
        "from orchestrator.execution import process; process.WORKER = (sys.argv[2],); campaign = read_campaign(Path(sys.argv[1]));"
        "c.execute(c.prepare(campaign), campaign, on_poll=lambda _: None)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(campaign.path), *FAKE_WORKER], env=environment, cwd=tmp_path
    )
    run = folder.run("waits", 0)
    wait_for(lambda: run.read_status().status == "running")
    pid = run.read_status().pid
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(pid))
    assert run.read_status().status == "interrupted"


def test_what_a_guardrail_stopped_waits_again_only_when_that_is_asked_for(campaign_of, fake, started):
    campaign = campaign_of("good", "bad")
    folder = prepare(campaign)
    run = folder.run("good", 0)
    run.write_status(Status(status="stopped", reason="collapse: it fell", iteration=7))
    append_event(run.events_path, Event(iteration=3, detector="mismatch", reason="a warning"))
    event = Event(iteration=7, detector="collapse", action="stop", reason="collapse: it fell")
    append_event(run.events_path, event)
    write_json(run.path / "tracking.json", {"key": "old"})
    assert [each.path for each in execute(prepare(campaign), campaign, on_poll=ignore)] == [
        folder.run("bad", 0).path
    ]
    assert started == ["bad/seed-0"]
    prepare(campaign)
    ((again, rollback),) = retry_stopped(runs_of(campaign))
    assert again.path == run.path
    assert (rollback.reason, rollback.to, rollback.requested) == ("collapse: it fell", 0, True)
    assert read_json(run.path / "tracking.json")["retry_of"] == "old"
    assert run.read_status().status == "pending"
    execute(folder, campaign, on_poll=ignore)
    assert run.read_status().status == "done"
    assert len(read_events(run.events_path)) == 2
    assert retry_stopped(runs_of(campaign)) == []


def test_what_another_content_of_the_campaign_left_stopped_is_not_made_to_wait_for_ever(campaign_of):
    old = campaign_of("good", "other")
    run = prepare(old).run("other", 0)
    run.write_status(Status(status="stopped", reason="collapse: it fell", iteration=7))
    append_event(run.events_path, Event(iteration=7, detector="collapse", action="stop", reason="it fell"))
    new = campaign_of("good")
    prepare(new)
    assert retry_stopped(runs_of(new)) == []
    assert run.read_status().status == "stopped"
    assert len(retry_stopped(runs_of(old))) == 1


def test_stale_status_of_a_killed_machine_is_no_obstacle(campaign_of, fake):
    campaign = campaign_of("good")
    folder = prepare(campaign)
    folder.run("good", 0).write_status(Status(status="running", pid=1))
    assert states(prepare(campaign)) == {"good/seed-0": "pending"}
    assert execute(folder, campaign, on_poll=ignore) == []


def wait_for(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# With real workers ------------------------------------------------------------------------------------


@pytest.mark.trains
def test_two_workers_train_while_a_third_run_diverges(write_campaign):
    wild = {"learning_rate": 3.0e38, "betas": [0.0, 0.0], "max_skipped_steps": 2}
    path = write_campaign(
        {"execution.workers": 2, "arms.2": {"name": "wild", "method": "grpo", "learner": wild}}
    )
    campaign = read_campaign(path)
    folder = prepare(campaign)
    failed = execute(folder, campaign, on_poll=ignore)
    assert [run.path.parent.name for run in failed] == ["wild"]
    reason = failed[0].read_status().reason
    assert reason.startswith(
        "TrainingDivergedError: the loss or its gradient was not finite for 2 optimiser steps"
    )
    assert "lower learner.learning_rate" in reason
    for arm in ("grpo", "held"):
        run = folder.run(arm, 0)
        assert run.read_status().iteration == 6
        assert [r.step for r in run.records() if r.kind == "train"] == list(range(6))
        assert torch.load(run.checkpoint_path, weights_only=True)["learner"]["iteration"] == 6
    held = folder.run("held", 0).records()[1].metrics
    assert held["loop/entropy/e"] == pytest.approx(0.4 - held["entropy"])
    assert "loop/entropy/e" not in folder.run("grpo", 0).records()[1].metrics


def entrostat(path, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", "run", str(path), *arguments],
        cwd=path.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONPATH": python_path()},
    )  # fmt: skip


def measured(run):
    return [record.step for record in run.records() if record.kind == "train"]


@pytest.mark.trains
@pytest.mark.slow
def test_killed_worker_is_reported_and_continued(write_campaign):
    # Without retries, or the campaign would take the lost run up again by itself.
    changes = {"learner.iterations": 40, "arms": [{"name": "grpo"}], "execution.retries": 0}
    campaign = read_campaign(write_campaign(changes))
    folder = prepare(campaign)
    run = folder.run("grpo", 0)

    def kill_it(schedule):
        if len(measured(run)) > 3 and schedule.running:
            schedule.running[0].job.kill()

    assert execute(folder, campaign, on_poll=kill_it) == [run]
    assert run.read_status().status == "failed"
    assert "killed by SIGKILL" in run.read_status().reason
    assert execute(prepare(campaign), campaign, on_poll=ignore) == []
    assert run.read_status().status == "done"
    assert measured(run) == list(range(40))


@pytest.mark.trains
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_campaign_that_is_stopped_saves_and_continues(write_campaign, tmp_path, number):
    changes = {"learner.iterations": 300, "learner.checkpoint_every": 1000, "evaluation.every": 1000}
    path = write_campaign(changes | {"execution.workers": 2})
    process = entrostat(path)
    runs = [RunFolder(tmp_path / "runs" / "small" / arm / "seed-0") for arm in ("grpo", "held")]
    try:
        wait_for(lambda: all(len(measured(run)) > 3 for run in runs), 120)
        pids = [run.read_status().pid for run in runs]
    finally:
        process.send_signal(number)
        output, _ = process.communicate(timeout=120)
    wait_for(lambda: not any(map(is_alive, pids)))
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL), output
    for run in runs:
        saved = torch.load(run.checkpoint_path, weights_only=True)["learner"]["iteration"]
        assert saved == len(measured(run))
        status = run.read_status()
        assert status.status == "interrupted"
        assert status.reason == f"told to stop; it continues from iteration {saved}"
        assert status.iteration == saved
