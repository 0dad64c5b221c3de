"""`entrostat design`: a preset that a campaign takes, with margins that are those of its loop; or a refusal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from controllers.design import margins, stability_map
from controllers.plants.simulation import simulate_many
from orchestrator.cli import app
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.resolve import read_campaign, read_method
from orchestrator.engineering.curves import Analysis, answers, frequencies, region, stable_gains
from orchestrator.tracking.store import open_client
from tests.orchestrator.engineering.conftest import PLANT

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]


UNREACHABLE = "http://127.0.0.1:9"


def call(*arguments, uri=UNREACHABLE):
    result = CliRunner().invoke(app, ["design", *map(str, arguments), "--uri", uri])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, where the preset goes; pictures, a second each time, are drawn in one test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.commands.design.design_pictures", lambda _: {"bode": b"png"})
    return tmp_path


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir() if path.is_file())


def test_the_preset_is_read_by_a_campaign_and_settles_as_asked(here, write_plant, write_campaign):
    code, output = call(write_plant(), "--settling", 15, "--setpoint", 0.25, "--output", "held.yaml")
    assert code == 0, output
    method = read_method("held.yaml", here / "campaign.yaml")
    loop = LoopConfig(**method.loops["entropy"])
    assert loop.plant == PLANT
    assert loop.limits == (-1.0, 1.0)
    found = margins(PLANT, loop.law)
    assert found.ms <= 1.6
    assert f"{found.ms:.3g}" in output
    assert f"{found.delay_margin:.3g} iterations" in output
    quiet = replace(PLANT, noise_std=0.0, covariance=())
    y = simulate_many([loop.build()], quiet, 60, [0], initial_nats=0.24).y[0, 0]
    assert abs(y[15:] / 0.25 - 1).max() < 0.05 * 0.05 + 0.002  # 5 % of a step of 4 %

    campaign = read_campaign(write_campaign({"arms.1.method": "held.yaml", "arms.1.loops": {}}))
    arm = campaign.arms[1]
    assert arm.config.loops["entropy"].law == loop.law
    assert arm.config.loops["entropy"].reference.value_nats == 0.25


def test_the_plant_decides_no_result(here, write_plant, write_campaign):
    call(write_plant(), "--ms", 1.4, "--output", "held.yaml")
    changes = {"arms.1.method": "held.yaml", "arms.1.loops": {}}
    arm = read_campaign(write_campaign(changes)).arms[1]
    assert arm.config.loops["entropy"].plant == PLANT
    content = yaml.safe_load((here / "held.yaml").read_text())
    content["loops"]["entropy"]["plant"]["drift"] += 0.1
    (here / "held.yaml").write_text(yaml.safe_dump(content))
    other = read_campaign(here / "campaign.yaml").arms[1]
    assert other.plain != arm.plain
    assert other.fingerprint == arm.fingerprint
    content["loops"]["entropy"]["law"]["kp"] += 0.1
    (here / "held.yaml").write_text(yaml.safe_dump(content))
    assert read_campaign(here / "campaign.yaml").arms[1].fingerprint != arm.fingerprint


def test_pictures_and_table_lie_beside_the_preset(write_plant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(write_plant(), "--ms", 1.4, "--output", "out/held.yaml")[0] == 0
    pictures = [f"held-{name}.png" for name in ("bode", "nyquist", "stability", "steps")]
    assert files("out") == sorted([*pictures, "held-margins.txt", "held.yaml"])
    assert "Harris index" in Path("out/held-margins.txt").read_text()
    for name in pictures:
        content = Path("out", name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 10_000


def test_a_goal_of_its_own_kind_each(here, write_plant):
    plant = write_plant()
    laws = {}
    for name, goal in {
        "calm": ["--ms", 1.2],
        "lively": ["--ms", 1.8],
        "simc": ["--time-constant", 5],
        "least": ["--minimum-variance"],
        "p": ["--ms", 1.4, "--law", "p"],
    }.items():
        code, output = call(plant, *goal, "--name", name)
        assert code == 0, output
        laws[name] = LoopConfig(**yaml.safe_load(Path(f"{name}.yaml").read_text())["loops"]["entropy"]).law
    assert laws["calm"].ki < laws["lively"].ki
    assert margins(PLANT, laws["calm"]).ms == pytest.approx(1.2, abs=0.02)
    assert laws["simc"].kp > 0
    assert laws["p"].ki == 0
    assert laws["least"].kp > laws["calm"].kp


def test_robust_is_calmer_than_nominal(here, write_plant):
    plant = write_plant(replace(PLANT, covariance=((4e-4, 0, 6e-4), (0, 1.5e-3, 0), (6e-4, 0, 1e-3))))
    call(plant, "--ms", 1.4, "--name", "nominal")
    code, output = call(plant, "--ms", 1.4, "--robust", "--name", "robust")
    assert code == 0, output
    nominal, robust = (
        LoopConfig(**yaml.safe_load(Path(f"{name}.yaml").read_text())["loops"]["entropy"]).law
        for name in ("nominal", "robust")
    )
    assert robust.kp < 0.9 * nominal.kp


def test_a_fraction_is_of_where_the_runs_began(here, write_plant):
    code, _ = call(write_plant(), "--ms", 1.4, "--fraction", 0.5, "--name", "half")
    assert code == 0
    loop = LoopConfig(**yaml.safe_load(Path("half.yaml").read_text())["loops"]["entropy"])
    assert loop.reference.fraction == 0.5
    assert loop.law.bias == pytest.approx(PLANT.holding_command(0.18))  # half of 0.36


def test_it_is_tracked(here, write_plant, mlflow_uri):
    code, output = call(write_plant(), "--ms", 1.4, "--name", "held", uri=mlflow_uri)
    assert code == 0, output
    client = open_client(mlflow_uri)
    experiment = client.get_experiment_by_name("simulated")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.tags["entrostat.kind"] == "design"
    assert run.info.run_name == "held"
    assert run.info.status == "FINISHED"
    law = LoopConfig(**yaml.safe_load(Path("held.yaml").read_text())["loops"]["entropy"]).law
    assert run.data.metrics["gain/kp"] == pytest.approx(law.kp)
    assert run.data.metrics["margin/ms"] == pytest.approx(margins(PLANT, law).ms)
    sent = {item.path for item in client.list_artifacts(run.info.run_id, "design")}
    assert {"design/held.yaml", "design/held-bode.png", "design/plant.yaml"} <= sent


def test_without_mlflow_the_files_are_there_and_that_is_said(here, write_plant):
    code, output = call(write_plant(), "--ms", 1.4, "--name", "held")
    assert code == 0
    assert "not tracked" in output
    assert Path("held.yaml").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "choose one goal of"),
        (["--settling", 9, "--time-constant", 3], "choose one goal of"),
        (["--time-constant", 3, "--ms", 1.4], "leave --ms out"),
        (["--ms", 0.9], "--ms must be > 1"),
        (["--settling", 0], "--settling must be >= 1"),
        (["--time-constant", -1], "--time-constant must be > 0"),
        (["--settling", 1], "plant.yaml: no pi law settles in 1 iterations"),
        (["--ms", 1.4, "--setpoint", 3.0], "plant.yaml: holding 3 nats/token takes a command of"),
        (["--ms", 1.4, "--setpoint", -1], "--setpoint: "),
        (["--ms", 1.4, "--setpoint", 0.2, "--fraction", 0.5], "one of --setpoint and --fraction"),
        (["--ms", 1.4, "--fraction", 0], "--fraction: fraction must be > 0"),
        (["--ms", 1.4, "--limits", -2, 1], "--limits: must be low < high inside the range [-1, 1]"),
        (["--ms", 1.4, "--limits", 0.1, 1], "--limits: must contain the neutral command 0"),
        (["--ms", 1.4, "--name", "a b"], "--name: must be letters"),
        (["--ms", 1.4, "--output", "plant.yaml"], "is the plant file itself"),
        (["--ms", 1.4, "--output", "plant.yaml/x.yaml"], "cannot be written"),
        (["--ms", 1.4, "--output", "/proc/x.yaml"], "--output /proc/x.yaml: cannot be written (No such file"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(here, write_plant, options, message):
    plant = write_plant()
    before = plant.read_text()
    code, output = call(plant, *options)
    assert code == 2
    assert message in output
    assert output.startswith("error: ")
    assert files(here) == ["plant.yaml"]
    assert plant.read_text() == before


def test_what_cannot_be_replaced_is_found_out_before_anything_is_written(here, write_plant):
    (here / "held.yaml").mkdir()
    code, output = call(write_plant(), "--ms", 1.4, "--name", "held")
    assert code == 2
    assert output == "error: --output held.yaml is a folder; name a file"
    assert files(here) == ["plant.yaml"]  # no picture, no table


def test_a_refused_target_names_who_could_hold_it(here, write_plant):
    weak = write_plant(replace(PLANT, b=(0.001,)), "weak.yaml")
    write_plant(PLANT, "strong.yaml", actuator={"kind": "positive_weight"}, limits=[0.0, 1.0])
    (here / "other.yaml").write_text("not: a plant\n")
    code, output = call(weak, "--ms", 1.4, "--setpoint", 0.25)
    assert code == 2
    assert "or use positive_weight (strong.yaml), which can" in output


def integrator_map():
    integrator = replace(PLANT, a=(1.0,), covariance=())
    law = LoopConfig(
        **{"law": {"kind": "pid", "kp": 3.0, "ki": 0.3, "error": "log"}, "actuator": {"kind": "bonus"}}
    )
    return integrator, stable_gains(Analysis(plant=integrator, law=law.law))


def test_the_map_of_an_integrator_is_the_known_triangle():
    _, found = integrator_map()
    kp, ki = region(found)
    upper, lower = kp.size // 2, ki[:-1][::-1]
    cell = found.ki[1] - found.ki[0]
    for gain, high, low in zip(kp[:upper], ki[:upper], lower, strict=False):
        # 0 < c·ki < c·kp and 2·c·kp − c·ki < 4 (METHODS 9), c = 0.15
        assert high == pytest.approx(min(gain, found.ki[-1]), abs=1.01 * cell)
        assert low == pytest.approx(max(0.0, 2 * gain - 4 / 0.15), abs=1.01 * cell)
    assert kp.max() == pytest.approx((4 / 0.15 + found.ki[-1]) / 2, abs=2 * (found.kp[1] - found.kp[0]))
    assert (kp[0], ki[0]) == (kp[-1], ki[-1])  # closed


def test_calm_gains_are_inside_of_the_stable_ones():
    plant, found = integrator_map()
    kp, ki = region(found, 1.4)
    assert 0 < ki.max() < 0.5 * region(found)[1].max()
    for p, i in zip(kp, ki, strict=True):
        if i > 0:
            assert stability_map(plant, [p], [i]).ms.item() <= 1.4
    assert region(found, 1.0)[0].size == 0


def test_the_drawn_answers_are_those_of_the_loop_itself():
    law = LoopConfig(
        **{
            "law": {"kind": "pid", "kp": 5.0, "ki": 0.5, "error": "log", "bias": PLANT.holding_command(0.2)},
            "reference": {"kind": "constant", "value_nats": 0.2 * 1.01},
            "actuator": {"kind": "bonus"},
        }
    )
    quiet = replace(PLANT, noise_std=0.0, covariance=())
    shown = answers(Analysis(plant=quiet, law=law.law), 40)
    # the command that holds 0.2 was in force before: a start from rest
    free = replace(law.build(), neutral=PLANT.holding_command(0.2))
    simulated = np.log(simulate_many([free], quiet, 40, [0], initial_nats=0.2).y[0, 0] / 0.2) / np.log(1.01)
    assert simulated == pytest.approx(shown.reference, abs=2e-3)


def test_frequencies_are_those_of_law_times_plant():
    law = LoopConfig(
        **{"law": {"kind": "pid", "kp": 5.0, "ki": 0.5, "error": "log"}, "actuator": {"kind": "bonus"}}
    )
    found = frequencies(Analysis(plant=PLANT, law=law.law))
    q = np.exp(-1j * found.omega)
    expected = (5.0 + 0.5 * q / (1 - q)) * PLANT.response(found.omega)
    assert found.transfer == pytest.approx(expected)
    assert -180 < found.phase_degrees[0] < 0


def designed_at(here, path, *options):
    code, output = call(path, "--ms", 1.6, "--output", "held.yaml", *options)
    assert code == 0, output
    return LoopConfig(**read_method("held.yaml", here / "campaign.yaml").loops["entropy"])


def test_rollouts_ahead_delay_a_command_on_sampling_and_make_its_gains_smaller(here, write_plant):
    warm = replace(PLANT, delay=2, drift=-0.2305)  # which a temperature factor of 1 holds
    path = write_plant(warm, ahead=1, actuator={"kind": "temperature"}, limits=[0.2, 5.0])
    own, same, later = (designed_at(here, path, *more) for more in ((), ("--ahead", 1), ("--ahead", 4)))
    assert own == same
    assert (own.plant.delay, later.plant.delay) == (2, 5)
    assert later.law.kp < 0.7 * own.law.kp
    assert margins(later.plant, later.law).ms < 1.605 < margins(later.plant, own.law).ms
    wrong = write_plant(replace(warm, delay=1), ahead=1, actuator={"kind": "temperature"}, limits=[0.2, 5.0])
    code, output = call(wrong, "--ms", 1.6, "--ahead", 0)
    assert code != 0
    assert (
        "--ahead 0: delay must be >= 1, got 0; the plant's delay does not have its runs' own ahead" in output
    )


def test_rollouts_ahead_do_not_delay_a_command_on_the_update(here, write_plant):
    assert designed_at(here, write_plant(), "--ahead", 4).plant == PLANT


def test_notes_name_what_the_gains_belong_to(here, write_plant):
    designed_at(here, write_plant(), "--measure", "in_update", "--ahead", 2)
    notes = read_method("held.yaml", here / "campaign.yaml").notes
    assert "learner.learning_rate 0.0003, learner.measure 'in_update' and rollout.ahead 2" in " ".join(
        notes.split()
    )


def test_readings_of_the_update_delay_a_command_on_it(here, write_plant):
    own, later = (designed_at(here, write_plant(), *more) for more in ((), ("--measure", "in_update")))
    assert later.plant == replace(PLANT, delay=PLANT.delay + 1)
    assert later.law.kp < own.law.kp
    within = write_plant(replace(PLANT, delay=PLANT.delay + 1), measure="in_update")
    assert designed_at(here, within, "--measure", "before_update") == own
    warm = write_plant(replace(PLANT, drift=-0.2305), actuator={"kind": "temperature"}, limits=[0.2, 5.0])
    assert designed_at(here, warm, "--measure", "in_update").plant.delay == PLANT.delay
