"""Delivery to MLflow: every (metric, step) once and only once, whatever is killed and whenever."""

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter

import pytest

from orchestrator.storage.guardrail_files import Event, append_event
from orchestrator.storage.metric_names import family_name
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo, Status, write_json
from orchestrator.tracking import store
from orchestrator.tracking.batches import batches
from orchestrator.tracking.delivery import renew_key
from orchestrator.tracking.keys import clean_key, flat_params
from orchestrator.tracking.read import fetch_runs
from orchestrator.tracking.store import check, open_client
from orchestrator.tracking.tracker import Tracker

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]

CONFIG = {"learner": {"lr": 0.001, "clip": None}, "arms": {"grpo": {"method": "grpo"}}, "note": "ünïcode ✓"}


@pytest.fixture
def uri(mlflow_uri):
    return mlflow_uri


@pytest.fixture
def campaign(tmp_path):
    folder = CampaignFolder(tmp_path / "quickstart")
    folder.write_info(
        CampaignInfo(
            name="quickstart",
            description="a test",
            config=CONFIG,
            versions={"torch": "2.13.0"},
            git_commit="abc123",
        )
    )
    return folder


def add_run(campaign, arm="grpo", seed=0, method="grpo"):
    run = campaign.run(arm, seed)
    run.write_info(RunInfo(campaign="quickstart", arm=arm, seed=seed, method=method, config=CONFIG))
    run.write_status(Status(status="running"))
    return run


def train(run, iterations):
    """Append what these iterations measure, with an evaluation before each tenth."""
    with run.writer() as writer:
        for step in iterations:
            if step % 10 == 0 and not writer.has(step, "eval"):
                writer.append(step, {"eval/pass_at_1": step / 1000}, kind="eval")
            writer.append(step, {"entropy": 1 / (1 + step), "loop/main/u": step * 0.1, "reward": 0.5})


def finish(run, status="done"):
    run.write_status(Status(status=status, iteration=30, num_iterations=30))


def mlflow_runs(uri, name="quickstart"):
    client = open_client(uri)
    experiment = client.get_experiment_by_name(name)
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def history(uri, run_name, key):
    client = open_client(uri)
    run_id = mlflow_runs(uri)[run_name].info.run_id
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, key)]


def assert_every_point_once(uri, folder, run_name):
    """MLflow has exactly the points of the folder."""
    expected = Counter((family_name(name), rec.step) for rec in folder.records() for name in rec.metrics)
    for key in {name for name, _ in expected}:
        steps = Counter((key, step) for step, _ in history(uri, run_name, key))
        assert steps == {point: 1 for point in expected if point[0] == key}


