"""Trackers beside MLflow, seen by stand-ins of their packages, and by the packages themselves where they are."""

from __future__ import annotations

import json
import sys

import pytest

from orchestrator.commands.run import check_tracking
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.storage.run_folder import Status
from orchestrator.tracking import others
from orchestrator.tracking.others import write_others
from tests.orchestrator.tracking.conftest import Run


@pytest.fixture
def folder(make_campaign):
    return make_campaign(seeds=(0,), arms=("grpo", "entropic"))


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_every_number_of_a_run_that_has_ended_arrives_once(folder, told, name):
    folder.run("entropic", 0).write_status(Status(status="interrupted"))
    assert write_others(folder, [name]) == write_others(folder, [name]) == []
    (run,) = told[name]
    assert run.is_finished
    points = [(step, key, value) for step, row in run.rows for key, value in row.items()]
    records = folder.run("grpo", 0).records()
    assert len(points) == sum(len(record.metrics) for record in records)
    assert (149, "entropy/mean", records[-2].metrics["entropy"]) in points
    assert [step for step, _ in run.rows] == sorted(step for step, _ in run.rows)


def test_wandb_is_offline_unless_its_variable_says_otherwise(folder, told, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    write_others(folder, ["wandb"])
    settings = told["wandb"][0].settings
    assert (settings["mode"], settings["project"], settings["group"]) == ("offline", "quickstart", "grpo")
    assert settings["config"]["method"] == "grpo"
    assert len({run.settings["id"] for run in told["wandb"]}) == 2
    monkeypatch.setenv("WANDB_MODE", "online")
    with others.WRITERS["wandb"](folder.path, folder.run("grpo", 0).read_info()):
        pass
    assert told["wandb"][-1].settings["mode"] == "online"


def test_a_run_that_was_continued_is_written_again(folder, told):
    write_others(folder, ["tensorboard"])
    with folder.run("grpo", 0).writer() as writer:
        writer.append(150, {"entropy": 0.5})
    write_others(folder, ["tensorboard"])
    assert [run.settings["folder"].split("/")[-2] for run in told["tensorboard"]] == [
        "grpo",
        "entropic",
        "grpo",
    ]


def test_a_tracker_that_fails_costs_nothing_but_its_own_entry(folder, told, monkeypatch):
    def fail(**_):
        raise RuntimeError("no disk\nat all")

    monkeypatch.setattr(sys.modules["wandb"], "init", fail)
    lines = write_others(folder, ["wandb", "trackio"])
    assert len(lines) == 2
    assert all(line.startswith("wandb: ") and "no disk at all" in line for line in lines)
    assert len(told["trackio"]) == 2
    assert json.loads((folder.run("grpo", 0).path / "also.json").read_text()).keys() == {"trackio"}


def test_a_run_of_trackio_that_was_broken_off_is_there_once(folder, told, monkeypatch):
    def break_off(run, row, step):
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", break_off)
        assert len(write_others(folder, ["trackio"])) == 2
    assert len(told["trackio"]) == 2
    assert write_others(folder, ["trackio"]) == []
    assert [run.settings["name"] for run in told["trackio"]] == ["grpo seed-0", "entropic seed-0"]
    assert all(run.is_finished for run in told["trackio"])


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_state_is_as_none_and_a_run_without_records_is_a_line(folder, told, content):
    (folder.run("grpo", 0).path / "also.json").write_text(content)
    folder.run("entropic", 0).metrics_path.unlink()
    (line,) = write_others(folder, ["wandb"])
    assert "entropic/seed-0: not written" in line
    assert [run.settings["group"] for run in told["wandb"]] == ["grpo"]
    assert json.loads((folder.run("grpo", 0).path / "also.json").read_text()).keys() == {"wandb"}


def test_a_tracker_that_is_not_installed_is_refused_before_training(write_campaign, monkeypatch):
    campaign = read_campaign(write_campaign({"tracking.also": ["wandb"]}))
    monkeypatch.setattr(others, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"tracking.also: 'wandb' needs the package wandb; pip install wandb"
    ):
        check_tracking(campaign)


def test_tensorboard_itself_reads_what_was_written(folder):
    pytest.importorskip("tensorboard", reason="needs tensorboard, which is no dependency")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert write_others(folder, ["tensorboard"]) == []
    read = EventAccumulator(str(folder.path / "tensorboard" / "grpo" / "seed-0"))
    read.Reload()
    assert "entropy/mean" in read.Tags()["tensors"] + read.Tags()["scalars"]
