"""`entrostat identify`: the plant that made the records comes back, within its errors; or a refusal."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from controllers.identification import Recording, identify
from orchestrator.cli import app
from orchestrator.engineering.plant_file import read_plant
from orchestrator.engineering.sources import choose, find_runs, signals
from orchestrator.tracking.store import open_client
from orchestrator.tracking.tracker import Tracker
from tests.orchestrator.engineering.conftest import INITIAL_NATS, PLANT, loop_content

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The working directory; the picture, half a second each time, is drawn in one test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.commands.identify.identification_picture", lambda *_: b"png")
    return tmp_path


def call(*arguments, uri=None):
    result = CliRunner().invoke(app, ["identify", *map(str, arguments), *(["--uri", uri] if uri else [])])
    return result.exit_code, " ".join(result.output.split())


def test_the_plant_comes_back_within_three_errors(make_simulated):
    make_simulated({"moved": loop_content()}, seeds=(0, 1, 2), num_iterations=200)
    code, output = call("simulated")
    assert code == 0, output
    file = read_plant(Path("plant.yaml"))
    assert abs(file.plant.b[0] - 0.15) < 3 * file.plant.standard_errors[len(file.plant.a)]
    assert file.plant.noise_std == pytest.approx(PLANT.noise_std, rel=0.1)
    assert abs(file.plant.holding_command(0.2) - PLANT.holding_command(0.2)) < 0.1
    assert f"b_0 {file.plant.b[0]:.4g} ± {file.plant.standard_errors[len(file.plant.a)]:.2g}" in output
    assert f"noise {100 * file.plant.noise_std:.2g} % of the level an iteration" in output
    assert f"{file.plant.num_samples} rows, the first 20 iterations left out" in output
    assert "usable yes: a constant unit of command moves entropy by" in output
    assert f"and a command of {file.plant.holding_command(file.plant.level_nats):.3g} holds" in output


def test_it_is_what_the_mathematics_gives_on_the_records_without_the_transient(make_simulated):
    campaign = make_simulated({"moved": loop_content()}, num_iterations=120)
    source = find_runs("simulated", folder=campaign.path.parent, uri=None)
    chosen = choose(source)
    for skip, coordinates in ((20, "log"), (50, "absolute")):
        options = [] if skip == 20 else ["--skip", skip, "--coordinates", coordinates]
        assert call("simulated", *options)[0] == 0
        records = []
        for run in chosen.runs:
            seen = signals(run, "entropy", chosen.config)
            records.append(
                Recording(name=seen.name, y=seen.y[skip:], u=seen.u[skip:], dither=seen.dither[skip:])
            )
        file = read_plant(Path("plant.yaml"))
        assert file.plant == identify(records, coordinates=coordinates).plant
        assert file.origin.skipped_iterations == skip


def test_the_file_says_what_it_is_of(make_simulated):
    make_simulated({"quiet": loop_content(dither=False), "moved": loop_content(limits=[-0.8, 1.0])})
    call("simulated", "--output", "out/p.yaml")
    file = read_plant(Path("out/p.yaml"))
    assert file.channel.actuator.kind == "bonus"
    assert file.channel.limits == (-0.8, 1.0)
    assert file.channel.learning_rate == 3e-4
    assert file.channel.initial_nats == pytest.approx(INITIAL_NATS)
    assert (file.origin.campaign, file.origin.arm, file.origin.loop) == ("simulated", "moved", "entropy")
    assert file.origin.runs == ("moved seed 0", "moved seed 1", "moved seed 2")
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "p-identification.txt",
        "p-ten-steps.png",
        "p.yaml",
    ]
    assert "check by instrumental variables" in Path("out/p-identification.txt").read_text()


def test_rollouts_ahead_of_the_learner_delay_what_a_temperature_does(make_simulated):
    """Delays are searched beyond the usual 3, and the file says which ahead its delay has in it."""
    late = replace(PLANT, delay=5, drift=-0.2305)  # which a temperature factor of 1 holds
    warm = loop_content(actuator={"kind": "temperature"}, limits=[0.2, 5.0], kp=0.3)
    make_simulated({"moved": warm}, plant=late, num_iterations=200, rollout={"ahead": 4})
    code, output = call("simulated")
    assert code == 0, output
    file = read_plant(Path("plant.yaml"))
    assert file.plant.dead_time == 5
    assert file.channel.ahead == 4


def test_readings_of_the_update_delay_what_a_bonus_does(make_simulated):
    learner = {"iterations": 200, "learning_rate": 3e-4, "measure": "in_update"}
    late = replace(PLANT, delay=4)
    make_simulated({"moved": loop_content()}, plant=late, num_iterations=200, learner=learner)
    code, output = call("simulated")
    assert code == 0, output
    file = read_plant(Path("plant.yaml"))
    assert file.plant.dead_time == 4  # beyond the usual 3
    assert (file.channel.measure, file.channel.dead_time) == ("in_update", 1)


def test_warm_up_is_left_out_even_where_it_is_long(make_simulated):
    learner = {"iterations": 150, "learning_rate": 3e-4, "warmup_iterations": 40}
    make_simulated({"moved": loop_content()}, learner=learner)
    call("simulated")
    assert read_plant(Path("plant.yaml")).origin.skipped_iterations == 40


def test_what_a_phase_changes_is_left_out(make_simulated):
    make_simulated({"moved": loop_content()}, phases=[{"start": 0}, {"start": 100}], num_iterations=150)
    code, output = call("simulated")
    assert code == 0
    assert "iterations from 100 on, where a phase changes the plant, were left out" in output
    whole = read_plant(Path("plant.yaml")).plant.num_samples
    assert whole <= 3 * 80


def test_the_picture_is_drawn(make_simulated, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    make_simulated({"moved": loop_content()}, num_iterations=120)
    assert call("simulated")[0] == 0
    assert Path("plant-ten-steps.png").read_bytes().startswith(b"\x89PNG")


def test_records_come_from_mlflow_and_the_plant_goes_there(make_simulated, mlflow_uri):
    campaign = make_simulated({"moved": loop_content()}, num_iterations=120)
    assert Tracker(campaign, mlflow_uri, artifacts=False).finish() == []
    call("simulated")
    from_folder = read_plant(Path("plant.yaml")).plant
    campaign.path.rename(campaign.path.with_name("gone"))
    code, output = call("simulated", uri=mlflow_uri)
    assert code == 0, output
    assert read_plant(Path("plant.yaml")).plant == from_folder
    client = open_client(mlflow_uri)
    experiment = client.get_experiment_by_name("simulated").experiment_id
    (run,) = client.search_runs([experiment], "tags.`entrostat.kind` = 'identification'")
    assert run.data.metrics["plant/noise_std"] == pytest.approx(from_folder.noise_std)
    assert run.data.params["runs"] == '["moved seed 0", "moved seed 1", "moved seed 2"]'
    sent = {item.path for item in client.list_artifacts(run.info.run_id, "identification")}
    assert sent == {
        f"identification/plant{end}" for end in (".yaml", "-identification.txt", "-ten-steps.png")
    }
    again, _ = call("simulated", uri=mlflow_uri)  # what identify has tracked is no run to identify from
    assert again == 0


def test_identify_design_and_simulate_make_a_preset_that_predicts(make_simulated):
    make_simulated({"moved": loop_content()}, num_iterations=200)
    assert call("simulated")[0] == 0
    runner = CliRunner()
    for command in (
        ["design", "plant.yaml", "--settling", "25", "--setpoint", "0.25", "--name", "held"],
        ["simulate", "held.yaml", "--iterations", "60", "--seeds", "20"],
    ):
        result = runner.invoke(app, [*command, "--uri", UNREACHABLE])
        assert result.exit_code == 0, result.output
    loop = yaml.safe_load(Path("held.yaml").read_text())["loops"]["entropy"]
    assert loop["plant"]["noise_std"] == read_plant(Path("plant.yaml")).plant.noise_std
    rows = Path("held-simulated.csv").read_text().splitlines()
    header, last = (row.split(",") for row in (rows[0], rows[-1]))
    assert float(last[header.index("y_median")]) == pytest.approx(0.25, rel=0.15)


def test_a_command_without_effect_is_said_to_be_of_no_use(make_simulated):
    make_simulated({"moved": loop_content()}, num_iterations=120, plant=replace(PLANT, b=(1e-9,)))
    code, output = call("simulated")
    assert code == 0, output
    assert "usable no: the command has no detectable effect at all (p = " in output


AUTO = {"law": {"kind": "auto"}, "dither": False}


@pytest.mark.parametrize("push", [0.15, 0.4])
def test_a_run_under_auto_tells_the_push_without_a_dither(make_simulated, here, push):
    """An integrator's push comes back within three of the errors that are given, and so does where it balances."""
    plant = replace(PLANT, a=(1.0,), b=(push,), drift=-0.03)
    make_simulated({"free": None, "held": loop_content(**AUTO)}, num_iterations=200, plant=plant)
    code, output = call("simulated")
    assert code == 0, output
    assert "simulated, arm held: from bonus to entropy" in output
    assert "from what the law auto had learnt by iteration 199 of 3 runs, without a dither" in output
    assert "usable yes: the full command pushes entropy by" in output
    found, error = map(float, re.search(r"of a unit of command (\S+) ± (\S+)", output).groups())
    assert abs(found - push) < 3 * error
    assert error < 0.5 * push
    holding, error = map(float, re.search(r"command that holds (\S+) ± (\S+)", output).groups())
    assert abs(holding - 0.03 / push) < 3 * error
    assert "none is written" in output
    assert [path.name for path in here.iterdir() if path.is_file()] == []


