"""`entrostat tune` from outside: stages, continuation, the winner, bad input, the dashboard."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing

import optuna
import pytest
import yaml
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands import tune as command
from orchestrator.configuration.method_file import MethodConfig
from orchestrator.storage.run_data import load_campaign
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo
from orchestrator.tuning.storage import open_storage
from tests.elsewhere import python_path
from tests.orchestrator.tuning.conftest import FAKE_TRAINING, KI, KP, ROOT, SIMULATION, TRACKING

STAGE_ONE = {"simulation": SIMULATION, "budget": {"trials": 0}}


def call(*arguments):
    result = CliRunner().invoke(app, ["tune", *(str(argument) for argument in arguments)])
    return result.exit_code, result.output, result.stdout


def stored(tmp_path, name="gains"):
    storage = open_storage(f"sqlite:///{tmp_path}/runs/gains/study.db", TRACKING)
    return optuna.load_study(study_name=name, storage=storage)


def test_stage_one_alone_and_its_winner(write_study, tmp_path):
    path = write_study(**STAGE_ONE)
    code, output, _ = call(path)
    assert code == 0, output
    assert "stage one: 64 candidates × 2 seeds on the plant in " in output
    assert "tracking" not in output
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    assert (tmp_path / "runs" / "gains" / "report" / "study.html").exists()
    best = stored(tmp_path, "gains.simulated").best_trial
    code, _, preset = call(path, "--best", "--set", "confirm.trials=0")
    assert code == 0
    content = yaml.safe_load(preset)
    MethodConfig(**content)
    assert content["loops"]["entropy"]["law"]["kp"] == best.params[KP]
    number = min(set(range(64)) - {best.number})
    other = yaml.safe_load(call(path, "--trial", number)[2])
    assert (
        other["loops"]["entropy"]["law"]["kp"]
        == stored(tmp_path, "gains.simulated").trials[number].params[KP]
    )


def test_the_same_command_again_simulates_nothing_twice(write_study, tmp_path):
    path = write_study(**STAGE_ONE)
    call(path)
    before = stored(tmp_path, "gains.simulated").trials
    code, output, _ = call(path)
    assert code == 0
    assert "on the plant from before" in output
    assert stored(tmp_path, "gains.simulated").trials == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": {}}, "space: "),
        ({"objective": "iea"}, "unknown criterion 'iea'"),
        ({"storage": "postgresql://me@127.0.0.1:9/db"}, "127.0.0.1:9 does not answer"),
        ({"storage": "sqlite:///runs/mlflow.db"}, "is the database of MLflow"),
        ({"in_campaign": {"tracking": {"uri": "http://127.0.0.1:9"}}}, "tracking.uri"),
    ],
)
def test_bad_input_ends_with_a_line_and_nothing_is_written(write_study, tmp_path, changes, says):
    code, output, _ = call(write_study(**{**STAGE_ONE, **changes}))
    assert code == 2
    assert says in " ".join(output.split())
    assert str(tmp_path / "study.yaml") in output or "tracking" in says
    assert "Traceback" not in output
    assert not list((tmp_path / "runs").glob("**/*")) if (tmp_path / "runs").exists() else True


def test_another_space_under_the_name_is_refused(write_study):
    call(write_study(**STAGE_ONE))
    code, output, _ = call(write_study(**STAGE_ONE, space={KP: {"low": 0.1, "high": 1.0}}))
    assert code == 2
    assert "study.yaml: name: the storage has a study 'gains' that differs" in output
    assert "give this study another name" in " ".join(output.split())


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


STORAGES = pytest.mark.parametrize("storage", [None, "shared.db"])


@STORAGES
def test_a_campaign_of_the_name_is_refused_and_nothing_is_written(write_study, tmp_path, storage):
    CampaignFolder(tmp_path / "runs" / "gains").write_info(CampaignInfo(name="gains", config={"arms": []}))
    path = write_study(**STAGE_ONE, storage=storage)
    before = files(tmp_path)
    code, output, _ = call(path)
    assert code == 2
    assert "holds a campaign of that name" in " ".join(output.split())
    assert files(tmp_path) == before


@STORAGES
def test_runs_of_trials_that_the_storage_does_not_know_are_refused(write_study, tmp_path, storage):
    (tmp_path / "runs" / "gains" / "trial-0000").mkdir(parents=True)
    path = write_study(**STAGE_ONE, storage=storage)
    before = files(tmp_path)
    code, output, _ = call(path)
    assert code == 2
    assert "has runs of trials" in " ".join(output.split())
    assert files(tmp_path) == before


@pytest.mark.parametrize("arguments", [(), ("--best",)])
def test_a_study_of_an_earlier_version_is_refused_in_a_line_and_stays_as_it_is(
    write_study, tmp_path, arguments
):
    journal = tmp_path / "runs" / "gains" / "journal.log"
    journal.parent.mkdir(parents=True)
    journal.write_text('{"op_code": 0}\n')
    path = write_study(**STAGE_ONE)
    before = files(tmp_path)
    code, output, stdout = call(path, *arguments)
    assert (code, stdout, output.count("\n")) == (2, "", 1)
    assert f"error: {path}: storage: {journal} has the trials of an earlier version" in output
    assert "finish the study with that version, or give it another name and begin it again" in output
    assert files(tmp_path) == before


@STORAGES
def test_the_best_of_what_is_not_there_makes_nothing(write_study, tmp_path, storage):
    path = write_study(**STAGE_ONE, storage=storage)
    before = files(tmp_path)
    code, output, stdout = call(path, "--best")
    assert (code, stdout) == (2, "")
    assert f"error: {path}: storage: " in output
    assert "does not exist yet; run `entrostat tune" in output
    assert files(tmp_path) == before


def test_a_mistyped_name_gets_those_in_the_storage_and_makes_no_study(write_study, tmp_path):
    call(write_study(**STAGE_ONE, storage="shared.db"))
    path = write_study(**STAGE_ONE, storage="shared.db", name="gians")
    before = files(tmp_path)
    code, output, stdout = call(path, "--best")
    assert (code, stdout) == (2, "")
    assert f"{path}: name: " in output
    assert "has no study 'gians'; did you mean 'gains'? known: gains, gains.simulated" in output
    assert files(tmp_path) == before


@pytest.mark.parametrize("then", ["best_of_simulation", "write_page", "print_summary"])
def test_a_storage_that_fails_in_mid_study_is_a_line(write_study, tmp_path, monkeypatch, then):
    """The database is there when the study opens it, and damaged when it comes to this step."""
    real, file = getattr(command, then), tmp_path / "runs" / "gains" / "study.db"

    def without_storage(*arguments):
        file.write_bytes(b"no database" * 1000)
        return real(*arguments)

    monkeypatch.setattr(command, then, without_storage)
    monkeypatch.setattr(command.Training, "run", lambda self, then, before_end: before_end() or 0)
    path = write_study(simulation=SIMULATION)
    code, output, _ = call(path)
    assert code == 2
    assert f"error: {path}: storage: file is not a database; check it" in " ".join(output.split())
    assert "the same command again continues" in " ".join(output.split())


def test_best_of_a_storage_that_fails_is_a_line(write_study, monkeypatch):
    path = write_study(**STAGE_ONE, storage="sqlite:///shared.db")
    call(path)

    def locked(*_, **__):
        raise StorageInternalError("wrapped") from OperationalError(
            "SELECT", {}, Exception("database is locked")
        )

    monkeypatch.setattr(command, "winner", locked)
    code, output, stdout = call(path, "--best")
    assert (code, stdout) == (2, "")
    assert f"error: {path}: storage: database is locked; check it" in " ".join(output.split())


PROGRAM = """
import sys
import orchestrator.tuning.training as training
training.WORKER = ("-c", open(sys.argv[1]).read(), sys.argv[2])
sys.argv = ["entrostat", *sys.argv[3:]]
from orchestrator.cli import main
main()
"""
WORKER = """
import sys
import orchestrator.execution.process as process, orchestrator.tuning.trial as trial
import orchestrator.tuning.worker as worker
process.WORKER = (sys.argv[1],); trial.POLL_SECONDS = 0.02; worker.WAIT_SECONDS = 0.1
sys.exit(worker.main(sys.argv[2:]))
"""


@pytest.fixture
def tune(tmp_path):
    """`entrostat tune` as a process, whose runs are acted out."""
    (tmp_path / "worker.py").write_text(WORKER)

    def start(path, *arguments, pause="0"):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "worker.py"), FAKE_TRAINING]
        return subprocess.Popen(
            [*command, "tune", str(path), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "FAKE_PAUSE": pause, "COLUMNS": "200"},
        )

    return start


@pytest.mark.slow
def test_two_stages_two_workers_links_both_ways_and_the_dashboard(write_study, tune, tmp_path):
    path = write_study(
        simulation=SIMULATION,
        budget={"trials": 5},
        workers=2,
        constraints={"sensitivity": 3.0},
        confirm={"trials": 2, "seeds": 1},
    )
    output, _ = (process := tune(path)).communicate(timeout=280)
    assert process.returncode == 0, output
    assert "Spearman ρ" in output
    trials = [t for t in stored(tmp_path).trials if t.state.name == "COMPLETE"]
    assert len(trials) == 5
    stage_one = stored(tmp_path, "gains.simulated")
    ranked = sorted(stage_one.trials, key=lambda t: (t.constraints["sensitivity"] > 0, t.value))
    assert stored(tmp_path).trials[0].params == ranked[0].params  # warm start
    assert {t.user_attrs.get("entrostat.rank") for t in trials} == {1, 2, None}
    _check_links(tmp_path, trials)
    runs = load_campaign(CampaignFolder(tmp_path / "runs" / "gains")).runs
    assert len([run for run in runs if run.done]) == 12  # two of them confirm
    _check_dashboard(tmp_path)
    again, _ = (process := tune(path)).communicate(timeout=280)
    assert process.returncode == 0, again
    assert "trial 5" not in again
    assert "confirmation of trial" not in again
    every_file_that_is_named_is_there(output, tmp_path)
    saved_where_the_documentation_says(call(path, "--best")[2], tmp_path)


def every_file_that_is_named_is_there(text, folder):
    """Whatever looks like a file of ours, from wherever the text is read."""
    named = re.findall(r"[\w./-]+\.(?:yaml|html|log|db|txt|jsonl?)\b", text)
    assert named
    assert [name for name in named if not (folder / name.removeprefix("sqlite:")).exists()] == []


def saved_where_the_documentation_says(preset, folder):
    (command,) = re.findall(r"--best > (\S+)`", (ROOT / "docs" / "studies.md").read_text())
    (folder / command).write_text(preset)
    every_file_that_is_named_is_there(preset, folder)


@pytest.mark.slow
def test_killed_while_it_confirms_it_goes_on(write_study, tune, tmp_path):
    """The command and its workers are gone at once; the same command again loses and repeats nothing."""
    path = write_study(budget={"trials": 1}, seeds=[0], confirm={"trials": 1, "seeds": 2}, stale_seconds=4)
    process = tune(path, pause="0.2")
    metrics = tmp_path / "runs" / "gains" / "confirm-0000" / "seed-1000" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.exists() and len(metrics.read_bytes().splitlines()) > 4):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    code, output, _ = call(path, "--best")
    assert (code, output.count("\n")) == (2, 1), output
    assert "is not confirmed yet (0 of the best 1 are trained again on 2 fresh seeds)" in output
    output, _ = (process := tune(path)).communicate(timeout=280)
    assert process.returncode == 0, output
    assert "confirmation of trial 0  complete" in output
    assert len(stored(tmp_path).trials) == 1
    runs = load_campaign(CampaignFolder(tmp_path / "runs" / "gains")).runs
    assert len(runs) == 3
    for run in CampaignFolder(tmp_path / "runs" / "gains").path.glob("*/seed-*"):
        steps = [
            record["step"]
            for record in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
            if record["kind"] == "train"
        ]
        assert steps == list(range(20))
    text = call(path, "--best")[2]
    assert text.startswith(
        "# A method preset, written by `entrostat tune --best`: trial 0 of 1 confirmed, iae "
    )


def test_every_file_that_stage_one_names_is_there(write_study, tmp_path):
    path = write_study(**STAGE_ONE)
    _, output, _ = call(path)
    every_file_that_is_named_is_there(output, tmp_path)
    saved_where_the_documentation_says(call(path, "--best")[2], tmp_path)
    page = (tmp_path / "runs" / "gains" / "report" / "study.html").read_text()
    every_file_that_is_named_is_there(
        page.split("<h2>The winner as a preset</h2>")[1].split("</footer>")[0], tmp_path
    )


TWO = {**STAGE_ONE, "objective": ["iae", "effort"]}


def test_one_of_a_front_is_never_taken_in_silence(write_study, tmp_path):
    path = write_study(**TWO)
    code, output, _ = call(path)
    assert code == 0, output
    trials = stored(tmp_path, "gains.simulated").trials
    pairs = {trial.number: trial.values for trial in trials}
    on_front = {
        number
        for number, (x, y) in pairs.items()
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in pairs.values())
    }
    assert len(on_front) > 1
    sentence = f"{len(on_front)} of 64 simulated trials are on the front of iae and effort"
    page = (tmp_path / "runs" / "gains" / "report" / "study.html").read_text()
    assert f"{sentence}." in " ".join(output.split())
    assert f", {len(on_front)} of those on the front" in " ".join(output.split())
    assert f"<h1>{sentence}.</h1>" in page
    assert "is the best of" not in output + page
    code, output, stdout = call(path, "--best")
    assert (code, stdout, output.count("\n")) == (2, "", 1)
    assert f"{sentence}; choose one of them with --best --trial N (N is " in output
    assert "or the best by one criterion with --best --by iae or --by effort" in output
    number = max(on_front)
    assert yaml.safe_load(call(path, "--best", "--trial", number)[2])["summary"].startswith(
        f"Tuned: trial {number} "
    )
    for place, name in enumerate(("iae", "effort")):
        least = min(on_front, key=lambda number, place=place: pairs[number][place])
        unconfirmed = call(path, "--best", "--by", name, "--set", "confirm.trials=0")[2]
        assert yaml.safe_load(unconfirmed)["summary"].startswith(f"Tuned: trial {least} ")
        assert "fresh noises" in call(path, "--best", "--by", name)[2].splitlines()[0]
    code, output, _ = call(path, "--best", "--by", "iea")
    assert code == 2
    assert "--by iea: is no criterion of" in output
    assert "did you mean 'iae'?" in output


def _check_links(tmp_path, trials):
    from orchestrator.tracking.store import open_client

    client = open_client(f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("gains")
    runs = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}
    parent = next(run for run in runs.values() if run.info.run_name == "gains")
    assert parent.info.status == "FINISHED"
    assert [each.path for each in client.list_artifacts(parent.info.run_id, "report")] == [
        "report/study.html"
    ]
    for trial in trials:
        run = runs[trial.user_attrs["entrostat.mlflow_run_id"]]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["optuna.trial"] == str(trial.number)
        assert run.data.tags["optuna.study"] == "gains"
        assert run.data.metrics["objective/iae"] == pytest.approx(trial.value)
        assert float(run.data.params[KP]) == trial.params[KP]
        seeds = [
            each for each in runs.values() if each.data.tags.get("mlflow.parentRunId") == run.info.run_id
        ]
        assert sorted(each.data.tags["entrostat.seed"] for each in seeds) == ["0", "1"]


def _check_dashboard(tmp_path):
    """optuna-dashboard opens the storage as it is."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = "import sys; from optuna_dashboard._cli import main; main()"
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/runs/gains/study.db"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        page = _get(f"http://127.0.0.1:{port}/dashboard/")
        assert "Optuna Dashboard" in page
        studies = {
            each["study_name"]: each
            for each in json.loads(_get(f"http://127.0.0.1:{port}/api/studies"))["study_summaries"]
        }
        assert {"gains", "gains.simulated", "gains.confirmed_on_1"} == studies.keys()
        detail = json.loads(_get(f"http://127.0.0.1:{port}/api/studies/{studies['gains']['study_id']}"))
        assert len(detail["trials"]) >= 5
    finally:
        process.terminate()
        process.communicate(timeout=280)


