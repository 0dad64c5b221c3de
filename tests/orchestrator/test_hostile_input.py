"""What else a user can hand in: options, names, numbers, plants, damaged state, places that cannot be written to."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import orchestrator.report
from controllers.plants.plant import Plant
from orchestrator.cli import app
from orchestrator.commands.clear_errors import EXIT_BAD_INPUT
from orchestrator.configuration.learner import LearnerConfig
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.models import CampaignConfig
from orchestrator.configuration.resolve import parse
from orchestrator.errors import ConfigError
from orchestrator.storage.run_folder import CampaignFolder
from orchestrator.tuning.models import Dimension, StudyConfig
from policies.model.sources import local_source, model_config
from tasks import TASKS

CONFIGS = Path(__file__).parents[2] / "configs"
PLANT = yaml.safe_load((CONFIGS / "control" / "bonus_plant.yaml").read_text())
LOOP = {"law": {"kind": "pid", "kp": 1.0, "ki": 0.1}, "actuator": {"kind": "bonus"}}


def refused(*arguments: object) -> str:
    """The one message that a command ends with, beside status 2."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == EXIT_BAD_INPUT, repr(result.exception)
    assert isinstance(result.exception, SystemExit)
    lines = result.stderr.rstrip("\n").split("\n")
    assert lines[0].startswith("error: "), result.stderr
    assert all(line.isprintable() and len(line) < 2500 for line in lines)
    return result.stderr


def refused_by(model, content) -> str:
    with pytest.raises(ConfigError) as error:
        parse(model, content, "x.yaml")
    return str(error.value)


# A campaign's values: the change, and what its message holds.
VALUES = [
    ({"learner.iterations": True}, "learner.iterations: must be a number, got True; write one"),
    ({"learner.betas": [False, 0.9]}, "learner.betas.0: must be a number, got False"),
    ({"seeds": [True]}, "seeds.0: must be a number, got True"),
    ({"arms.1.loops.entropy.law": {"kp": True}}, "loops.entropy.law.kp: must be a number, got True"),
    ({"task.num_digits": True}, "task.num_digits: must be a number, got True"),
    ({"policy.architecture.num_layers": True}, "policy.architecture.num_layers: must be a number, got True"),
    (
        {"guardrails": {"collapse": {"patience": True}}},
        "guardrails.collapse.patience: must be a number, got True",
    ),
    ({"learner.recompute_activations": 1}, "learner.recompute_activations: must be true or false, got 1"),
    (
        {"learner.iterations": 1e40},
        "learner.iterations: must be a whole number of at most 64 bits, got 1e+40; lower",
    ),
    ({"learner.iterations": 2**63}, "learner.iterations: must be a whole number of at most 64 bits"),
    ({"learner.iterations": float("nan")}, "learner.iterations: must be a whole number"),
    ({"learner.learning_rate": float("inf")}, "learner.learning_rate: "),
    ({"task": {"kind": "math_word", "dataset": ""}}, "task: dataset must be a name, got ''; name it"),
    ({"task": {"kind": "math_word", "path": " "}}, "task: path must be a name, got ' '; name it"),
    (
        {"task": {"kind": "reasoning_gym", "dataset": ""}},
        "task: dataset must be one of reasoning-gym's, got ''",
    ),
    (
        {"task": {"kind": "jsonl", "path": "x", "answer_pattern": "a{99999999999}"}},
        "task: answer_pattern must be a",
    ),
    (
        {"task": {"kind": "jsonl", "path": "x", "answer_pattern": "(" * 900}},
        "task: answer_pattern must be a regular",
    ),
    (
        {"task": {"kind": "jsonl", "path": "x", "answer_pattern": "a" * 2000}},
        "must have at most 1000 characters, got",
    ),
    ({"task": {"kind": "jsonl", "path": "~nosuchuser/x"}}, "task: "),
    ({"task": {"kind": "jsonl", "path": ""}, "rollout.stop": ["+"]}, "task: "),
    ({"policy.source": "~nosuchuser"}, "policy.source: '~nosuchuser' cannot be looked for"),
    ({"policy.source": "x" * 5000}, "policy.source: 'xxx"),
    ({"policy.source": ""}, "policy.source: a path must be a text"),
    ({"arms.0.method": "x" * 300}, "arms.grpo.method: unknown method 'xxx"),
    ({"arms.0.method": f"{'x' * 300}.yaml"}, "arms.grpo.method: "),
    ({"arms.0.method": "."}, "arms.grpo.method: unknown method '.'"),
    ({"arms.0.name": "a."}, "arms.0.name: must not end in a dot, got 'a.'; remove it"),
    ({"arms.0.name": "HELD"}, "arms: 'HELD' and 'held' are the same folder on some systems"),
    ({"name": "mlflow.db"}, "name: must not be 'mlflow.db', a name that runs and MLflow reserve"),
    ({"name": "MLartifacts"}, "name: must not be 'MLartifacts'"),
    ({"name": "Nul.txt"}, "name: must not be 'Nul.txt', the name of a device on some systems"),
    ({"name": ".."}, "name: "),
    ({"name": "a\nb"}, "name: "),
    ({"a\nb": 1}, r"'a\nb': unknown key"),
    ({"x" * 5000: 1}, "unknown key"),
    (
        {"execution": {"executor": {"kind": "ray", "resources": {"a100": True}}}},
        "a100: must be a number, got True",
    ),
    (
        {"execution": {"executor": {"kind": "slurm", "time_minutes": 1e30}}},
        "time_minutes: must be a whole number",
    ),
]
VALUES += [
    (
        {"arms.0.name": name},
        f"arms.0.name: must not be '{name}', a name that campaigns and studies reserve",
    )
    for name in (
        "lock",
        "Lock",
        "campaign.json",
        "tracking.json",
        "REPORT",
        "slurm",
        "ray.txt",
        "journal.log",
        "study.db",
        "trial-1",
    )
]


