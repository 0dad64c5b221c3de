"""The command line: quick to answer, and clear about what it knows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import Family, app

ROOT = Path(__file__).parents[2]


def call(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_help_names_the_commands_and_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['entrostat', '--help']\n"
        "from orchestrator.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'transformers', 'mlflow', 'pydantic', 'rich.live'} & set(sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert shown.returncode == 0, shown.stderr
    for command in ("run", "validate", "compare", "schema", "list"):
        assert command in shown.stdout


def test_validating_a_campaign_does_not_wait_for_transformers():
    code = "import sys, orchestrator.commands; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("family", list(Family))
def test_list(family):
    code, output = call("list", family.value)
    assert code == 0
    for line in output.strip().splitlines():
        name, _, summary = line.partition(" ")
        assert name
        assert summary.strip(), f"{name} has no summary"


def test_list_knows_what_the_issue_names():
    assert "entropic" in call("list", "methods")[1]
    assert "arithmetic" in call("list", "tasks")[1]
    assert "pid" in call("list", "laws")[1]
    assert "sign_weights" in call("list", "actuators")[1]


def test_list_of_nothing_known():
    assert call("list", "colours")[0] == 2


def test_validate_says_what_would_run(write_campaign):
    path = write_campaign({"seeds": [0, 1]})
    code, output = call("validate", path)
    assert code == 0
    assert "grpo: grpo: no loop" in output
    assert "held: entropic: entropy (entropy → constant → pid → sign_weights)" in output
    assert "is valid: 4 runs of 6 iterations" in " ".join(output.split())
    assert not (path.parent / "runs").exists()


def test_validate_takes_overrides(write_campaign):
    assert "of 9 iterations" in " ".join(
        call("validate", write_campaign(), "--set", "learner.iterations=9")[1].split()
    )


@pytest.mark.parametrize("of", ["campaign", "method"])
def test_schema_is_json(of):
    code, output = call("schema", of)
    assert code == 0
    assert json.loads(output)["$schema"].startswith("https://json-schema.org/")


def test_compare_of_what_is_not_there(tmp_path):
    code, output = call("compare", "nothing", "--folder", tmp_path)
    assert code == 2
    assert "no campaign 'nothing'" in output
