"""What MLflow gives back is what the run folders hold."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.errors import ConfigError
from orchestrator.storage.guardrail_files import Event, Rollback, append_event, write_rollbacks
from orchestrator.storage.run_data import load_campaign
from orchestrator.storage.run_folder import Status
from orchestrator.tracking.delivery import MAX_TAG_CHARACTERS
from orchestrator.tracking.keys import flat_params
from orchestrator.tracking.read import fetch_runs, sorted_runs
from orchestrator.tracking.read_run import nested_params
from orchestrator.tracking.store import open_client
from orchestrator.tracking.tracker import Tracker

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]


@pytest.fixture
def tracked(make_campaign, mlflow_uri):
    """A campaign of two arms and two seeds, in its folder and in MLflow."""
    folder = make_campaign(seeds=(0, 1), arms=("grpo", "entropic"))
    assert Tracker(folder, mlflow_uri).finish() == []
    return folder, mlflow_uri


def assert_same(fetched, stored):
    assert fetched.info == stored.info
    assert fetched.status.status == stored.status.status
    assert fetched.status.iteration == stored.status.iteration
    assert fetched.status.num_iterations == stored.status.num_iterations
    assert fetched.seconds == pytest.approx(stored.seconds, abs=0.01)
    for mine, theirs in ((fetched.train, stored.train), (fetched.evaluation, stored.evaluation)):
        assert mine.steps.tolist() == theirs.steps.tolist()
        assert mine.values.keys() == theirs.values.keys()
        for name in mine.values:
            np.testing.assert_array_equal(mine.values[name], theirs.values[name])


def test_runs_come_back_as_they_were_stored(tracked):
    folder, uri = tracked
    stored, fetched = load_campaign(folder).runs, fetch_runs(uri, campaign="quickstart")
    assert [run.name for run in fetched] == [run.name for run in stored]
    for mine, theirs in zip(fetched, stored, strict=True):
        assert_same(mine, theirs)


def test_a_run_of_an_earlier_version_comes_back_under_todays_names(tracked):
    _, uri = tracked
    client = open_client(uri)
    experiment = client.get_experiment_by_name("quickstart").experiment_id
    ids = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
    law = {"kind": "pid", "kp": 1.0, "ki": 0.1, "tracking": 0.25}
    client.log_dict(ids["grpo seed-0"], {"loops": {"entropy": {"law": law}}}, "config.yaml")
    (run,) = fetch_runs(uri, run_ids=[ids["grpo seed-0"]])
    assert run.info.config["loops"]["entropy"]["law"] == {
        "kind": "pid",
        "kp": 1.0,
        "ki": 0.1,
        "anti_windup": 0.25,
    }


def test_the_id_of_a_run_is_that_run_and_the_id_of_the_campaign_all_below(tracked):
    _, uri = tracked
    client = open_client(uri)
    experiment = client.get_experiment_by_name("quickstart").experiment_id
    ids = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
    (one,) = fetch_runs(uri, run_ids=[ids["entropic seed-1"]])
    assert one.name == "entropic seed 1"
    assert len(fetch_runs(uri, run_ids=[ids["quickstart"], ids["grpo seed-0"]])) == 4  # and none twice


def test_a_filter_selects_runs_over_all_experiments(tracked):
    _, uri = tracked
    runs = fetch_runs(uri, filter="tags.`entrostat.arm` = 'grpo' and metrics.`eval/pass_at_1` > 0.5")
    assert [run.name for run in runs] == ["grpo seed 0", "grpo seed 1"]


@pytest.mark.parametrize("entropy", ["entropy", "entropy/mea*"])
def test_only_the_metrics_asked_for_are_read(tracked, entropy):
    _, uri = tracked
    run = fetch_runs(uri, filter="tags.`entrostat.arm` = 'entropic'", metrics=[entropy, "loop/*/u"])[0]
    assert sorted(run.train.values) == ["entropy", "loop/entropy/u"]
    assert not run.evaluation.values


def test_without_artifacts_the_parameters_give_the_configuration(tracked):
    folder, uri = tracked
    shutil.rmtree(folder.path.parents[1] / "mlartifacts")
    stored = load_campaign(folder).runs[0]
    assert fetch_runs(uri, campaign="quickstart")[0].info.config == stored.info.config


def test_parameters_nest_again():
    config = {"a": {"b": [1, None], "c": {}}, "d": "text", "e": True}
    assert nested_params(flat_params(config)) == config


def test_a_failed_run_says_so_and_why(tracked):
    folder, uri = tracked
    status = Status(status="failed", reason="out of memory", iteration=150, num_iterations=150)
    folder.run("grpo", 0).write_status(status)
    Tracker(folder, uri).finish()
    failed, fine = fetch_runs(uri, campaign="quickstart")[:2]
    assert (failed.status.status, failed.status.reason) == ("failed", "out of memory")
    assert fine.status.reason is None


def test_what_guardrails_found_comes_back_with_what_came_of_it(tracked):
    folder, uri = tracked
    run = folder.run("entropic", 1)
    exploded = Event(
        iteration=30, detector="explosion", subject="entropy", action="rollback", reason="too high"
    )
    again = replace(exploded, iteration=40, attempt=1, action="stop", reason="too high again")
    append_event(run.events_path, exploded)
    tracker = Tracker(folder, uri)
    assert tracker.forward()  # the event is there before what comes of it
    limits = {"entropy": [0.0, 0.02]}
    rollbacks = [Rollback(iteration=30, to=20, detector="explosion", reason="too high", limits=limits)]
    write_rollbacks(run.rollbacks_path, rollbacks)
    assert tracker.forward()
    assert fetch_runs(uri, campaign="quickstart")[3].rollbacks == tuple(rollbacks)
    append_event(run.events_path, again)
    reason = "too high again; it was rolled back 1 times before"
    run.write_status(Status(status="stopped", reason=reason, iteration=40, num_iterations=150))
    tracker.finish()
    fetched, stored = fetch_runs(uri, campaign="quickstart"), load_campaign(folder).runs
    assert [each.events for each in fetched] == [each.events for each in stored]
    assert fetched[3].events == (exploded, again)
    assert fetched[3].rollbacks == stored[3].rollbacks == tuple(rollbacks)
    assert (fetched[3].status.status, fetched[3].status.reason) == ("stopped", reason)
    shutil.rmtree(folder.path.parents[1] / "mlartifacts")
    bare = fetch_runs(uri, campaign="quickstart")[3]
    assert (bare.status.status, bare.events) == ("stopped", ())


def test_an_artifact_by_another_hand_is_as_good_as_none(tracked):
    folder, uri = tracked
    append_event(folder.run("grpo", 0).events_path, Event(iteration=3, detector="truncation", reason="long"))
    Tracker(folder, uri).finish()
    assert len(fetch_runs(uri, campaign="quickstart")[0].events) == 1
    (artifact,) = folder.path.parents[1].glob("mlartifacts/**/guardrails.jsonl")
    artifact.write_text('{"what": "is this"}\n')
    assert fetch_runs(uri, campaign="quickstart")[0].events == ()


def test_what_guardrails_did_is_not_sent_again_by_another_command(tracked, monkeypatch):
    folder, uri = tracked
    append_event(folder.run("grpo", 0).events_path, Event(iteration=3, detector="truncation", reason="long"))
    Tracker(folder, uri).finish()
    monkeypatch.setattr("mlflow.MlflowClient.log_artifact", lambda *_: pytest.fail("sent again"))
    assert Tracker(folder, uri).finish() == []


def test_an_interrupted_run_is_not_taken_for_one_that_a_guardrail_stopped(tracked):
    folder, uri = tracked
    run = folder.run("grpo", 1)
    append_event(run.events_path, Event(iteration=3, detector="truncation", reason="truncation: a warning"))
    reason = "told to stop; it continues from iteration 100"
    run.write_status(Status(status="interrupted", reason=reason, iteration=100, num_iterations=150))
    Tracker(folder, uri).finish()
    status = fetch_runs(uri, campaign="quickstart")[1].status
    assert (status.status, status.reason) == ("interrupted", reason)


def test_more_findings_than_a_tag_holds_arrive_all_the_same(tracked):
    folder, uri = tracked
    run, tracker = folder.run("grpo", 0), Tracker(folder, uri)
    long = Event(iteration=3, detector="truncation", reason="x" * MAX_TAG_CHARACTERS)
    append_event(run.events_path, long)
    assert tracker.forward()
    append_event(run.events_path, replace(long, iteration=9))
    assert tracker.finish() == []
    assert [event.iteration for event in fetch_runs(uri, campaign="quickstart")[0].events] == [3, 9]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"campaign": "quickstrat"}, "no runs of a campaign 'quickstrat'; did you mean 'quickstart'"),
        ({"run_ids": ["f" * 32]}, "no run with id 'ffff"),
        ({"filter": "tags.`entrostat.arm` = 'nobody'"}, "matches no run in .*mlflow.db; write it as in"),
        ({"filter": "attributes.run_name = 'quickstart'"}, r"\(1 that match are not training runs"),
        ({"filter": "arm is grpo"}, "filter 'arm is grpo': Invalid"),
    ],
)
def test_what_names_no_run_is_said_in_one_line(tracked, wanted, message):
    with pytest.raises(ConfigError, match=message) as caught:
        fetch_runs(tracked[1], **wanted)
    assert "\n" not in str(caught.value)


def test_reading_makes_no_database(tmp_path):
    with pytest.raises(ConfigError, match="there is no such database"):
        fetch_runs(f"sqlite:///{tmp_path}/mlflow.db", campaign="x")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match="does not answer"):
        fetch_runs("http://127.0.0.1:9", campaign="x")


def test_arms_keep_their_order_and_seeds_rise(make_campaign):
    runs = load_campaign(make_campaign(seeds=(0, 1), arms=("grpo", "aer"))).runs
    mixed = [runs[3], runs[0], runs[2], runs[1]]
    assert [run.name for run in sorted_runs(mixed)] == [
        "aer seed 0",
        "aer seed 1",
        "grpo seed 0",
        "grpo seed 1",
    ]


def test_a_run_that_is_delivered_late_did_not_end_before_it_began(tracked):
    folder, uri = tracked
    first = folder.run("grpo", 0).records()[0]
    client = open_client(uri)
    experiment = client.get_experiment_by_name("quickstart").experiment_id
    run = client.search_runs([experiment], "attributes.run_name = 'grpo seed-0'")[0]
    assert run.info.start_time == int(1000 * first.time)
    assert run.info.start_time <= run.info.end_time
    assert run.data.tags["mlflow.user"]
