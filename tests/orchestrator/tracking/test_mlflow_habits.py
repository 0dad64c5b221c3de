"""What users of MLflow look for: parameters to group by, data sets, final numbers of arms, families of metrics."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import mlflow
import pytest
import torch
from mlflow.exceptions import MlflowException
from safetensors.torch import load_file

from orchestrator.comparison.comparison import compare
from orchestrator.comparison.export import chosen_names
from orchestrator.comparison.final_numbers import final_numbers
from orchestrator.storage.run_data import load_campaign
from orchestrator.storage.run_folder import Status
from orchestrator.tracking.datasets import log_datasets
from orchestrator.tracking.read import fetch_runs
from orchestrator.tracking.store import open_client, ui_hint
from orchestrator.tracking.tracker import Tracker
from policies.model.loading import LoadedPolicy
from policies.model.tiny import TinyModel, character_tokenizer, tiny_model

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]


def runs_of(uri, name="quickstart"):
    client = open_client(uri)
    experiment = client.get_experiment_by_name(name)
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def deliver(folder, uri, **how):
    assert Tracker(folder, uri, artifacts=False).finish(**how) == []


@pytest.fixture
def folder(make_campaign):
    return make_campaign(seeds=(0, 1), arms=("grpo", "entropic"))


def test_a_run_has_its_arm_seed_and_method_as_parameters_beside_its_settings(folder, mlflow_uri):
    deliver(folder, mlflow_uri)
    params = runs_of(mlflow_uri)["entropic seed-1"].data.params
    assert (params["arm"], params["seed"], params["method"]) == ("entropic", "1", "entropic")
    assert params["learner.iterations"] == "150"


def test_a_configuration_that_is_read_from_parameters_has_no_key_more(folder, mlflow_uri, tmp_path):
    deliver(folder, mlflow_uri)
    shutil.rmtree(tmp_path / "mlartifacts")  # config.yaml among them
    fetched = fetch_runs(mlflow_uri, campaign="quickstart")[0].info
    assert fetched.config == load_campaign(folder).runs[0].info.config


def test_a_tracked_campaign_opens_on_its_runs(folder, mlflow_uri):
    tracker = Tracker(folder, mlflow_uri, artifacts=False)
    assert tracker.experiment_id is None
    tracker.finish()
    experiment = open_client(mlflow_uri).get_experiment_by_name("quickstart")
    assert tracker.experiment_id == experiment.experiment_id
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    page = f"/#/experiments/{experiment.experiment_id}/runs"
    assert ui_hint(mlflow_uri, tracker.experiment_id).endswith(f"open http://127.0.0.1:5000{page}")
    assert ui_hint("https://m.example/", tracker.experiment_id) == f"https://m.example{page}"


def test_an_experiment_that_an_earlier_version_made_gets_its_kind(folder, mlflow_uri):
    client = open_client(mlflow_uri)
    made = client.create_experiment("quickstart", artifact_location=(folder.path / "a").as_uri())
    deliver(folder, mlflow_uri)
    assert client.get_experiment(made).tags["mlflow.experimentKind"] == "custom_model_development"


def test_the_final_numbers_of_every_arm_are_on_the_parent_run_once(folder, mlflow_uri):
    arms = load_campaign(folder).arms
    final = final_numbers(arms)
    deliver(folder, mlflow_uri, final=final)
    deliver(folder, mlflow_uri, final=final)
    parent = runs_of(mlflow_uri)["quickstart"]
    ends = [run.evaluation.get("eval/pass_at_8")[-1] for run in arms[1].runs]
    assert parent.data.metrics["final/eval/pass_at_8/entropic"] == pytest.approx(sum(ends) / 2)
    assert {name for name in parent.data.metrics if name.startswith("final/entropy/mean/")} == {
        "final/entropy/mean/grpo",
        "final/entropy/mean/entropic",
    }
    client = open_client(mlflow_uri)
    assert len(client.get_metric_history(parent.info.run_id, "final/eval/pass_at_8/entropic")) == 1


def test_an_arm_without_a_run_that_has_ended_has_no_final_number(folder):
    for run in folder.runs():
        if run.read_info().arm == "grpo":
            run.write_status(Status(status="failed"))
    final = final_numbers(load_campaign(folder).arms)
    assert final["entropy"].keys() == final["eval/pass_at_1"].keys() == {"entropic"}


def test_a_metric_that_an_earlier_version_sent_under_its_short_name_is_read_as_one(folder, mlflow_uri):
    deliver(folder, mlflow_uri)
    client = open_client(mlflow_uri)
    run = runs_of(mlflow_uri)["grpo seed-0"]
    assert "entropy" not in run.data.metrics
    client.log_metric(run.info.run_id, "entropy", 0.125, step=150)
    fetched = next(
        each for each in fetch_runs(mlflow_uri, campaign="quickstart") if each.name == "grpo seed 0"
    )
    stored = load_campaign(folder).runs[0].train.get("entropy")
    assert fetched.train.get("entropy").tolist() == [*stored.tolist(), 0.125]


def test_compare_takes_the_name_that_mlflow_shows(folder):
    campaign = load_campaign(folder)
    assert compare(campaign, metric="entropy/mean").metric == "entropy"
    assert chosen_names(campaign, ["update/grad_norm", "entropy/mean"]) == ["entropy", "grad_norm"]


def with_task(folder, task, inputs=None, seed=0):
    run = folder.run("grpo", seed)
    info = run.read_info()
    run.write_info(replace(info, config={**info.config, "task": task}, inputs=inputs))


def datasets_of(run):
    return [each.dataset for each in run.inputs.dataset_inputs]


def test_a_file_of_problems_is_a_data_set_with_its_digest(folder, mlflow_uri):
    inputs = {
        "task.path: data/train (1).jsonl": {"digest": f"sha256:{'ab' * 32}", "bytes": 512, "modified": 1.0},
        "task.reward (reward.py)": {"digest": f"sha256:{'cd' * 32}", "bytes": 9, "modified": 1.0},
        "policy.source: model/x": {"digest": f"sha256:{'ef' * 32}", "bytes": 9, "modified": 1.0},
    }
    with_task(folder, {"kind": "jsonl", "path": "data/train (1).jsonl"}, inputs)
    deliver(folder, mlflow_uri)
    deliver(folder, mlflow_uri)
    run = runs_of(mlflow_uri)["grpo seed-0"]
    (dataset,) = datasets_of(run)
    assert (dataset.name, dataset.digest) == ("data/train (1).jsonl", "ab" * 18)
    assert json.loads(dataset.source)["setting"] == "task.path: data/train (1).jsonl"
    (tag,) = run.inputs.dataset_inputs[0].tags
    assert (tag.key, tag.value) == ("mlflow.data.context", "training")


@pytest.mark.parametrize("has_files", [True, False])
def test_a_data_set_has_no_credential(folder, has_files):
    """Folders of an earlier version may hold some; the client sees what would be sent."""
    place = "https://user:hush hush/1@host/a.jsonl"
    task = {"kind": "jsonl", "path": place, "by_place": {place: 1}}
    info = replace(
        folder.run("grpo", 0).read_info(),
        config={"task": task},
        inputs={f"task.path: {place}": {"digest": f"sha256:{'ab' * 32}"}} if has_files else {},
    )
    sent = []
    client = SimpleNamespace(log_inputs=lambda _, inputs: sent.extend(each.dataset for each in inputs))
    log_datasets(client, SimpleNamespace(inputs=None, info=SimpleNamespace(run_id="r")), info)
    (dataset,) = sent
    assert "https://***@host/a.jsonl" in dataset.source
    assert "hush" not in f"{dataset.name} {dataset.source}"


def test_a_server_without_logged_models_keeps_no_run_and_no_campaign_open(folder, policy, mlflow_uri):
    def refuse(*_, **__):
        raise MlflowException("404: no such endpoint")

    tracker = Tracker(folder, mlflow_uri, artifacts=False)
    tracker._client = open_client(mlflow_uri)
    tracker._client.search_logged_models = refuse
    line, _ = tracker.finish()
    assert "grpo seed-0: model" in line
    assert "404: no such endpoint" in line
    assert {run.info.status for run in runs_of(mlflow_uri).values()} == {"FINISHED"}
    assert Tracker(folder, mlflow_uri, artifacts=False).finish() == []  # a server that has them
    assert "entrostat.model" in runs_of(mlflow_uri)["grpo seed-0"].data.tags


def test_a_task_that_makes_its_problems_is_a_data_set_of_its_settings(folder, mlflow_uri):
    tasks = [{"kind": "arithmetic", "num_digits": digits} for digits in (2, 3)]
    for seed, task in enumerate(tasks):
        with_task(folder, task, seed=seed)
    deliver(folder, mlflow_uri)
    runs = runs_of(mlflow_uri)
    found = [each for seed in (0, 1) for each in datasets_of(runs[f"grpo seed-{seed}"])]
    assert [json.loads(each.source) for each in found] == tasks
    assert [each.name for each in found] == ["arithmetic"] * 2
    assert found[0].digest != found[1].digest


def test_the_load_of_the_machine_is_on_the_parent_run_where_it_is_asked_for(folder, mlflow_uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    tracker = Tracker(folder, mlflow_uri, artifacts=False, system_metrics=True, interval_seconds=0.05)
    tracker.start()
    client, deadline = open_client(mlflow_uri), time.monotonic() + 60
    while tracker.experiment_id is None or not is_watched(mlflow_uri):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert tracker.finish() == []
    runs = runs_of(mlflow_uri)
    assert {name for name, run in runs.items() if is_load(run)} == {"quickstart"}
    assert client.get_run(runs["quickstart"].info.run_id).info.status == "FINISHED"


def is_load(run):
    return any(name.startswith("system/") for name in run.data.metrics)


def is_watched(uri):
    return is_load(runs_of(uri)["quickstart"])


@pytest.fixture
def policy(folder, tmp_path):
    """The folder of a policy that a run has kept: a tiny one, untrained."""
    run = folder.run("grpo", 0)
    tokenizer = character_tokenizer("0123456789+=", 64)
    torch.manual_seed(0)
    LoadedPolicy(tiny_model(TinyModel(max_tokens=64), tokenizer, 0), tokenizer).save(run.policy_path)
    return run.policy_path


def test_a_policy_is_a_model_that_refers_to_its_folder_and_can_be_loaded(
    folder, policy, mlflow_uri, tmp_path
):
    deliver(folder, mlflow_uri)
    deliver(folder, mlflow_uri)
    client, run = open_client(mlflow_uri), runs_of(mlflow_uri)["grpo seed-0"]
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert (model.name, str(model.status), model.source_run_id) == ("grpo-seed-0", "READY", run.info.run_id)
    assert run.data.tags["entrostat.model"] == model.model_id
    assert {metric.key: metric.value for metric in model.metrics}["eval/pass_at_1"] == pytest.approx(
        run.data.metrics["eval/pass_at_1"]
    )
    last = [m for m in client.get_metric_history(run.info.run_id, "eval/pass_at_1") if m.step == 150]
    assert len(last) == 1  # the model's number is the run's, not another
    copied = [file for file in (tmp_path / "mlartifacts").rglob("*") if file.suffix == ".safetensors"]
    assert not copied
    mlflow.set_tracking_uri(mlflow_uri)
    loaded = mlflow.transformers.load_model(f"models:/{model.model_id}", return_type="components")
    kept = load_file(policy / "model.safetensors")
    weights = loaded["model"].state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in kept.items())
    assert loaded["tokenizer"]("1+2=")["input_ids"]


def test_trials_have_no_models(folder, policy, mlflow_uri):
    Tracker(folder, mlflow_uri, artifacts=False, models=False).finish()
    run = runs_of(mlflow_uri)["grpo seed-0"]
    assert open_client(mlflow_uri).search_logged_models([run.info.experiment_id]) == []
