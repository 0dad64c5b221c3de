"""Groups of runs in MLflow: made once, brought up to date, parents of their runs."""

from __future__ import annotations

import shutil

import pytest

from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo, Status
from orchestrator.tracking.groups import Group, read_group, write_group
from orchestrator.tracking.store import open_client
from orchestrator.tracking.tracker import Tracker


@pytest.fixture
def study(tmp_path, empty_database):
    """A folder with a group of two runs, the database, and a client of it."""
    folder = CampaignFolder(tmp_path / "runs" / "gains")
    folder.write_info(CampaignInfo(name="gains"))
    for seed in (0, 1):
        run = folder.run("trial-0000", seed)
        run.write_info(RunInfo(campaign="gains", arm="trial-0000", seed=seed, method="custom"))
        with run.writer() as writer:
            writer.append(0, {"entropy": 1.0})
        run.write_status(Status(status="done"))
    group = Group(name="trial 0", tags={"optuna.trial": "0"}, params={"a.kp": 1.5}, state="running")
    write_group(folder.path / "trial-0000", group)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    return folder, uri, open_client(uri)


def by_name(client):
    experiment = client.get_experiment_by_name("gains")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def parent(run):
    return run.data.tags.get("mlflow.parentRunId")


def test_runs_are_below_their_group_and_that_below_the_study(study):
    folder, uri, client = study
    Tracker(folder, uri).forward()
    runs = by_name(client)
    assert set(runs) == {"gains", "trial 0", "trial-0000 seed-0", "trial-0000 seed-1"}
    assert parent(runs["trial 0"]) == runs["gains"].info.run_id
    assert {parent(runs[f"trial-0000 seed-{seed}"]) for seed in (0, 1)} == {runs["trial 0"].info.run_id}
    assert runs["trial 0"].data.params == {"a.kp": "1.5"}
    assert runs["trial 0"].data.tags["optuna.trial"] == "0"
    assert runs["trial 0"].data.tags["entrostat.campaign"] == "gains"
    assert runs["trial 0"].info.status == "RUNNING"


def test_runs_of_a_group_that_came_since_the_pass_began_are_below_it_too(study, monkeypatch):
    folder, uri, client = study
    monkeypatch.setattr("orchestrator.tracking.tracker.groups", lambda campaign: [])
    Tracker(folder, uri).forward()
    runs = by_name(client)
    assert {parent(runs[f"trial-0000 seed-{seed}"]) for seed in (0, 1)} == {runs["trial 0"].info.run_id}


def test_how_it_ended_is_brought_up_to_date_by_whoever_comes_next(study):
    folder, uri, client = study
    first = Tracker(folder, uri)
    run_id = first.deliver_group(folder.path / "trial-0000")
    group = read_group(folder.path / "trial-0000")
    ended = Group(
        name="trial 4",
        tags={**group.tags, "optuna.trial": "4"},
        params=group.params,
        metrics={"objective/iae": 2.0},
        state="done",
    )
    write_group(folder.path / "trial-0000", ended)
    first.forward()
    assert Tracker(folder, uri).deliver_group(folder.path / "trial-0000") == run_id  # another process
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("trial 4", "FINISHED")
    assert run.data.metrics == {"objective/iae": 2.0}
    assert run.data.tags["optuna.trial"] == "4"
    assert len(client.get_metric_history(run_id, "objective/iae")) == 1


def test_a_server_that_does_not_answer_gives_no_id_and_no_error(study):
    folder, _, _ = study
    said = []
    tracker = Tracker(folder, "http://127.0.0.1:9", warn=said.append)
    assert tracker.deliver_group(folder.path / "trial-0000") is None
    assert len(said) == 1


def test_the_study_ends_as_it_is_told(study):
    folder, uri, client = study
    folder.run("trial-0000", 1).write_status(Status(status="interrupted", reason="pruned"))
    assert Tracker(folder, uri, artifacts=False).finish("done") == []
    assert by_name(client)["gains"].info.status == "FINISHED"
    assert Tracker(folder, uri, artifacts=False).finish() == []
    assert by_name(client)["gains"].info.status == "KILLED"
