"""Training that would be wasted is refused when a study begins, and never of one that has begun."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.tuning.records import open_study
from orchestrator.tuning.space import suggest
from orchestrator.tuning.storage import open_storage, storage_url
from orchestrator.tuning.study_file import wasted_training
from orchestrator.tuning.training import Training
from tests.orchestrator.tuning.conftest import SIMULATION, ask

THRESHOLD = {"guardrails.collapse.threshold": {"low": 0.1, "high": 0.5}}
ACTION = {"guardrails.collapse.action": {"choices": ["warn", "stop"]}}
WITHOUT_EFFECT = (
    "the guardrail only warns in this arm, so that no value changes a result; give it an action such as rollback or "
    "stop, or remove this from the space"
)
WASTED = [
    (
        {"seeds": [0, 1, 0]},
        "seeds: 0 is there twice, and the same run would count twice; give each its own",
    ),
    (
        {"pruner": {"kind": "wilcoxon"}},
        "pruner.p_threshold: 0.1 needs 4 seeds to be undercut at all, and one more to save, got 2; "
        "add seeds, or raise it",
    ),
    (
        {"pruner": {"kind": "halving", "first": 39}},
        "pruner.first: must be at most 38 to prune at all, the last look at a trial before its end (2 seeds of 20 "
        "iterations, a look every 2), got 39; lower it, or report_every",
    ),
    (
        {"pruner": {"kind": "halving", "first": 1}, "seeds": [0], "report_every": 20},
        "pruner.first: must be at most 0 to prune at all, the last look at a trial before its end (1 seeds of 20 "
        "iterations, a look every 20), got 1; lower it, or report_every",
    ),
    ({"space": THRESHOLD}, f"space.guardrails.collapse.threshold: {WITHOUT_EFFECT}"),
    (
        {"space": {"guardrails.enabled": {"choices": [True, False]}}},
        f"space.guardrails.enabled: {WITHOUT_EFFECT}",
    ),
    (
        {"space": ACTION | {"guardrails.max_rollbacks": {"low": 1, "high": 3, "integer": True}}},
        f"space.guardrails.max_rollbacks: {WITHOUT_EFFECT}",
    ),
]
each = pytest.mark.parametrize(("changes", "says"), WASTED)


def call(*arguments):
    result = CliRunner().invoke(app, ["tune", *(str(argument) for argument in arguments)])
    return result.exit_code, " ".join(result.output.split())


@each
def test_it_is_one_clear_line(make_study, changes, says):
    assert list(wasted_training(make_study(**changes))) == [says]


def test_three_seeds_are_enough_for_a_pruner_that_two_pairs_can_undercut(make_study):
    pruner = {"kind": "wilcoxon", "p_threshold": 0.3}  # two pairs have p = 1/4
    assert list(wasted_training(make_study(pruner=pruner, seeds=[0, 1, 2]))) == []
    assert list(wasted_training(make_study(pruner=pruner, seeds=[0, 1]))) != []


@each
def test_a_study_does_not_begin_so_and_nothing_is_written(write_study, tmp_path, monkeypatch, changes, says):
    monkeypatch.delattr(Training, "run")  # or a study that begins would train for minutes
    path = write_study(**changes)
    assert call(path) == (2, f"error: {path}: {says}")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("changes", [changes for changes, _ in WASTED])
def test_a_study_that_has_begun_goes_on_and_has_its_best(make_study, monkeypatch, changes):
    """Such as one from before it was refused: seeds and space are part of what it is."""
    study = make_study(**changes)
    found = open_study(study, open_storage(storage_url(None, study.folder), "sqlite:////nowhere/mlflow.db"))
    trial = ask(found)
    suggest(trial, study.config.space)
    found.tell(trial, 1.0)
    monkeypatch.setattr(Training, "run", lambda self, then, before_end: before_end() or 0)
    code, output = call(study.path)
    assert code == 0, output
    code, output = call(study.path, "--trial", "0")
    assert code == 0, output
    assert "method: gains_best" in output


def test_where_nothing_is_trained_nothing_is_wasted(make_study):
    changes = {"pruner": {"kind": "halving", "first": 39}, "seeds": [0, 1, 0], "simulation": SIMULATION}
    assert list(wasted_training(make_study(**changes, budget={"trials": 0}))) == []


def test_guardrails_that_act_somewhere_in_the_space_can_be_searched(make_study):
    enabled = {"guardrails.enabled": {"choices": [True, False]}}
    assert list(wasted_training(make_study(space=THRESHOLD | ACTION | enabled))) == []


def test_the_last_look_that_can_prune_is_accepted(make_study):
    assert list(wasted_training(make_study(pruner={"kind": "halving", "first": 38}))) == []
