"""Credentials are planted in the settings of a study; nothing that is left behind, printed or listed has them."""

from __future__ import annotations

import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.tuning import training
from tests.orchestrator.test_planted_secrets import SECRET, assert_nothing_is_left, call
from tests.orchestrator.tuning.conftest import FAKE_TRAINING, ROOT
from tests.orchestrator.tuning.test_command import WORKER

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]


@pytest.mark.slow
def test_a_study_leaves_no_credential_anywhere(write_study, confidential_database, tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", f"{SECRET}-token")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(training, "WORKER", ("-c", WORKER, FAKE_TRAINING))
    path = write_study(
        in_campaign={"description": f"http://u:{SECRET}@h"},
        description=f"with password={SECRET}",
        budget={"trials": 1},
        over={"rollout": {"engine": {"kind": "vllm_server", "urls": [f"http://u:{SECRET}@127.0.0.1:9"]}}},
        space={"loops.entropy.law.kp": {"low": 0.9, "high": 1.1}},
    )
    code, output = call("tune", path, "--set", f"over.tracking.uri={confidential_database}&password={SECRET}")
    assert code == 0, output
    assert (tmp_path / "runs" / "gains" / "trial-0000" / "seed-0" / "run.json").exists()
    assert_nothing_is_left(tmp_path / "runs")
    code, preset = call(
        "tune", path, "--set", f"over.tracking.uri={confidential_database}&password={SECRET}", "--best"
    )
    assert yaml.safe_load(preset)["rollout"]["engine"]["urls"] == ["http://***@127.0.0.1:9"]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"storage": f"postgresql://me:{SECRET}/{SECRET}@127.0.0.1:9/db"}, "'postgresql://me:***@127.0.0.1:9/db'"),
        ({"storage": f"mysql://me:{SECRET}@127.0.0.1:{SECRET}/db"}, "'mysql://me:***@127.0.0.1"),
        ({"storage": f"nosql://me:{SECRET}@127.0.0.1/db"}, "nosql://***@127.0.0.1/db"),
        ({"over": {"tracking": {"uri": f"http://me:{SECRET}@x@127.0.0.1:9"}}}, "'http://***@127.0.0.1:9'"),
        ({"over": {"tracking": {"uri": f"http://me:a/{SECRET}@127.0.0.1:9"}}}, "'http://***@127.0.0.1:9'"),
        ({"space": {"task.path": {"choices": [f"http://u:{SECRET}@h"]}}}, "choices must hold no password"),
    ],
)  # fmt: skip
def test_a_refused_study_shows_no_credential(write_study, changes, shown):
    result = CliRunner().invoke(app, ["tune", str(write_study(**changes))])
    assert result.exit_code == 2, result.output
    assert shown in result.output
    assert SECRET not in result.output.replace(f"127.0.0.1:{SECRET}", "")