def _get(url, seconds=240.0):
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


@pytest.mark.slow
def test_stopped_and_continued(write_study, tune, tmp_path):
    path = write_study(budget={"trials": 3}, seeds=[0])
    process = tune(path, pause="0.2")
    metrics = tmp_path / "runs" / "gains" / "trial-0000" / "seed-0" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.exists() and len(metrics.read_bytes().splitlines()) > 4):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    first, _ = process.communicate(timeout=280)
    assert process.returncode == 143, first
    assert "stopped by SIGTERM; trials are saved and the same command again continues" in first
    output, _ = (process := tune(path)).communicate(timeout=280)
    assert process.returncode == 0, output
    found = stored(tmp_path)
    assert sum(trial.state.name == "COMPLETE" for trial in found.trials) == 3
    assert found.trials[0].state.name == "FAIL"
    assert re.search(r"trial 0  continues as another attempt.*its worker let go of it", first), output
    best = call(path, "--best")[2]
    assert yaml.safe_load(best)["loops"]["entropy"]["law"]["ki"] == found.best_trial.params[KI]


@pytest.mark.trains
@pytest.mark.slow
def test_two_stages_in_real_training(write_study, tmp_path):
    """The smallest real study: two trials of one seed."""
    path = write_study(
        simulation={**SIMULATION, "enqueue": 1},
        budget={"trials": 2},
        seeds=[0],
        confirm={"trials": 1, "seeds": 1},
        objective=["iae", "pass_at_1"],
        in_campaign={"learner.iterations": 6},
    )
    path.write_text(path.read_text().replace("  enqueue: 1\n", "  enqueue: 1\n  objective: iae\n"))
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", "tune", str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": python_path()},
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = stored(tmp_path)
    assert [trial.state.name for trial in found.trials] == ["COMPLETE", "COMPLETE"]
    assert all(trial.values[0] > 0 and 0 <= trial.values[1] <= 1 for trial in found.trials)
    preset = call(path, "--best", "--by", "iae")[2]
    assert yaml.safe_load(preset)["method"] == "gains_best"
    assert "confirmed, iae" in preset