def test_it_is_the_last_that_each_run_recorded_weighed_by_its_error(make_simulated):
    campaign = make_simulated({"held": loop_content(**AUTO)}, seeds=(0, 1), num_iterations=60)
    last = [
        json.loads((campaign.run("held", seed).path / "metrics.jsonl").read_text().splitlines()[-1])[
            "metrics"
        ]
        for seed in (0, 1)
    ]
    values, errors = ([each[f"loop/entropy/estimate/push{end}"] for each in last] for end in ("", "_std"))
    weights = [1 / error**2 for error in errors]
    mean = sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)
    _, output = call("simulated")
    assert f"push {mean:.3g} ± " in output
    measured = [
        json.loads(line)["metrics"]["loop/entropy/y"]
        for seed in (0, 1)
        for line in (campaign.run("held", seed).path / "metrics.jsonl").read_text().splitlines()[-10:]
    ]
    assert f"level {sum(measured) / 20:.3g} nats/token, the last 10 measurements" in output
    for seed in (0, 1):
        assert f"held seed {seed} push {values[seed]:.3g} ± {errors[seed]:.2g} ln nats, shift" in output


def test_a_full_command_is_the_smaller_side_of_the_limits(make_simulated):
    """The law counts 0.2 as 1: the plant's own push of a unit, 0.5, and its balance, 0.05 / 0.5, come back."""
    plant = replace(PLANT, a=(1.0,), b=(0.5,), drift=-0.05)
    make_simulated({"held": loop_content(**AUTO, limits=[-0.2, 0.5])}, num_iterations=200, plant=plant)
    _, output = call("simulated")
    assert "full command 0.2 loss per nat from neutral" in output
    found, error = map(float, re.search(r"of a unit of command (\S+) ± (\S+)", output).groups())
    assert abs(found - 0.5) < 3 * error < 0.5
    holding, error = map(float, re.search(r"command that holds (\S+) ± (\S+)", output).groups())
    assert abs(holding - 0.1) < 3 * error < 0.1