@pytest.mark.parametrize(
    ("changes", "expected"), VALUES, ids=[f"{next(iter(c.items()))}"[:40] for c, _ in VALUES]
)
def test_a_value_is_refused_when_the_campaign_is_read(write_campaign, changes, expected):
    path = write_campaign(changes)
    message = refused("validate", path)
    assert str(path) in message
    assert expected in message


def test_a_truth_value_is_no_number_in_any_part_and_no_number_a_truth_value():
    assert "law.kp: must be a number, got True" in refused_by(
        LoopConfig, {**LOOP, "law": {**LOOP["law"], "kp": True}}
    )
    assert "limits.1: must be a number" in refused_by(LoopConfig, {**LOOP, "limits": [0.0, True]})
    assert "plant.a.0: must be a number" in refused_by(
        LoopConfig, {**LOOP, "plant": {**PLANT["plant"], "a": [True]}}
    )
    assert "log: must be true or false, got 1" in refused_by(Dimension, {"low": 1, "high": 2, "log": 1})
    assert parse(Dimension, {"choices": [1, True, 0.5, "a", None]}, "x").choices == (1, True, 0.5, "a", None)
    # What an environment variable gives is a text, and a whole number may be written with a point.
    assert parse(LearnerConfig, {"iterations": "5", "epochs": 2.0}, "x").iterations == 5


def test_faults_are_a_line_each_and_not_thousands():
    message = refused_by(CampaignConfig, {f"key{i}": i for i in range(1000)})
    assert message.count("\n") == 40
    assert message.endswith("and 964 more")  # name, task, learner and arms are missing too


