"""Study files: what is wrong in them is said in one line, with file, key and cure."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.schema import json_schema
from orchestrator.errors import ConfigError
from orchestrator.tuning.study_file import read_study
from tests.orchestrator.tuning.conftest import KI, KP, PLANT, SIMULATION

ROOT = Path(__file__).parents[3]


def refusal(make_study, **changes):
    with pytest.raises(ConfigError) as caught:
        make_study(**changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": {}}, "study.yaml: space: is empty; name a path of the arm"),
        (
            {"space": {KP: {"low": 5, "high": 0.1}}},
            "low must be below high, got low 5 and high 0.1; swap them",
        ),
        (
            {"space": {"loops.entorpy.law.kp": {"low": 0, "high": 1}}},
            "there is no 'entorpy' in loops; did you mean 'entropy'?",
        ),
        (
            {"space": {"loops.entropy.law.kpp": {"low": 0, "high": 1}}},
            "space.loops.entropy.law.kpp: unknown key; did you mean",
        ),
        (
            {"space": {"loops.entropy.dither.seed": {"low": 0, "high": 1}}},
            "loops.entropy.dither is None in this arm",
        ),
        ({"space": {KP: {"low": -1, "high": 1}}}, "kp must be >= 0 and finite, got -1.0"),
        (
            {"space": {"evaluation.every": {"low": 1, "high": 5, "integer": True}}},
            "space.evaluation.every: evaluation decides how trials are measured",
        ),
        (
            {"space": {"learner.iterations": {"low": 1, "high": 5, "integer": True}}},
            "learner.iterations decides how trials are measured",
        ),
        (
            {"space": {KP: {"low": 0, "high": 1}, "loops.entropy.law": {"choices": [1]}}},
            "the space has loops.entropy.law.kp inside of it",
        ),
        (
            {"space": {"loops.entropy.law.kind": {"choices": ["pid", "dual_ascent"]}}},
            "space.loops.entropy.law.rate: is missing; add it",
        ),
        ({"objective": "iea"}, "objective: unknown criterion 'iea'; did you mean 'iae'?"),
        ({"objective": []}, "objective: must be one name or several"),
        ({"objective": "pass_at_8"}, "'pass_at_8' needs evaluation.pass_at to have 8, got [4]"),
        (
            {"objective": ["iae", "effort"], "pruner": {"kind": "halving"}},
            "study.yaml: pruner.kind must be 'none' with several criteria",
        ),
        ({"pruner": {"kind": "median"}}, "pruner.kind: unknown kind 'median'"),
        ({"arm": "hold"}, "arm: "),
        ({"loop": "entropi"}, "loop: arm 'held' has no such loop; did you mean 'entropy'?"),
        ({"campaign": "none.yaml"}, "none.yaml: cannot be read"),
        ({"budget": {"trials": 0}}, "budget.trials: must be at least 1 without a simulation"),
        ({"constraints": {"sensitivity": 1.8}}, "constraints.sensitivity: needs a plant"),
        ({"constraints": {"collapse": {}}}, "constraints.collapse: must have either nats or fraction"),
        (
            {"constraints": {"collapse": {"fraction": 1.2}}},
            "constraints.collapse: fraction must be below 1, which is the setpoint itself, got 1.2",
        ),
        (
            {"constraints": {"explosion": {"fraction": 1.0}}},
            "constraints.explosion: fraction must be above 1, which is the setpoint itself, got 1",
        ),
        ({"simulation": {"trials": 8}}, "simulation.plant: is missing"),
        ({"simulation": {"plant": "nowhere.yaml"}}, "nowhere.yaml: cannot be read"),
        (
            {"simulation": SIMULATION, "objective": "pass_at_4"},
            "simulation.objective: a plant cannot tell 'pass_at_4'",
        ),
        (
            {"simulation": SIMULATION, "space": {"learner.learning_rate": {"low": 1e-4, "high": 1e-3}}},
            "the plant answers the loop 'entropy' alone",
        ),
        (
            {"space": {"loops.entropy.limits.2": {"low": 0.5, "high": 1}}},
            "space.loops.entropy.limits.2: loops.entropy.limits is [0.0, 1.0] in this arm, a list whose places are "
            "0 to 1, got '2'; name one of those",
        ),
        (
            {"space": {"loops.entropy.limits.high": {"low": 0.5, "high": 1}}},
            "a list whose places are 0 to 1, got 'high'; name one of those",
        ),
        (
            {"space": {"loops.entropy.limits.1.x": {"low": 0.5, "high": 1}}},
            "loops.entropy.limits.1 is 1.0 in this arm and has no keys; set it there",
        ),
        (
            {"space": {"policy.lora_targets.0": {"choices": ["a"]}}},
            "there is no 'lora_targets' in policy",
        ),
        (
            {"space": {"rollout.stop.0": {"choices": ["a"]}}},
            "rollout.stop is an empty list in this arm and has no place '0'; fill it there",
        ),
        ({"space": {"loops.entropy.limits.1": {"low": -0.5, "high": 1}}}, "limits"),
        (
            {"space": {"loops.entropy.limits.01": {"low": 0.5, "high": 1}}},
            "a list whose places are 0 to 1, got '01'; name one of those",
        ),
        ({"worker": 3}, "worker: unknown key; did you mean 'workers'?"),
        ({"lease_seconds": 30.0}, "study.yaml: lease_seconds is now stale_seconds"),
        ({"stale_seconds": 3}, "stale_seconds"),
    ],
)
def test_bad_input_is_one_clear_line(make_study, tmp_path, changes, says):
    message = refusal(make_study, **changes)
    assert says in message
    assert str(tmp_path / "study.yaml") in message
    assert not (tmp_path / "runs").exists()


def test_a_place_of_a_list_can_be_searched(make_study):
    study = make_study(space={"loops.entropy.limits.1": {"low": 0.2, "high": 0.8}}, simulation=SIMULATION)
    params = {"loops.entropy.limits.1": 0.5}
    assert study.candidate(params).config.loops["entropy"].limits == (0.0, 0.5)
    assert study.simulated_loop(params).limits == (0.0, 0.5)
    assert study.candidate({}).config.loops["entropy"].limits == (0.0, 1.0)


def test_a_campaign_is_told_from_a_study(make_study, tmp_path):
    make_study()
    with pytest.raises(ConfigError) as caught:
        read_study(tmp_path / "campaign.yaml")
    message = f"{tmp_path}/campaign.yaml: this is a campaign, not a study; give it to `entrostat run`"
    assert str(caught.value).startswith(message)
    result = CliRunner().invoke(app, ["validate", str(tmp_path / "study.yaml")])
    assert result.exit_code == 2
    message = f"error: {tmp_path}/study.yaml: this is a study, not a campaign; give it to `entrostat tune`\n"
    assert result.output == message


def test_a_plant_of_another_actuator_is_refused(make_study):
    plant = {**PLANT, "channel": {**PLANT["channel"], "actuator": {"kind": "temperature"}}}
    message = refusal(make_study, in_plant=plant, simulation=SIMULATION)
    assert "nowhere" not in message
    assert "is from 'temperature' to 'entropy', and the loop 'entropy' from 'bonus' to 'entropy'" in message


def test_an_objective_that_needs_a_setpoint_is_refused_without_one(make_study):
    campaign = {"arms": [{"name": "held", "method": "grpo"}]}
    message = refusal(
        make_study, in_campaign=campaign, space={"learner.learning_rate": {"low": 1e-4, "high": 1e-3}}
    )
    assert "'iae' needs a loop with a setpoint, and arm 'held' has none" in message


def test_the_loop_that_is_judged_is_the_first_with_a_setpoint(make_study):
    fixed = {
        "reference": {"kind": "none"},
        "law": {"kind": "open_loop", "value": 1.0},
        "actuator": {"kind": "temperature"},
    }
    held = {
        "reference": {"kind": "constant", "value_nats": 0.2},
        "law": {"kind": "pid", "kp": 1.0, "ki": 0.1},
        "actuator": {"kind": "bonus"},
    }
    arm = {"name": "held", "loops": {"fixed": fixed, "entropy": held}}
    assert make_study(in_campaign={"arms": [arm]}).loop == "entropy"


def test_sensitivity_of_a_law_that_linear_theory_does_not_know_is_refused(make_study):
    kind = "loops.entropy.law.kind"
    space = {
        kind: {"choices": ["pid", "dual_ascent"]},
        "loops.entropy.law.rate": {"low": 0.1, "high": 1, "when": {kind: "dual_ascent"}},
        "loops.entropy.law.initial": {"choices": [0.1], "when": {kind: "dual_ascent"}},
        KP: {"low": 0.1, "high": 1, "when": {kind: "pid"}},
        KI: {"low": 0.1, "high": 1, "when": {kind: "pid"}},
    }
    message = refusal(make_study, space=space, simulation=SIMULATION, constraints={"sensitivity": 1.8})
    assert "constraints.sensitivity: is known of 'pid' laws only" in message
    assert make_study(space=space, simulation=SIMULATION).loop == "entropy"


def test_a_candidate_is_the_arm_with_its_parameters(make_study):
    study = make_study(simulation=SIMULATION)
    loop = study.candidate({KP: 3.0, KI: 0.5}).config.loops["entropy"]
    assert (loop.law.kp, loop.law.ki, loop.law.error) == (3.0, 0.5, "log")
    assert loop.plant == study.start.plant  # for the report
    assert study.start.initial_nats == 0.5  # where the plant's runs began
    assert study.simulated_loop({KP: 3.0, KI: 0.5}).law == loop.law


def test_another_kind_replaces_the_part(make_study):
    kind = "loops.entropy.law.kind"
    params = {kind: "dual_ascent", "loops.entropy.law.rate": 0.1, "loops.entropy.law.initial": 0.2}
    law = make_study().candidate(params).config.loops["entropy"].law
    assert (law.kind, law.rate) == ("dual_ascent", 0.1)


def test_seeds_are_the_campaigns_unless_given(make_study):
    assert make_study(seeds=None, in_campaign={"seeds": [4, 5, 6]}).seeds == (4, 5, 6)
    assert make_study(seeds=[1]).seeds == (1,)


def test_what_is_laid_over_the_campaign_reaches_the_arm_and_the_definition(make_study):
    study = make_study()
    shorter = make_study(over={"learner": {"iterations": 7}, "evaluation": {"pass_at": [2, 4]}})
    assert shorter.num_iterations == 7
    assert shorter.arm.config.evaluation.pass_at == (2, 4)
    assert shorter.definition() != study.definition()  # trials of other lengths are not compared


def test_overrides(write_study):
    assert read_study(write_study(), ["budget.trials=7"]).config.budget.trials == 7


@pytest.mark.parametrize("file", sorted((ROOT / "configs" / "studies").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_shipped_studies_are_valid(file):
    assert read_study(file).config.name == file.stem


def test_the_study_of_the_docs_is_valid(tmp_path):
    page = (ROOT / "docs" / "studies.md").read_text()
    (text,) = re.findall(r"```yaml\n(name: .*?)```", page, flags=re.DOTALL)
    path = tmp_path / "study.yaml"
    path.write_text(text.replace("../", f"{ROOT}/configs/"))
    study = read_study(path)
    assert study.num_iterations == 100
    assert study.config.space["loops.entropy.filter.decay"].when == {"loops.entropy.filter.kind": "ema"}


def test_the_schema_accepts_the_shipped_studies_and_no_unknown_key():
    schema = json_schema("study")
    for file in (ROOT / "configs" / "studies").glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(file.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**yaml.safe_load(file.read_text()), "worker": 1}, schema)
