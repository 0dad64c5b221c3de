"""Samples in MLflow: each file once, and a table of all at the end, however often a delivery is broken off."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.storage.samples import read_samples, sample_path, write_samples
from orchestrator.storage.sealed import write_sealed
from orchestrator.tracking.samples import TABLE, SampleDelivery, table_of
from orchestrator.tracking.store import open_client
from orchestrator.tracking.tracker import Tracker
from tests.orchestrator.storage.test_samples import sample
from tests.orchestrator.tracking.test_tracker import add_run, campaign, finish, mlflow_runs, train

__all__ = ["campaign"]

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
)
HOSTILE = "</script>\"'\u202e<b>x"


def artifacts(uri):
    client, run = open_client(uri), mlflow_runs(uri)["grpo seed-0"]
    return client, run, {item.path for item in client.list_artifacts(run.info.run_id, "samples")}


def names(*iterations):
    return {f"samples/iteration-{each:08d}.parquet" for each in iterations}


def test_samples_arrive_as_files_and_as_a_table_that_mlflow_shows(mlflow_uri, campaign, tmp_path):
    run = add_run(campaign)
    train(run, range(5))
    for iteration in (0, 4):
        kept = [sample(iteration=iteration, prompt=HOSTILE), sample(number=1, turns=["a", "b", "c"])]
        write_samples(run.samples_path, iteration, kept)
    assert Tracker(campaign, mlflow_uri).forward()
    client, found, there = artifacts(mlflow_uri)
    assert there == names(0, 4)
    copy = client.download_artifacts(found.info.run_id, "samples/iteration-00000004.parquet", str(tmp_path))
    assert read_samples(copy) == kept
    finish(run)
    for _ in range(2):
        assert Tracker(campaign, mlflow_uri).forward()
    client, found, there = artifacts(mlflow_uri)
    assert there == names(0, 4) | {TABLE}
    table = json.loads(Path(client.download_artifacts(found.info.run_id, TABLE, str(tmp_path))).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [(row["iteration"], row["response"]) for row in rows] == [
        (0, "3"),
        (3, "a\n\nb\n\nc"),
        (4, "3"),
        (3, "a\n\nb\n\nc"),
    ]
    assert rows[0]["prompt"] == HOSTILE
    assert rows[0]["entropy"] == 0.375
    assert json.loads(found.data.tags["mlflow.loggedArtifacts"]) == [{"path": TABLE, "type": "table"}]


def test_a_sample_that_may_be_taken_back_waits_as_its_record_does(mlflow_uri, campaign):
    run = add_run(campaign)
    train(run, range(5))
    write_sealed(run.confirmed_path, {"iteration": 2})
    for iteration in (0, 4):
        write_samples(run.samples_path, iteration, [sample()])
    tracker = Tracker(campaign, mlflow_uri)
    assert tracker.forward()
    assert artifacts(mlflow_uri)[2] == names(0)
    write_sealed(run.confirmed_path, {"iteration": 5})
    assert tracker.forward()
    assert artifacts(mlflow_uri)[2] == names(0, 4)


class Client:
    """The artifacts of one run; its server is gone after so many more."""

    def __init__(self, room):
        self.room, self.there, self.calls = room, {}, Counter()

    def _log(self, path):
        self.room -= 1
        if self.room < 0:
            raise ConnectionError
        assert path not in self.there
        self.there[path] = True

    def list_artifacts(self, _, folder):
        self.calls["list"] += 1
        return [SimpleNamespace(path=path) for path in self.there if path.startswith(folder)]

    def log_table(self, _, data, path):
        assert data["iteration"]
        self._log(path)

    def log_artifact(self, _, path, folder):
        self._log(f"{folder}/{path.rpartition('/')[2]}")


@pytest.mark.parametrize("room", range(3))
def test_a_delivery_that_is_broken_off_goes_on_where_it_was(tmp_path, room):
    for iteration in (0, 4):
        write_samples(tmp_path, iteration, [sample()])
    client = Client(room)
    with pytest.raises(ConnectionError):
        SampleDelivery(tmp_path).forward(client, "r", before=5, is_over=True)
    client.room = 99
    again = SampleDelivery(tmp_path)
    again.forward(client, "r", before=5, is_over=True)
    assert set(client.there) == names(0, 4) | {TABLE}
    again.forward(client, "r", before=5, is_over=True)
    assert client.calls["list"] == 2  # and nothing is asked for where there is nothing new


def test_a_run_without_samples_asks_mlflow_for_nothing(tmp_path):
    client = Client(0)
    SampleDelivery(tmp_path / "samples").forward(client, "r", before=10, is_over=True)
    assert not client.calls


def test_a_file_that_is_damaged_is_left_out_of_the_table(tmp_path):
    sample_path(tmp_path, 0).write_bytes(b"x")
    client = Client(9)
    SampleDelivery(tmp_path).forward(client, "r", before=1, is_over=True)
    assert set(client.there) == names(0)  # as it is; of nothing there is no table
    write_samples(tmp_path, 4, [sample()])
    SampleDelivery(tmp_path).forward(client, "r", before=5, is_over=True)
    assert set(client.there) == names(0, 4) | {TABLE}


def test_columns_of_a_table_are_as_long_as_there_are_samples():
    assert {len(column) for column in table_of([sample(), sample()]).values()} == {2}
