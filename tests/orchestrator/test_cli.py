"""The command line: quick to answer, and clear about what it knows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import Family, app
from orchestrator.configuration.resolve import read_campaign
from orchestrator.storage.guardrail_files import Event, append_event
from orchestrator.storage.run_folder import RunFolder, Status

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
    code = "import sys, orchestrator.commands.run; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_gap_in_the_record_of_a_run_that_is_done_is_found_in_one_line(write_campaign):
    path = write_campaign({"arms": [{"name": "grpo", "method": "grpo"}]})
    assert call("prepare", path)[0] == 0
    run = RunFolder(Path("runs/small/grpo/seed-0"))
    with run.writer() as writer:
        for step in range(6):
            writer.append(step, {"entropy": 0.5})
    note = "went back to previous.ckpt of iteration 2"
    run.write_status(Status(status="done", notes=[note], iteration=6, num_iterations=6))
    lines = run.metrics_path.read_bytes().splitlines(keepends=True)
    for harmed, said in (
        ([*lines[:2], *lines[4:]], "iterations 2 to 3 are missing before line 3"),
        (lines[1:], "iteration 0 is missing before line 1"),
        ([*lines[:2], lines[1], *lines[2:]], "line 3 has train step 1 after 1"),
        ([lines[0], b"{\n", *lines[1:]], "not a metrics record"),
    ):
        run.metrics_path.write_bytes(b"".join(harmed))
        for command in (("run", path), ("compare", "small")):
            code, output = call(*command)
            assert code == 2
            assert said in output
            assert "metrics.jsonl" in output
            assert len(output.strip().splitlines()) == 1
    run.metrics_path.write_bytes(b"".join(lines))
    code, output = call("run", path)
    assert code == 0
    assert note in " ".join(output.split())
    assert note in (run.path.parents[1] / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at-iteration", "3"), "--at-iteration 3: goes with --continue-from"),
        (("--continue-from", "nowhere"), "nowhere: is not the folder of a run"),
        (("--continue-from", "runs/small/grpo/seed-0"), "is the run of 'small' itself"),
        (
            ("--continue-from", "runs/small/grpo/seed-0", "--set", "name=b"),
            "has no checkpoint; begin a run without",
        ),
    ],
)
def test_a_run_that_cannot_be_continued_is_said_in_one_line(write_campaign, arguments, said):
    path = write_campaign()
    assert call("prepare", path)[0] == 0
    for command in ("run", "prepare"):
        code, output = call(command, path, *arguments)
        assert code == 2
        assert said in output
        assert len(output.strip().splitlines()) == 1


@pytest.mark.parametrize("family", list(Family))
def test_list(family):
    code, output = call("list", family.value)
    assert code == 0
    for line in output.strip().splitlines():
        name, _, summary = line.partition(" ")
        assert name
        assert summary.strip(), f"{name} has no summary"


def test_list_without_a_family_names_the_members_of_all():
    code, output = call("list")
    assert code == 0
    for family in Family:
        first = call("list", family.value)[1].split()[0]
        assert any(line.startswith(family.value) for line in output.splitlines())
        assert first in output.replace(",", " ").split()


def test_version():
    assert call("--version") == (0, f"entrostat {version('entrostat')}\n")


def test_completion_is_offered():
    assert "--install-completion" in call("--help")[1]


@pytest.mark.parametrize("command", ["run", "prepare"])
def test_runs_are_kept_in_the_folder_of_the_option(write_campaign, tmp_path, monkeypatch, command):
    seen = []
    monkeypatch.setattr(
        f"orchestrator.commands.run.{command}_campaign",
        lambda path, overrides, **_: seen.append(read_campaign(path, overrides).config.tracking.folder) or 0,
    )
    path = write_campaign()
    assert call(command, str(path), "--folder", "else: where, [1]")[0] == 0
    assert seen == ["else: where, [1]"]


def test_list_knows_what_the_issue_names():
    assert "entropic" in call("list", "methods")[1]
    assert "arithmetic" in call("list", "tasks")[1]
    assert "pid" in call("list", "laws")[1]
    assert "sign_weights" in call("list", "actuators")[1]
    for family in ("methods", "laws", "references"):
        assert re.search(r"^auto ", call("list", family)[1], flags=re.MULTILINE), family


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


def test_what_was_stopped_is_taken_up_again_when_asked_for(write_campaign):
    path = write_campaign()
    assert "nothing is retried" in " ".join(call("prepare", path, "--retry-stopped")[1].split())
    run = RunFolder(path.parent / "runs" / "small" / "grpo" / "seed-0")
    run.write_status(Status(status="stopped", reason="collapse: it fell"))
    event = Event(iteration=3, detector="collapse", action="stop", reason="collapse: it fell")
    append_event(run.events_path, event)
    assert str(run.path) not in call("prepare", path)[1].splitlines()
    code, output = call("prepare", path, "--retry-stopped")
    assert code == 0
    assert str(run.path) in output.splitlines()
    assert f"continued: {run.path}: from iteration 0, no limit to change, other responses drawn" in output


@pytest.mark.parametrize("of", ["campaign", "method", "study"])
def test_schema_is_json(of):
    code, output = call("schema", of)
    assert code == 0
    assert json.loads(output)["$schema"].startswith("https://json-schema.org/")


def test_compare_of_what_is_not_there(tmp_path):
    code, output = call("compare", "nothing", "--folder", tmp_path)
    assert code == 2
    assert "no campaign 'nothing'" in output


@pytest.fixture
def runs(make_campaign):
    """The folder of two campaigns with six seeds and one."""
    make_campaign(seeds=range(6), arms=("grpo", "entropic"), name="one")
    return make_campaign(seeds=(0,), arms=("grpo",), name="two").path.parent


def test_compare_prints_the_tables_and_writes_the_campaigns_report(runs):
    code, output = call("compare", "one", "--folder", runs)
    assert code == 0
    assert "eval/pass_at_1 against grpo" in output
    assert (runs / "one" / "report" / "index.html").exists()
    assert str(runs / "one" / "report" / "index.html") in output.replace("\n", "")


def test_compare_of_several_has_a_page_of_its_own(runs):
    code, output = call("compare", "one", "two", "--folder", runs, "--baseline", "two/grpo")
    assert code == 0
    assert "against two/grpo" in " ".join(output.split())
    assert (runs / "comparison.html").exists()
    assert not (runs / "two" / "report").exists()


@pytest.mark.parametrize(("suffix", "begins"), [(".csv", "arm,"), (".md", "**"), (".tex", r"\begin{table}")])
def test_the_ending_of_the_file_is_the_format(runs, tmp_path, suffix, begins):
    file = tmp_path / f"x{suffix}"
    code, _ = call(
        "compare",
        "one",
        "--folder",
        runs,
        "--output",
        file,
        "--table",
        "setpoint_quality",
        "--page",
        tmp_path / "p.html",
    )
    assert code == 0
    assert file.read_text().startswith(begins)
    assert (tmp_path / "p.html").exists()
    assert not (runs / "one" / "report").exists()


def test_a_format_without_a_file_is_all_that_is_printed(runs):
    result = CliRunner().invoke(app, ["compare", "one", "--folder", str(runs), "--format", "csv"])
    assert result.exit_code == 0
    assert [line.split(",")[0] for line in result.stdout.splitlines()] == ["arm", "grpo", "entropic"]
    assert "report" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to compare"),
        (["three"], "no campaign 'three'"),
        (["one", "--baseline", "gpro"], "no arm 'gpro' to compare with; did you mean 'grpo'"),
        (["one", "--metric", "eval/pass_at_9"], "no run has the metric 'eval/pass_at_9'"),
        (["one", "--format", "csv", "--table", "summary", "--table", "setpoint_quality"], "holds one table"),
        (["one", "--output", "x.doc"], "the ending does not say the format; use .csv, .md, .tex"),
        (["one", "--output", "/nowhere/x.csv"], "there is no folder /nowhere; make it first"),
        (["one", "--page", "/nowhere/x.html"], "there is no folder /nowhere; make it first"),
        (["one", "--output", "/proc/x.csv"], "--output /proc/x.csv: cannot be written (No such file"),
        (["one", "--page", "/proc/x.html"], "--page /proc/x.html: cannot be written (No such file"),
        (["one", "--page", "/dev/null"], "--page /dev/null is no file; name a file"),
        (["one", "--page", "."], "--page . is a folder; name a file"),
        (["one", "--uri", "sqlite:////nowhere/mlflow.db"], "there is no such database"),
    ],
)
def test_bad_input_of_compare_is_one_line_and_writes_nothing(runs, arguments, message, monkeypatch):
    monkeypatch.chdir(runs)
    before = sorted(runs.rglob("*"))
    code, output = call("compare", *arguments, "--folder", runs)
    assert code == 2
    assert message in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert sorted(runs.rglob("*")) == before


def test_a_page_that_does_not_go_to_its_usual_place_costs_no_table(runs):
    (runs / "one" / "report").write_text("a file in the place of the folder")
    code, output = call("compare", "one", "--folder", runs)
    assert code == 0
    assert "eval/pass_at_1 against grpo" in output
    page = runs / "one" / "report" / "index.html"
    assert f"page not written: {page}: File exists; give --page FILE" in output
    assert call("compare", "one", "--folder", runs, "--page", runs / "page.html")[0] == 0


@pytest.mark.parametrize(
    ("command", "broken"),
    [
        (["compare", "one", "--output", "x.csv", "--page", "p.html"], "x.csv"),
        (["compare", "one", "--output", "x.csv", "--page", "p.html"], "p.html"),
        (["export", "one", "--output", "x.parquet"], "x.parquet"),
    ],
)
def test_a_disk_that_fails_in_the_middle_is_said_in_one_line(runs, command, broken, monkeypatch):
    replace = Path.replace

    def fail(self, target):
        if Path(target).name == broken:
            raise PermissionError(1, "Operation not permitted", str(target))
        return replace(self, target)

    monkeypatch.chdir(runs)
    monkeypatch.setattr(Path, "replace", fail)
    code, output = call(*command, "--folder", runs)
    assert code == 2
    assert f" {broken}: cannot be written (Operation not permitted); name a file elsewhere" in output
    assert not [path.name for path in runs.iterdir() if broken in path.name]


def test_export_writes_the_runs_of_several_campaigns(runs, tmp_path):
    file = tmp_path / "x.csv"
    code, output = call(
        "export", "one", "two", "--folder", runs, "--output", file, "--metrics", "eval/pass_at_1"
    )
    assert code == 0
    assert "91 rows of 13 runs" in output  # 13 runs, an evaluation at 0, 25, …, 150
    lines = file.read_text().splitlines()
    assert len(lines) == 92
    assert {line.split(",")[1].strip('"') for line in lines[1:]} == {"one/grpo", "entropic", "two/grpo"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one", "--output", "x.json"], "use one of .parquet, .csv"),
        (["one", "--output", "x.csv", "--metrics", "loss*"], "no run has the metric"),
        (["one", "--output", "/proc/x.csv"], "--output /proc/x.csv: cannot be written (No such file"),
        (["three", "--output", "x.csv"], "no campaign 'three'"),
    ],
)
def test_bad_input_of_export_leaves_no_file(runs, arguments, message, monkeypatch):
    monkeypatch.chdir(runs)
    code, output = call("export", *arguments, "--folder", runs)
    assert code == 2
    assert message in output
    assert not list(runs.glob("x.*"))