def test_a_limit_that_did_not_hold_is_no_use(make_simulated):
    """The drift is more than a command of 0.05 can push against."""
    plant = replace(PLANT, a=(1.0,), b=(2.0,), drift=-0.2)
    make_simulated({"held": loop_content(**AUTO, limits=[-0.05, 0.05])}, num_iterations=60, plant=plant)
    _, output = call("simulated")
    runs = ", ".join(f"held seed {seed}" for seed in (0, 1, 2))
    assert (
        f"usable no: at its limit it did not hold the setpoint in {runs}; the full command pushes" in output
    )


def test_records_of_a_version_that_recorded_nothing_learnt_are_refused(make_simulated):
    campaign = make_simulated({"held": loop_content(**AUTO)}, seeds=(0,), num_iterations=20)
    file = campaign.run("held", 0).path / "metrics.jsonl"
    file.write_text(file.read_text().replace("/estimate/", "/belief/"))
    code, output = call("simulated")
    assert code == 2
    assert "simulated: arm 'held', loop 'entropy': has no records of what its law has learnt" in output


@pytest.mark.parametrize(
    ("arms", "options", "plant", "message"),
    [
        ({"moved": loop_content()}, ["--arm", "x"], PLANT, "simulated: no arm 'x'; known: moved"),
        ({"quiet": loop_content(dither=False)}, [], PLANT, "no arm has a dither"),
        ({"free": None}, ["--arm", "free"], PLANT, "arm 'free' has no loop"),
        (
            {"quiet": loop_content(dither=False)},
            ["--arm", "quiet"],
            PLANT,
            "simulated: arm 'quiet', loop 'entropy': the plant is not identifiable",
        ),
        ({"moved": loop_content()}, ["--skip", 118], PLANT, "identification needs"),
        (
            {"moved": loop_content()},
            [],
            replace(PLANT, b=(-0.15,)),
            "simulated: arm 'moved', loop 'entropy': the command lowers entropy",
        ),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(make_simulated, here, arms, options, plant, message):
    make_simulated(arms, num_iterations=120, plant=plant)
    code, output = call("simulated", *options)
    assert code == 2
    assert message in output
    assert "error: " in output
    assert [path.name for path in here.iterdir() if path.is_file()] == []


def test_an_unknown_campaign_is_said_so():
    code, output = call("nothing")
    assert code == 2
    assert "no campaign 'nothing' in" in output


def test_the_largest_order_is_the_users(make_simulated):
    """The warnings tell of a higher or lower one."""
    make_simulated({"moved": loop_content()}, seeds=(0, 1), num_iterations=120)
    code, output = call("simulated", "--max-order", 1)
    assert code == 0, output
    assert "ARX(1, 1, delay 1)" in output
    assert "ARX(2" not in output
    assert call("simulated", "--max-order", 0)[0] == 2
