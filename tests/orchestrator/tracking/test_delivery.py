"""What a delivery asks of MLflow and sends to it, seen by a client that only counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.storage.guardrail_files import Event, append_event
from orchestrator.storage.metrics_log import Record
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo, Status
from orchestrator.storage.samples import sample_path
from orchestrator.tracking.batches import batches, log_metrics
from orchestrator.tracking.delivery import Experiment, RunDelivery, complete_run
from orchestrator.tracking.keys import flat_params


class Client:
    """One run of MLflow that is there already, and how often each method was called."""

    def __init__(self):
        self.calls = Counter()
        self.artifacts = {}
        self.run = SimpleNamespace(
            info=SimpleNamespace(run_id="r", status="RUNNING"),
            inputs=None,
            data=SimpleNamespace(params={}, tags={}, to_proto=lambda: SimpleNamespace(metrics=[])),
        )

    def search_runs(self, *_, **__):
        return [self.run]

    def get_run(self, _):
        return self.run

    def list_artifacts(self, _):
        self.calls["list_artifacts"] += 1
        return [SimpleNamespace(path=name, file_size=size) for name, size in self.artifacts.items()]

    def log_artifact(self, _, path):
        self.calls["log_artifact"] += 1
        self.artifacts[Path(path).name] = Path(path).stat().st_size

    def __getattr__(self, name):
        return lambda *_, **__: self.calls.update([name])


@pytest.fixture
def folder(tmp_path):
    run = CampaignFolder(tmp_path / "c").run("a", 0)
    run.write_info(RunInfo(campaign="c", arm="a", seed=0, method="m", config={}))
    run.write_status(Status(status="running"))
    return run


EXPERIMENT = Experiment(
    experiment_id="1", parent_run_id="p", campaign=CampaignInfo(name="c"), artifacts=False
)


def test_what_guardrails_found_is_sent_when_there_is_more_of_it_and_asked_for_no_more_often(folder):
    client, delivery = Client(), RunDelivery(folder)
    delivery.forward(client, EXPERIMENT)
    assert client.calls["list_artifacts"] == 0  # nothing was found yet
    for number in (1, 2):
        event = Event(iteration=number, detector="collapse", reason="entropy fell")
        append_event(folder.events_path, event)
        for _ in range(3):
            delivery.forward(client, EXPERIMENT)
        assert (client.calls["list_artifacts"], client.calls["log_artifact"]) == (number, number)
    assert client.artifacts == {folder.events_path.name: folder.events_path.stat().st_size}


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ([], []),
        ([500, 500], [[500, 500]]),  # MLflow takes 1000 metrics at once
        ([500, 501], [[500], [501]]),
        ([999, 1, 1], [[999, 1], [1]]),
        ([1001, 3], [[1001], [3]]),  # a record is never cut
        ([400, 400, 400, 700], [[400, 400], [400], [700]]),
    ],
)
def test_a_batch_has_as_many_records_as_mlflow_takes(sizes, cut):
    records = [
        Record(step=step, kind="train", time=0.0, metrics={f"m{i}": 0.0 for i in range(size)})
        for step, size in enumerate(sizes)
    ]
    found = list(batches(records))
    assert [[len(record.metrics) for record in batch] for batch in found] == cut
    assert [record for batch in found for record in batch] == records


def test_many_metrics_of_a_model_are_cut_too():
    sizes = []
    client = SimpleNamespace(log_batch=lambda _, metrics: sizes.append(len(metrics)))
    log_metrics(client, "r", range(2001))
    assert sizes == [1000, 1000, 1]


def test_what_stands_beside_records_and_status_fails_alone_and_is_tried_again(folder):
    """A run whose artifact store, or whose server, takes nothing beside its records is over all the same."""
    folder.policy_path.mkdir(parents=True)
    folder.checkpoint_path.parent.mkdir()
    folder.checkpoint_path.write_bytes(b"checkpoint")
    folder.samples_path.mkdir()
    sample_path(folder.samples_path, 0).write_bytes(b"damaged")
    with folder.writer() as writer:
        writer.append(0, {"entropy": 1.0})
    folder.write_status(Status(status="done"))
    append_event(folder.events_path, Event(iteration=0, detector="collapse", reason="entropy fell"))
    client, delivery = Client(), RunDelivery(folder)
    ended = []
    client.set_terminated = lambda _, status, __: ended.append(status)

    def refuse(*_, **__):
        assert ended == ["FINISHED"]  # already
        raise ConnectionError("no such store")

    for name in ("get_run", "list_artifacts", "log_artifact", "search_logged_models"):
        setattr(client, name, refuse)
    everything = replace(EXPERIMENT, artifacts=True)
    for _ in range(2):
        lines = delivery.forward(client, everything)
        assert all(line.startswith("a seed-0: ") and "no such store" in line for line in lines)
        assert [line.split()[2].rstrip(":") for line in lines] == [
            "guardrails",
            "data",
            "samples",
            "artifacts",
            "model",
        ]
        assert "tracking.models: false leaves it out" in lines[-1]
    assert (ended, client.calls["log_batch"]) == (["FINISHED"], 2)  # settings and records, each once


def test_what_was_not_delivered_is_counted_from_the_first_step_on(folder):
    with folder.writer() as writer:
        writer.append(0, {"eval/pass_at_1": 0.5}, kind="eval")
        for step in range(3):
            writer.append(step, {"entropy": 1.0})
    delivery = RunDelivery(folder)
    assert delivery.num_undelivered() == 4
    delivery.forward(Client(), EXPERIMENT)
    assert delivery.num_undelivered() == 0


def test_the_configuration_arrives_in_its_own_order_and_once():
    client, texts = Client(), []
    client.log_text = lambda _, text, name: texts.append((name, text))
    complete_run(client, client.run, {"b": 1, "a": {"é": 2}})
    assert texts == [("config.yaml", "b: 1\na:\n  é: 2\n")]
    client.run.data.params |= flat_params({"b": 1, "a": {"é": 2}})
    complete_run(client, client.run, {"b": 1, "a": {"é": 2}})
    assert len(texts) == 1


def test_settings_that_were_sent_half_are_sent_again():
    client, sent = Client(), []
    client.log_text = lambda *_: sent.append("config.yaml")

    def refuse(*_, **__):
        raise ConnectionError("no such server")

    client.log_batch = refuse
    with pytest.raises(ConnectionError):
        complete_run(client, client.run, {"a": 1})
    client.log_batch = lambda _, params: sent.extend(param.key for param in params)
    complete_run(client, client.run, {"a": 1})
    assert sent == ["config.yaml", "config.yaml", "a"]
