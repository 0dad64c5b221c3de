"""A saved policy on any task: the figures of the run that trained it, and those of other problems."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.campaign import prepare
from orchestrator.cli import app
from orchestrator.commands.clear_errors import EXIT_BAD_INPUT
from orchestrator.configuration.resolve import read_campaign
from orchestrator.training import run as worker

pytestmark = pytest.mark.trains


def evaluate(*arguments):
    return CliRunner().invoke(app, ["evaluate", *arguments])


@pytest.fixture
def campaign(write_campaign):
    changes = {"learner.iterations": 1, "learner.learning_rate": 1.0e-12}  # so the start stays the best
    return write_campaign(changes | {"evaluation.keep_best": "eval/pass_at_1"})


@pytest.fixture
def run(campaign):
    run = prepare(read_campaign(campaign)).run("grpo", 0)
    assert worker.main(str(run.path)) == worker.EXIT_DONE, run.read_status().reason
    return run


def results(*arguments):
    """What the command writes, as ``{metric: {value, low, high}}``."""
    found = evaluate(*arguments, "--output", "found.json")
    assert found.exit_code == 0, found.output
    return json.loads(Path("found.json").read_text())


def test_the_start_of_a_run_has_the_figures_that_its_own_evaluation_had(run, campaign):
    """The same draws, graders and means as of the run: nothing of it is computed in another way."""
    start = {r.step: r.metrics for r in run.records() if r.kind == "eval"}[0]
    assert json.loads((run.best_path / "evaluation.json").read_text())["iteration"] == 0
    found = results("small/grpo/0", "--best", "--task", str(campaign))
    assert found["results"].keys() == {"eval/pass_at_1", "eval/pass_rate", "eval/pass_at_4"}
    for name, rate in found["results"].items():
        assert rate["value"] == pytest.approx(start[name], abs=1e-12)
        assert rate["low"] <= rate["value"] <= rate["high"]
    assert found["policy"] == str(run.best_path)
    assert found["settings"]["policy"]["source"] == found["policy"]


def test_what_was_published_is_evaluated_on_other_tasks(run, campaign):
    published = CliRunner().invoke(app, ["publish", "small/grpo/0", "--output", "out"])
    assert published.exit_code == 0, published.output
    printed = evaluate(
        "out", "--task", str(campaign), "--arm", "held", "--seed", "3",
        "--set", "task.operations=[-]", "--set", "evaluation.num_problems=2",
        "--set", "evaluation.sets.sums={num_problems: 3, num_samples: 4, pass_at: [2], task: {kind: arithmetic, num_digits: 1}}",
    )  # fmt: skip
    assert printed.exit_code == 0, printed.output
    own, further = printed.output.split("eval/set/sums, with")
    assert re.search(r"problems +2\b", own)
    assert re.search(r"samples of each +4 at temperature 1", own)
    assert re.search(r"pass_at_4 +[01]\.\d+  \[[01]\.\d+, [01]\.\d+\]", own)
    assert re.search(r"problems +3\b", further)
    assert "pass_at_2" in further


@pytest.mark.parametrize(
    ("policy", "further", "said"),
    [
        ("small/grpo/9", (), "policy 'small/grpo/9': is no folder, and no run in "),
        ("small/grpo/0", (), "has no policy, since it is pending and not done"),
        ("small/grpo/0", ("--best",), "has kept no best policy"),
        ("elsewhere", ("--best",), "--best: goes with a run"),
        ("./elsewhere", (), "policy './elsewhere': no model folder at "),
        (
            "builtin:tiny",
            ("--arm", "hold"),
            "--arm hold: campaign.yaml has no such arm; did you mean 'held'?",
        ),
        ("builtin:tiny", ("--set", "evaluation.num_problem=3"), "evaluation.num_problem: unknown key"),
        ("builtin:tiny", ("--output", "no/such.json"), "--output no/such.json: there is no folder"),
    ],
)
def test_bad_input_is_one_line(campaign, policy, further, said):
    prepare(read_campaign(campaign))
    found = evaluate(policy, "--task", campaign.name, *further)
    assert found.exit_code == EXIT_BAD_INPUT, found.output
    assert said in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_model_that_cannot_be_loaded_is_one_line(campaign, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    found = evaluate(str(broken), "--task", campaign.name)
    assert found.exit_code == EXIT_BAD_INPUT, found.output
    assert f"model '{broken}' cannot be loaded" in found.stderr
