"""The winner as a preset: a campaign that takes it trains exactly what the trial trained."""

from __future__ import annotations

import optuna
import pytest
import yaml

from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from orchestrator.tuning.preset import preset_text
from orchestrator.tuning.records import open_study
from orchestrator.tuning.winner import winner
from tests.orchestrator.tuning.conftest import KI, KP, SIMULATION

RATE = "learner.learning_rate"


@pytest.fixture
def told(make_study):
    """An Optuna study in memory with trials of given parameters, values and violations."""

    def make(*trials, **changes):
        study = make_study(**{"confirm": {"trials": 0}, **changes})
        found = open_study(study, optuna.storages.InMemoryStorage())
        for params, values, violation in trials:
            found.enqueue_trial(params)
            trial = found.ask()
            for path, dimension in study.config.space.items():
                trial.suggest_float(path, dimension.low, dimension.high, log=dimension.log)
            trial.set_constraint("collapse", violation)
            found.tell(trial, values)
        return study, found

    return make


def at(kp):
    return {KP: kp, KI: 0.1}


def test_the_best_feasible_trial_wins(told):
    study, found = told((at(1.0), 3.0, 0.0), (at(2.0), 1.0, 0.5), (at(3.0), 2.0, -1.0))
    assert winner(study, found, None).trial.number == 2
    assert winner(study, found, None, number=1).trial.number == 1


def test_a_campaign_with_the_preset_trains_what_the_trial_trained(told, tmp_path):
    space = {
        KP: {"low": 0.1, "high": 10.0},
        RATE: {"low": 1.0e-5, "high": 1.0e-2},
        "rollout.temperature": {"low": 0.5, "high": 2.0},
        "policy.warm_start.error_rate": {"low": 0.0, "high": 0.5},
        "guardrails.collapse.threshold": {"low": 0.05, "high": 0.5},
    }
    params = {
        KP: 0.1 + 0.2,
        RATE: 0.00123,
        "rollout.temperature": 0.9,
        "policy.warm_start.error_rate": 0.05,
        "guardrails.collapse.threshold": 0.25,
    }
    own = {
        "guardrails.explosion.patience": 7,
        "arms.0.guardrails": {
            "collapse": {"action": "rollback"},
            "explosion": {"action": "stop"},
            "mismatch": None,
            "max_rollbacks": 1,
        },
    }
    study, found = told((params, 1.0, 0.0), space=space, in_campaign=own)
    text = preset_text(study, winner(study, found, None))
    arm = next_campaign(tmp_path, text).arms[0]
    assert arm.fingerprint == study.candidate(params).fingerprint
    assert arm.config == study.candidate(params).config
    assert arm.config.loops["entropy"].law.kp == 0.1 + 0.2
    preset = yaml.safe_load(text)
    assert preset["learner"] == {"learning_rate": 0.00123}  # only what the campaign does not say itself
    assert preset["guardrails"]["collapse"] == {"threshold": 0.25, "action": "rollback"}
    assert preset["method"] == "gains_best"
    assert "judge it on seeds that the study has not seen" in preset["notes"]


def test_what_a_method_cannot_carry_stands_in_the_lines_above_it(told, tmp_path):
    """The arm's own task and phases are an arm's to say, and the study's `over` the campaign's."""
    own = {
        "phases": [{"start": 4, "task": {"num_digits": 2}}],
        "arms.0.task": {"operations": ["+", "-"]},
        "arms.0.phases": [],
    }
    over = {"rollout": {"temperature": 0.8}, "learner": {"iterations": 5}}
    study, found = told((at(1.0), 1.0, 0.0), in_campaign=own, over=over)
    text = preset_text(study, winner(study, found, None))
    arm = next_campaign(tmp_path, text, ["rollout.temperature=0.8", "learner.iterations=5"]).arms[0]
    assert arm.fingerprint == study.candidate(at(1.0)).fingerprint
    notes = yaml.safe_load(text)["notes"]
    assert "The study laid rollout.temperature=0.8, learner.iterations=5 over the campaign" in notes


def next_campaign(tmp_path, text, overrides=()):
    """The campaign with the arm that the preset's own first lines name."""
    (tmp_path / "tuned.yaml").write_text(text)  # as docs/studies.md has it
    lines = [line.removeprefix("#") for line in text.splitlines() if line.startswith("#  ")]
    content = yaml.safe_load((tmp_path / "campaign.yaml").read_text())
    content["arms"] = yaml.safe_load("\n".join(lines))["arms"]
    (tmp_path / "next.yaml").write_text(yaml.safe_dump(content))
    return read_campaign(tmp_path / "next.yaml", overrides)


def test_the_plant_goes_along_for_the_reports_prediction(told):
    study, found = told((at(1.0), 1.0, 0.0), simulation=SIMULATION)
    preset = yaml.safe_load(preset_text(study, winner(study, found, None)))
    assert preset["loops"]["entropy"]["plant"]["a"] == [0.95]


def test_without_a_trained_trial_the_simulated_ones_count(told):
    study, found = told(simulation=SIMULATION)
    _, simulated = told((at(1.0), 1.0, 0.0), (at(2.0), 0.5, 0.0))
    chosen = winner(study, found, simulated)
    assert (chosen.trial.number, chosen.was_trained) == (1, False)
    assert "simulated on the plant, not trained" in yaml.safe_load(preset_text(study, chosen))["notes"]


def test_of_several_objectives_one_that_nothing_dominates(told):
    study, found = told(
        (at(1.0), [2.0, 0.9], 0.0),
        (at(2.0), [3.0, 0.8], 0.0),
        (at(3.0), [1.0, 0.1], 0.0),
        objective=["iae", "pass_at_4"],
    )
    assert winner(study, found, None, by="iae").trial.number == 2


def test_no_winner_is_said(told):
    study, found = told()
    with pytest.raises(ConfigError, match="no trial of 'gains' has finished"):
        winner(study, found, None)
    study, found = told((at(1.0), 1.0, 0.5))
    with pytest.raises(ConfigError, match="every trial of 'gains' violates a constraint, the best collapse"):
        winner(study, found, None)
    with pytest.raises(ConfigError, match="--trial 7: has not finished, or is not there; the best are 0"):
        winner(study, found, None, number=7)
