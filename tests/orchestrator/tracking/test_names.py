"""Whatever a metric, parameter or tag is called, MLflow takes it, and two of them stay two."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

from orchestrator.storage.run_folder import RunInfo, Status
from orchestrator.tracking.delivery import clean_key, flat_params
from orchestrator.tracking.read import fetch_runs
from orchestrator.tracking.read_run import nested_params
from orchestrator.tracking.tracker import Tracker

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]

HOSTILE = [
    "a//c",
    "../x",
    "tail/",
    "/head",
    ".",
    "..",
    "a/./b",
    "a@b",
    "a_b",
    "a:40:b",
    "x&y",
    "été",
    "x\ny",
    " ",
    "/",
]
HARD = st.text(alphabet=st.sampled_from("a./:@_ -é\n"), max_size=300) | st.text(max_size=300)


@given(HARD)
@settings(deadline=None)
def test_mlflow_takes_every_name(domain):
    for name in (f"entropy/domain/{domain}", f"eval/domain/{domain}/pass_at_1", f"loss/bonus@{domain}"):
        key = clean_key(name)
        assert len(key) <= 250
        for validate in (_validate_metric_name, _validate_param_name, _validate_tag_name):
            validate(key)


def test_names_that_are_too_long_stay_apart():
    one, other = "x" * 400 + "a", "x" * 400 + "b"
    assert clean_key(one)[:200] == "x" * 200
    assert clean_key(one) != clean_key(other)


def test_parameters_with_hostile_keys_nest_again():
    config = {"resources": {name.replace(".", "") or "-": 1.0 for name in HOSTILE}, "a@b": 1, "a_b": 2}
    flat = flat_params(config)
    assert len(flat) == len(config["resources"]) + 2
    assert nested_params(flat) == config


def test_records_of_hostile_domains_arrive_and_come_back_as_they_were(make_campaign, mlflow_uri):
    campaign = make_campaign(seeds=(0,), arms=("grpo",))
    run = campaign.run("hostile", 0)
    run.write_info(RunInfo(campaign="quickstart", arm="hostile", seed=0, method="grpo", config={}))
    measured = {f"entropy/domain/{name}": float(place) for place, name in enumerate(HOSTILE)}
    evaluation = {f"eval/domain/{name}/pass_at_1": float(place) for place, name in enumerate(HOSTILE)}
    with run.writer() as writer:
        writer.append(0, evaluation, kind="eval")
        writer.append(0, measured)
    run.write_status(Status(status="done", iteration=1, num_iterations=1))
    assert Tracker(campaign, mlflow_uri, artifacts=False).finish() == []
    (back,) = fetch_runs(mlflow_uri, filter="tags.`entrostat.arm` = 'hostile'")
    assert {name: values[0] for name, values in back.train.values.items()} == measured
    assert {name: values[0] for name, values in back.evaluation.values.items()} == evaluation
    assert json.loads((run.path / "metrics.jsonl").read_text().splitlines()[0])["metrics"] == evaluation