@pytest.mark.parametrize(
    ("step", "high", "fits"),
    [(1e-300, 1.0, False), (1e-9, 1.0, False), (1e-6, 1.0, True), (0.1, 1e300, False)],
)
def test_a_step_leaves_values_that_can_be_counted(step, high, fits):
    content = {"low": 0.0, "high": high, "step": step}
    if fits:
        assert parse(Dimension, content, "x").step == step
    else:
        assert "step must leave at most 1000000 values between low and high" in refused_by(Dimension, content)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"covariance": [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]},
            "positive semi-definite, got an eigenvalue",
        ),
        (
            {"covariance": [[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]},
            "semi-definite, got an eigenvalue of -1",
        ),
        ({"covariance": [[1.0, 0.5, 0.0], [0.1, 1.0, 0.0], [0.0, 0.0, 1.0]]}, "must be symmetric"),
        (
            {"covariance": [[1e200, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]},
            "must be finite and below 1e+100",
        ),
        ({"covariance": [[float("nan")] * 3] * 3}, "must be finite and below 1e+100, got nan"),
        ({"delay": 10**12}, "delay be at most 1000, got 2 and 1000000000000"),
        ({"a": (0.0,) * 5000}, "at most 100 coefficients"),
        ({"num_samples": -1}, "num_samples must be >= 0, got -1"),
    ],
)
def test_a_plant_is_one_that_can_be_drawn_and_simulated(changes, expected):
    known = {
        "coordinates": "log",
        "a": (0.9,),
        "b": (0.1,),
        "delay": 1,
        "drift": 0.0,
        "noise_std": 0.1,
        "level_nats": 1.0,
    }
    Plant(**known, covariance=((1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    with pytest.raises(ValueError, match=re.escape(expected)):
        Plant(**known | changes)


def test_what_lies_beside_a_plant_breaks_no_design(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plant = tmp_path / "plant.yaml"
    plant.write_text(yaml.safe_dump(PLANT))
    beside = [
        "'${",
        "[" * 100_000,
        "null: 1",
        "!!set {a}",
        "a: " + "9" * 5000,
        "",
        "- a",
        "\x00",
        "plant: {a: [1e999]}",
    ]
    for number, text in enumerate(beside):
        (tmp_path / f"{number}.yaml").write_text(text)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "device.yaml").symlink_to("/dev/zero")
    (tmp_path / "nowhere.yaml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.yaml")
    message = refused(
        "design", plant, "--settling", "30", "--setpoint", "1e9"
    )  # more than the limits let it hold
    assert f"{plant}: " in message


@pytest.mark.parametrize("output", ["/", "", ".", "..", "x" * 300, "/dev/null/x", "plant.yaml/x"])
@pytest.mark.parametrize("command", ["design", "simulate"])
def test_an_output_that_is_no_file_is_refused(tmp_path, monkeypatch, command, output):
    monkeypatch.chdir(tmp_path)
    Path("plant.yaml").write_text(yaml.safe_dump(PLANT))
    Path("preset.yaml").write_text(
        yaml.safe_dump(
            {
                "method": "m",
                "summary": "s",
                "source": "s",
                "loops": {"entropy": LOOP | {"reference": {"kind": "constant", "value_nats": 0.2}}},
            }
        )
    )
    arguments = {
        "design": ["plant.yaml", "--settling", "30"],
        "simulate": ["preset.yaml", "--plant", "plant.yaml", "--seeds", "2", "--iterations", "4"],
    }
    assert "--output" in refused(command, *arguments[command], "--output", output)


@pytest.mark.parametrize("option", ["--ms", "--time-constant", "--setpoint", "--fraction"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_a_number_on_the_command_line_is_finite(tmp_path, option, value):
    (tmp_path / "plant.yaml").write_text(yaml.safe_dump(PLANT))
    assert f"{option}: must be finite" in refused("design", tmp_path / "plant.yaml", option, value)


DAMAGES = [
    b"",
    b"{",
    b"[]",
    b"5",
    b"null",
    b"\xff",
    b"[" * 100_000,
    b'{"name": 5}',
    b'{"config": []}',
    b'{"status": "dancing"}',
]
DAMAGES += [
    b'{"seed": "x"}',
    b'{"step": 1}\n',
    b'[{"to": []}]',
    b'{"iteration": 1, "detector": "x", "value": "y"}\n',
    b'{"pid": "x"}',
]
DAMAGES += [
    b'{"step":0,"kind":"train","time":0,"metrics":5}\n',
    b'{"step":"x","kind":"train","time":0,"metrics":{}}\n',
    b'{"step":0,"kind":"train","time":0,"metrics":{"entropy":"y"}}\n',
    b'{"step":99999999999999999999,"kind":"train","time":0,"metrics":{"entropy":1}}\n',
]
STATE = [
    "campaign.json",
    *(
        f"grpo/seed-0/{name}"
        for name in ("run.json", "status.json", "metrics.jsonl", "guardrails.jsonl", "rollbacks.json")
    ),
]


@pytest.mark.parametrize("name", STATE)
def test_damaged_state_names_its_file_and_the_cure(make_campaign, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(orchestrator.report, "write_page", lambda *_: None)
    campaign = make_campaign(seeds=(0,), arms=("grpo",))
    path, num_refused = campaign.path / name, 0
    for damage in DAMAGES:
        path.write_bytes(damage)
        result = CliRunner().invoke(app, ["compare", "quickstart"])
        if result.exit_code:
            message = refused("compare", "quickstart")
            assert path.name in message
            assert re.search("delete|restore|run the campaign", message), message
            num_refused += 1
    assert num_refused >= (4 if name.endswith("l") else 8)  # a line that is not whole is left for later


def test_a_damaged_folder_stops_a_command_that_writes_into_it(write_campaign):
    path = write_campaign()
    folder = CampaignFolder(path.parent / "runs" / "small")
    assert CliRunner().invoke(app, ["prepare", str(path)]).exit_code == 0
    for damaged in (
        folder.run("grpo", 0).path / "status.json",
        folder.run("grpo", 0).path / "run.json",
        folder.path / "campaign.json",
    ):
        damaged.write_text("{")
        assert f"{damaged}: not valid JSON" in refused("prepare", path)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "Read-only file system; make it writable, or name another place"),
        (errno.EACCES, "Permission denied; make it writable"),
        (errno.ENOTDIR, "Not a directory; check the path"),
    ],
)
def test_what_the_file_system_refuses_is_one_message(write_campaign, monkeypatch, number, expected):
    path = write_campaign()

    def refuse(place):
        raise OSError(number, os.strerror(number), str(place))

    monkeypatch.setattr("orchestrator.storage.files._open_beside", refuse)
    message = refused("prepare", path)
    assert expected in message
    assert "runs/small" in message


def test_a_file_in_the_place_of_a_folder_is_named(write_campaign):
    path = write_campaign()
    (path.parent / "runs").write_text("")
    assert f"tracking.folder: {path.parent}/runs/small cannot be written to" in refused("prepare", path)


@pytest.mark.parametrize(
    "filter",
    [
        "",
        "=",
        "'",
        "metrics.",
        "tags.`a",
        "a" * 10_000,
        "\x00",
        "\ud800",
        "params.x = 1; drop table",
        "(((((",
    ],
)
def test_a_filter_that_is_none_is_refused(tmp_path, mlflow_uri, filter):
    message = refused("compare", "--uri", mlflow_uri, "--folder", tmp_path, "--filter", filter)
    assert "filter" in message or "nothing to compare" in message


@pytest.mark.parametrize("name", ["", "x" * 300, "a\0b", "~nosuchuser", "../..", "/dev/null"])
def test_a_campaign_that_no_folder_can_have_is_refused(tmp_path, name):
    refused("compare", "--folder", tmp_path, name)


def test_a_model_folder_with_a_broken_config_is_none(tmp_path):
    for text in ("[" * 100_000, "[]", "5", '{"vocab_size": 1e999}', "\x00"):
        (tmp_path / "config.json").write_text(text)
        assert isinstance(model_config(str(tmp_path)), dict)
        assert local_source(str(tmp_path)) == tmp_path


def test_a_study_keeps_its_folder_apart_too():
    content = {"name": "mlflow.db", "campaign": "c", "arm": "a", "space": {"x": {"low": 0, "high": 1}}}
    assert "name: must not be 'mlflow.db'" in refused_by(StudyConfig, content)


def test_every_pattern_of_a_task_is_looked_at_when_it_is_made():
    with pytest.raises(ValueError, match="answer_pattern must be a regular expression, got"):
        TASKS["jsonl"](path="x", answer_pattern="a{99999999999}")