def test_a_campaign_arrives_with_its_tree_params_tags_and_metrics(uri, campaign):
    run = add_run(campaign, method="dapo")
    train(run, range(30))
    finish(run)
    run.checkpoint_path.parent.mkdir()
    run.checkpoint_path.write_bytes(b"checkpoint")
    run.policy_path.mkdir()
    (run.policy_path / "config.json").write_text("{}")
    campaign.report_path.parent.mkdir()
    campaign.report_path.write_text("<html>")
    assert Tracker(campaign, uri).finish() == []

    runs = mlflow_runs(uri)
    parent, child = runs["quickstart"], runs["grpo seed-0"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["entrostat.arm"] == "grpo"
    assert child.data.tags["entrostat.seed"] == "0"
    assert child.data.tags["entrostat.method"] == "dapo"
    assert child.data.tags["mlflow.source.git.commit"] == "abc123"
    assert child.data.tags["entrostat.version.torch"] == "2.13.0"
    assert child.data.params["learner.lr"] == "0.001"
    assert child.data.params["note"] == "ünïcode ✓"
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert history(uri, "grpo seed-0", "entropy/mean") == [(t, 1 / (1 + t)) for t in range(30)]
    assert_every_point_once(uri, run, "grpo seed-0")
    client = open_client(uri)
    names = {item.path for item in client.list_artifacts(child.info.run_id)}
    assert names == {"config.yaml", "checkpoints", "policy"}
    assert [item.path for item in client.list_artifacts(parent.info.run_id, "report")] == [
        "report/index.html"
    ]


def test_artifacts_stand_beside_the_database_not_in_the_working_folder(uri, campaign, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    add_run(campaign)
    Tracker(campaign, uri).finish()
    assert list(elsewhere.iterdir()) == []
    assert (tmp_path / "mlartifacts" / "quickstart").is_dir()


def test_a_resumed_run_repeats_no_point_although_it_repeats_iterations(uri, campaign):
    run = add_run(campaign)
    train(run, range(25))
    Tracker(campaign, uri).forward()
    run.truncate(12)  # SIGKILL after iteration 24; the last checkpoint is of 12
    train(run, range(12, 18))
    tracker = Tracker(campaign, uri)  # a new process that knows nothing of the first
    tracker.forward()
    train(run, range(18, 30))
    tracker.forward()
    assert_every_point_once(uri, run, "grpo seed-0")


def test_a_truncation_under_a_living_tracker_repeats_no_point(uri, campaign):
    run = add_run(campaign)
    tracker = Tracker(campaign, uri)
    train(run, range(25))
    tracker.forward()
    run.truncate(10)
    train(run, range(10, 40))
    tracker.forward()
    assert_every_point_once(uri, run, "grpo seed-0")


def test_what_a_guardrail_may_take_back_waits_and_what_it_found_is_a_tag(uri, campaign):
    run = add_run(campaign)
    write_json(run.confirmed_path, {"iteration": 10})
    train(run, range(17))
    tracker = Tracker(campaign, uri)
    assert tracker.forward()
    assert [step for step, _ in history(uri, "grpo seed-0", "entropy/mean")] == list(range(10))
    assert [step for step, _ in history(uri, "grpo seed-0", "eval/pass_at_1")] == [0, 10]

    run.truncate(10)  # rolled back, and other values from there on
    append_event(run.events_path, Event(iteration=16, detector="explosion", reason="too much", action="stop"))
    with run.writer() as writer:
        for step in range(10, 20):
            writer.append(step, {"entropy": 0.5})
    assert tracker.forward()
    assert len(history(uri, "grpo seed-0", "entropy/mean")) == 10
    run.write_status(Status(status="stopped", reason="too much"))
    assert tracker.finish() == []
    assert history(uri, "grpo seed-0", "entropy/mean")[10:] == [(step, 0.5) for step in range(10, 20)]
    assert_every_point_once(uri, run, "grpo seed-0")
    child = mlflow_runs(uri)["grpo seed-0"]
    assert child.info.status == "KILLED"
    assert child.data.tags["entrostat.reason"] == "too much"
    assert child.data.tags["entrostat.guardrails"] == "iteration 16: too much (stop)"
    names = {item.path for item in open_client(uri).list_artifacts(child.info.run_id)}
    assert "guardrails.jsonl" in names
    assert mlflow_runs(uri)["quickstart"].info.status == "FINISHED"


def test_what_a_law_says_of_itself_is_a_tag_of_the_run_while_it_trains(uri, campaign):
    run = add_run(campaign)
    train(run, range(20))
    append_event(
        run.events_path,
        Event(iteration=19, detector="noise", subject="entropy", reason="noise: 3 times as many"),
    )
    assert Tracker(campaign, uri).forward()
    (child,) = [found for name, found in mlflow_runs(uri).items() if name == "grpo seed-0"]
    assert child.data.tags["entrostat.guardrails"] == "iteration 19: noise: 3 times as many (warn)"


class Outage:
    """A client whose `log_batch` fails on chosen calls, before or after the server has stored it."""

    def __init__(self, client, failing_calls, stored):
        self._client, self._failing, self._stored, self._calls = client, failing_calls, stored, 0

    def __getattr__(self, name):
        return getattr(self._client, name)

    def log_batch(self, run_id, metrics=(), params=()):
        self._calls += bool(metrics)
        fails = bool(metrics) and self._calls in self._failing
        if not fails or self._stored:
            self._client.log_batch(run_id, metrics=metrics, params=params)
        if fails:
            raise ConnectionError("timed out")


@pytest.mark.parametrize("stored", [True, False])
def test_a_batch_whose_answer_was_lost_is_sent_once(uri, campaign, stored):
    run = add_run(campaign)
    warnings = []
    tracker = Tracker(campaign, uri, warn=warnings.append)
    tracker._client = Outage(open_client(uri), {2, 3}, stored)
    train(run, range(10))
    assert tracker.forward()
    for end in (20, 30, 40):
        run.truncate(end - 15)  # and resume at the same time: the hardest case
        train(run, range(end - 15, end))
        tracker.forward()
    tracker.forward()
    assert_every_point_once(uri, run, "grpo seed-0")
    assert len(warnings) == 2
    assert "timed out. Training goes on; the metrics stay in" in warnings[0]
    assert "answers again" in warnings[1]


def test_what_a_dead_server_did_not_get_is_said_and_sent_by_the_next_command(uri, campaign):
    run = add_run(campaign)
    tracker = Tracker(campaign, uri, warn=lambda _: None)
    tracker._client = Outage(open_client(uri), set(range(2, 99)), stored=False)
    train(run, range(10))
    tracker.forward()
    train(run, range(10, 30))
    finish(run)
    failure, missing = tracker.finish()
    assert "timed out" in failure
    assert "grpo seed-0 (22 records)" in missing  # 20 iterations and the evaluations at 10 and 20
    assert "the same command again delivers it" in missing
    assert Tracker(campaign, uri).finish() == []
    assert_every_point_once(uri, run, "grpo seed-0")
    assert mlflow_runs(uri)["grpo seed-0"].info.status == "FINISHED"


def test_a_run_with_a_broken_file_does_not_stop_the_others(uri, campaign):
    broken, good = add_run(campaign, seed=0), add_run(campaign, seed=1)
    broken.metrics_path.write_text("what is this\n")
    train(good, range(5))
    warnings = []
    assert not Tracker(campaign, uri, warn=warnings.append).forward()
    assert "not a metrics record" in warnings[0]
    assert len(history(uri, "grpo seed-1", "entropy/mean")) == 5


def test_statuses_follow_the_run_and_a_resumed_run_runs_again(uri, campaign):
    run = add_run(campaign)
    tracker = Tracker(campaign, uri)
    seen = []
    for status in ("running", "interrupted", "running", "failed", "running", "done"):
        finish(run, status)
        tracker.forward()
        seen.append(mlflow_runs(uri)["grpo seed-0"].info.status)
    assert seen == ["RUNNING", "KILLED", "RUNNING", "FAILED", "RUNNING", "FINISHED"]


@pytest.mark.parametrize(("status", "expected"), [("failed", "FAILED"), ("interrupted", "KILLED")])
def test_a_campaign_is_as_good_as_its_worst_run(uri, campaign, status, expected):
    finish(add_run(campaign, seed=0))
    finish(add_run(campaign, seed=1), status)
    Tracker(campaign, uri).finish()
    assert mlflow_runs(uri)["quickstart"].info.status == expected


def test_a_pending_run_is_not_in_mlflow_yet(uri, campaign):
    add_run(campaign).write_status(Status(status="pending"))
    Tracker(campaign, uri).finish()
    assert set(mlflow_runs(uri)) == {"quickstart"}


def test_a_run_deleted_in_mlflow_is_sent_anew(uri, campaign):
    run = add_run(campaign)
    train(run, range(5))
    Tracker(campaign, uri).forward()
    open_client(uri).delete_run(mlflow_runs(uri)["grpo seed-0"].info.run_id)
    Tracker(campaign, uri).forward()
    assert_every_point_once(uri, run, "grpo seed-0")


def test_a_deleted_experiment_is_said_with_its_remedy(uri, campaign):
    add_run(campaign)
    Tracker(campaign, uri).forward()
    client = open_client(uri)
    client.delete_experiment(client.get_experiment_by_name("quickstart").experiment_id)
    (failure, _) = Tracker(campaign, uri, warn=lambda _: None).finish()
    assert "was deleted; `mlflow experiments restore" in failure


def test_the_thread_delivers_by_itself(uri, campaign):
    run = add_run(campaign)
    tracker = Tracker(campaign, uri, interval_seconds=0.05)
    tracker.start()
    train(run, range(30))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(mlflow_runs_or_none(uri)) < 2:
        time.sleep(0.05)
    assert tracker.finish() == []
    assert_every_point_once(uri, run, "grpo seed-0")


def mlflow_runs_or_none(uri):
    try:
        return mlflow_runs(uri)
    except AttributeError:  # no experiment yet
        return {}


def test_params_are_flat_and_clipped():
    config = {"a": {"b": [1, None], "c": {}}, "d": "x" * 9000, "é?": True}
    flat = flat_params(config)
    assert flat == {"a.b": "[1, null]", "a.c": "{}", "d": "x" * 6000, "é:3f:": "true"}
    assert clean_key("loop/main/term/a+b") == "loop/main/term/a:2b:b"


def test_batches_hold_at_most_a_thousand_metrics_and_cut_no_record(campaign):
    run = add_run(campaign)
    with run.writer() as writer:
        for step in range(50):
            writer.append(step, {f"m{i}": 0.0 for i in range(45)})
    sizes = [len(batch) for batch in batches(run.records())]
    assert sizes == [22, 22, 6]  # 22 * 45 = 990


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("./mlruns", "no longer writes plain folders; use `sqlite:////absolute/path/mlflow.db`"),
        ("file:///tmp/mlruns", "no longer writes plain folders"),
        ("ftp://host/x", "unknown scheme 'ftp'; one of sqlite, http"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("http://127.0.0.1:99999", "Port out of range"),
        (f"http://127.0.0.1:{free_port()}", "does not answer .*start the server, correct the address"),
        (f"postgresql://me:secret@127.0.0.1:{free_port()}/db", r"//me:\*\*\*@127.*does not answer"),
        ("sqlite:////dev/null/x/mlflow.db", "is not a folder that can be written to"),
    ],
    ids=lambda text: re.sub(r":\d{4,5}", "", text),  # workers of pytest-xdist must agree on names
)
@pytest.mark.timeout(120)  # MLflow by itself would try again for over ten minutes
def test_a_uri_that_cannot_work_is_refused_with_a_remedy(uri, message):
    with pytest.raises(ValueError, match=message) as caught:
        check(uri)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_mlflow_database_is_refused(tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"not a database, and long enough to have a header" * 10)
    with pytest.raises(ValueError, match="file is not a database; name another file"):
        check(f"sqlite:///{path}")
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE studies (x)")
    database.close()
    with pytest.raises(ValueError, match="is a database of another program"):
        check(f"sqlite:///{path}")


def test_a_good_sqlite_uri_passes_without_importing_mlflow(tmp_path, empty_database):
    code = f"""
import sys
from orchestrator.tracking.store import check
import orchestrator.tracking.tracker
check("sqlite:///{empty_database}")
check("sqlite:///{tmp_path}/not/there/yet/mlflow.db")
assert "mlflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not (tmp_path / "not").exists()


def test_a_database_is_made_once_complete_and_with_a_write_ahead_log(tmp_path, empty_database):
    with sqlite3.connect(empty_database) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
    left = {path.name for path in empty_database.parent.iterdir()}
    assert left <= {"mlflow.db", "mlflow.db.lock", "mlflow.db-wal", "mlflow.db-shm"}


def test_a_web_server_that_is_not_mlflow_is_refused(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "-d", str(tmp_path)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        with pytest.raises(ValueError, match="does not answer as an MLflow server"):
            check(f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()


def wait_for_port(port, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(port)


class Server:
    """A real `mlflow server` on loopback."""

    def __init__(self, uri, port):
        self.uri, self.port = uri, port
        self.start()

    def start(self):
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.uri, "--workers", "1"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        ]
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
        )
        wait_for_port(self.port)
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=30).close()

    def kill(self):
        os.killpg(self.process.pid, 9)
        self.process.wait()


@pytest.mark.slow
def test_a_server_killed_in_the_middle_costs_no_point(uri, campaign, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = Server(uri, free_port())
    address = f"http://127.0.0.1:{server.port}"
    try:
        check(address)
        run = add_run(campaign)
        warnings = []
        tracker = Tracker(campaign, address, warn=warnings.append)
        train(run, range(20))
        assert tracker.forward()
        server.kill()
        train(run, range(20, 40))
        assert not tracker.forward()
        run.truncate(30)
        train(run, range(30, 60))
        server.start()
        assert tracker.forward()
        finish(run)
        server.kill()
        assert "the same command again delivers it" in tracker.finish()[-1]
        server.start()
        assert Tracker(campaign, address).finish() == []
        assert_every_point_once(address, run, "grpo seed-0")
        assert mlflow_runs(address)["grpo seed-0"].info.status == "FINISHED"
        assert len(warnings) == 3  # died, answers again, died again
    finally:
        server.kill()


def test_a_run_that_is_taken_up_again_is_another_one_and_the_one_before_stays(uri, campaign):
    run = add_run(campaign)
    train(run, range(20))
    finish(run, "stopped")
    Tracker(campaign, uri).forward()
    renew_key(run.path)
    run.truncate(10)
    finish(run, "running")
    train(run, range(10, 30))
    finish(run)
    Tracker(campaign, uri).forward()
    client = open_client(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'quickstart'")
    found = client.search_runs([experiment.experiment_id], "tags.`entrostat.arm` = 'grpo'")
    steps = {
        each.info.status: len(client.get_metric_history(each.info.run_id, "entropy/mean")) for each in found
    }
    assert steps == {"KILLED": 20, "FINISHED": 30}
    (read,) = fetch_runs(uri, campaign="quickstart")
    assert (read.status.status, read.train.steps.size) == ("done", 30)


def test_the_key_is_written_before_the_run_so_a_crash_between_leaves_no_second_run(uri, campaign):
    run = add_run(campaign)
    write_json(run.path / "tracking.json", {"key": "k" * 32})
    Tracker(campaign, uri).forward()
    Tracker(campaign, uri).forward()
    assert mlflow_runs(uri)["grpo seed-0"].data.tags["entrostat.key"] == "k" * 32
    assert len(mlflow_runs(uri)) == 2


def test_the_environment_keeps_what_the_user_has_set(monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    open_client(uri)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert store.mask("postgresql://u:p@h/d") == "postgresql://u:***@h/d"
