"""What the trials of a study read stays what it was when the study began, or is taken by a word."""

from __future__ import annotations

import json

import optuna
import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import ConfigError
from orchestrator.storage.run_folder import CampaignFolder
from orchestrator.tuning import worker as workers
from orchestrator.tuning.judging import search
from orchestrator.tuning.records import INPUTS, keep_inputs, open_study, store_simulation, stored_simulation
from orchestrator.tuning.storage import open_storage, storage_url
from orchestrator.tuning.study_file import read_study
from orchestrator.tuning.trial_mlflow import TrialRuns
from orchestrator.tuning.worker import TrialWorker
from tests.orchestrator.tuning.conftest import PLANT, SIMULATION, TRACKING, ask
from tests.orchestrator.tuning.test_worker import NoTracker, states

DATA = {"task": {"kind": "jsonl", "path": "data.jsonl"}, "evaluation.num_problems": 3}
LABEL = "task.path: data.jsonl"


def write_data(tmp_path, offset=0):
    rows = [{"prompt": f"{n}+1=", "answer": str(n + 1 + offset)} for n in range(40)]
    (tmp_path / "data.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def study_of(write_study, fake_training, tmp_path, monkeypatch):
    """A study whose trials read a file; gives it, its Optuna study and a worker, each time as a new command."""
    monkeypatch.setattr(workers, "WAIT_SECONDS", 0.02)
    write_data(tmp_path)

    def make(**changes):
        study = read_study(write_study(in_campaign=DATA, seeds=[0], **changes))
        url = storage_url(study.config.storage, study.folder)
        storage = open_storage(url, TRACKING)
        found = open_study(study, storage)
        return study, found, TrialWorker(study, found, storage, TrialRuns(NoTracker(), url))

    return make


def test_a_change_is_refused_or_taken_by_a_word_which_is_recorded(study_of, tmp_path):
    study, found, worker = study_of(budget={"trials": 1})
    keep_inputs(study, found)
    assert worker.run() == 0
    write_data(tmp_path, 1)
    study, found, worker = study_of(budget={"trials": 2})
    with pytest.raises(ConfigError, match=f"{LABEL} was sha256 .*--accept-changed-inputs") as refusal:
        keep_inputs(study, found)
    assert "\n" not in str(refusal.value)
    keep_inputs(study, found, accept=True)
    keep_inputs(study, found)
    (entry,) = found.user_attrs[INPUTS]["accepted"]
    assert (entry["input"], entry["trials"]) == (LABEL, 1)
    assert entry["old"]["digest"] != entry["new"]["digest"]
    assert worker.run() == 0
    assert states(found) == ["COMPLETE"] * 2
    folder = CampaignFolder(study.folder)
    runs = [folder.run(f"trial-{number:04d}", 0).read_info() for number in (0, 1)]
    assert [info.inputs[LABEL]["digest"] for info in runs] == [entry["old"]["digest"], entry["new"]["digest"]]


def test_the_command_refuses_in_one_line(study_of, tmp_path):
    study, found, worker = study_of(budget={"trials": 1})
    keep_inputs(study, found)
    worker.run()
    write_data(tmp_path, 1)
    result = CliRunner().invoke(app, ["tune", str(study.path)])
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert LABEL in line


def test_a_worker_begins_no_trial_with_something_else(study_of, tmp_path, capsys):
    study, found, worker = study_of(budget={"trials": 2})
    keep_inputs(study, found)
    write_data(tmp_path, 1)
    assert worker.run() == workers.EXIT_FAILED
    assert found.trials == []
    assert LABEL in capsys.readouterr().out


def test_a_trial_that_goes_on_with_what_was_accepted_says_so(study_of, tmp_path):
    study, found, _ = study_of(budget={"trials": 1})
    keep_inputs(study, found)
    folder = CampaignFolder(study.folder).run("trial-0000", 0)
    trial = ask(found)
    trained = workers.TrainedTrial(
        study, trial, workers.suggest(trial, study.config.space), "trial-0000", crew=None
    )
    before = trained._prepared(0).read_info()
    write_data(tmp_path, 1)
    after = trained._prepared(0).read_info()
    assert [entry["input"] for entry in after.accepted] == [LABEL]
    assert (after.inputs, after.fingerprint) == (before.inputs, before.fingerprint)
    assert folder.read_info() == after


def test_a_study_of_an_earlier_version_goes_on_and_that_is_said(study_of, tmp_path):
    study, found, worker = study_of(budget={"trials": 1})
    assert worker.run() == 0  # without a record of what it read
    told = []
    keep_inputs(study, found, tell=told.append)
    assert "not recorded" in told[0]
    write_data(tmp_path, 1)
    with pytest.raises(ConfigError, match=LABEL):
        keep_inputs(study, found)


def test_policies_all_over_the_space_count(study_of, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    choices = {"policy.source": {"choices": ["./one", "./two"]}}
    study, found, _ = study_of(space=choices, in_plant=None)
    keep_inputs(study, found)
    (tmp_path / "two" / "config.json").write_text('{"a": 1}')
    with pytest.raises(ConfigError, match=r"policy\.source: two/config\.json"):
        keep_inputs(study, found)


def test_a_plant_that_has_changed_is_refused_by_what_it_says(write_study, tmp_path):
    path = write_study(simulation=SIMULATION)
    study = read_study(path)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(storage_url(study.config.storage, study.folder), TRACKING)
    store_simulation(study, storage, search(study))
    assert stored_simulation(read_study(path), storage) is not None
    stronger = {**PLANT, "plant": {**PLANT["plant"], "b": [0.07]}}
    (tmp_path / "plant.yaml").write_text(yaml.safe_dump(stronger))
    with pytest.raises(ConfigError, match=r"plant\.b: stored \[0\.06\], now \[0\.07\]"):
        stored_simulation(read_study(path), storage)
