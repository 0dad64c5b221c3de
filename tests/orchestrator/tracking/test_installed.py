"""The trackers themselves, where their packages are installed (`make test-trainers`), given a run by a real follower."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from orchestrator.storage.run_folder import Status

ROOT = Path(__file__).parents[3]


def python(*arguments, **variables):
    """What another interpreter prints, in the folder of the project."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "TRACKIO"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=ROOT, env={**known, **variables}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def run(make_campaign):
    folder = make_campaign(seeds=(0,), arms=("grpo",))
    run = folder.run("grpo", 0)
    run.write_status(Status(status="done"))
    return run


def follow(run, name):
    """Give the run to a tracker as a campaign does, in a follower's process; the folder of the campaign."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed; `make test-trainers` has it")
    home = run.path.parents[2]
    python("-m", "orchestrator.tracking.following", str(home), str(run.path), name)
    assert json.loads((run.path / "also.json").read_text()) == {name: run.metrics_path.stat().st_size}
    return home


def follow_twice(run, name):
    """Give it, and once more with one record behind those that it had."""
    follow(run, name)
    with run.writer() as writer:
        writer.append(150, {"entropy": 0.5})
    return follow(run, name)


@pytest.mark.slow
def test_a_follower_is_light_and_would_not_be_by_the_loggers_of_lightning():
    loaded = "import sys, {}; print('torch' in sys.modules)"
    assert python("-c", loaded.format("orchestrator.tracking.following")) == "False\n"
    assert python("-c", loaded.format("lightning.pytorch.loggers")) == "True\n"


@pytest.mark.slow
def test_lightning_has_no_logger_for_trackio():
    import lightning.pytorch.loggers as loggers

    assert {"TensorBoardLogger", "WandbLogger"} <= set(loggers.__all__)
    assert not [name for name in loggers.__all__ if "trackio" in name.lower()]


@pytest.mark.slow
def test_tensorboard_has_every_number_at_its_time(run):
    home = follow(run, "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(home / "tensorboard" / "grpo" / "seed-0"), size_guidance={"tensors": 0})
    read.Reload()
    written = read.Tensors("entropy/mean")
    records = [record for record in run.records() if "entropy" in record.metrics]
    assert [event.step for event in written] == [record.step for record in records]
    assert [event.wall_time for event in written] == pytest.approx([record.time for record in records])


@pytest.mark.slow
def test_wandb_keeps_a_run_offline_and_goes_on_with_the_same_one(run):
    home = follow_twice(run, "wandb")
    kept = list(home.glob("wandb/offline-run-*/run-*.wandb"))
    assert len({path.name for path in kept}) == 1  # `wandb sync` makes one run of both
    assert all(b"entropy/mean" in path.read_bytes() for path in kept)


@pytest.mark.slow
def test_trackio_has_one_run_with_its_last_value_however_often_it_is_given(run):
    home = follow_twice(run, "trackio")

    def asked(*words):
        printed = python("-m", "trackio.cli", *words, "--json", TRACKIO_DIR=str(home / "trackio"))
        return json.loads(printed)

    assert asked("list", "runs", "--project", "quickstart")["runs"] == ["grpo seed-0"]
    values = asked(
        "get", "metric", "--project", "quickstart", "--run", "grpo seed-0", "--metric", "entropy/mean"
    )["values"]
    assert (values[-1]["step"], values[-1]["value"]) == (150, 0.5)
    assert len(values) == len([record for record in run.records() if "entropy" in record.metrics])
