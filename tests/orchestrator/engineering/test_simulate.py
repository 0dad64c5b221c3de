"""`entrostat simulate`: the loop that a file configures, on its plant or another; or a refusal."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from controllers.plants.simulated_plants import Changed
from controllers.plants.simulation import simulate_many
from orchestrator.cli import app
from orchestrator.configuration.loops import LoopConfig
from orchestrator.engineering.pictures import prediction_picture
from orchestrator.engineering.prediction import agreement, predict
from orchestrator.storage.run_data import load_campaign
from orchestrator.tracking.store import open_client
from tests.orchestrator.engineering.conftest import INITIAL_NATS, PLANT, loop_content

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow and sqlalchemy, in their own code
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]

UNREACHABLE = "http://127.0.0.1:9"


def call(*arguments, uri=UNREACHABLE):
    result = CliRunner().invoke(app, ["simulate", *map(str, arguments), *(["--uri", uri] if uri else [])])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The working directory; the picture, half a second each time, is drawn in one test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.commands.simulate.prediction_picture", lambda *_: b"png")
    return tmp_path


def write_preset(path="held.yaml", loops=None, **content):
    loops = {"entropy": loop_content(dither=False, **content)} if loops is None else loops
    preset = {"method": "held", "summary": "Held.", "source": "a test", "loops": loops}
    Path(path).write_text(yaml.safe_dump(preset))
    return path


def columns(path):
    with Path(path).open() as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def test_the_file_is_what_the_prediction_says(write_plant):
    code, output = call(write_preset(plant=PLANT), "--iterations", 30, "--seeds", 20)
    assert code == 0, output
    loop = LoopConfig(**loop_content(dither=False)).build()
    expected = predict(loop, PLANT, 30, initial_nats=PLANT.level_nats, num_draws=20)
    found = columns("held-simulated.csv")
    for letter, signal in (("y", expected.y), ("u", expected.u)):
        for name, values in zip(("p05", "median", "p95"), expected.quantiles(signal), strict=True):
            assert found[f"{letter}_{name}"] == pytest.approx(values)
    assert found["r_median"] == pytest.approx(np.full(30, 0.2))
    assert found["iteration"].tolist() == list(range(30))
    assert f"{np.median(expected.y, axis=0)[-1]:.3g} nats/token" in output
    assert Path("held-simulated.png").exists()


def test_the_picture_is_drawn(monkeypatch, tmp_path):
    monkeypatch.undo()
    preset = write_preset(tmp_path / "held.yaml", plant=PLANT)
    code, _ = call(preset, "--iterations", 10, "--seeds", 3, "--output", tmp_path / "x.csv")
    assert code == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_the_runs_are_drawn_over_the_prediction(monkeypatch):
    """Every run a line of its own readings, as far as the prediction goes; without runs there is none."""
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    shown = predict(
        LoopConfig(**loop_content(dither=False)).build(), PLANT, 10, initial_nats=0.3, num_draws=3
    )
    run = np.linspace(0.3, 0.2, 12)
    prediction_picture(shown, "held", (), [run, run + 0.01])
    prediction_picture(shown, "held")
    with_runs, without = ([line.get_ydata() for line in figure.axes[0].lines] for figure in drawn)
    assert len(with_runs) == len(without) + 2
    assert any(np.array_equal(line, run[:10] + 0.01) for line in with_runs)


def test_a_plant_file_wins_and_says_where_runs_begin(write_plant):
    other = write_plant(replace(PLANT, noise_std=0.0, covariance=()))
    code, output = call(write_preset(plant=PLANT), "--plant", other, "--iterations", 20, "--seeds", 2)
    assert code == 0, output
    found = columns("held-simulated.csv")
    assert found["y_median"][0] == pytest.approx(INITIAL_NATS)
    assert found["y_p05"] == pytest.approx(found["y_p95"])


def test_the_start_is_chosen(write_plant):
    call(write_preset(plant=PLANT), "--initial", 0.5, "--iterations", 5, "--seeds", 2)
    assert columns("held-simulated.csv")["y_median"][0] == pytest.approx(0.5)


def test_an_arm_of_a_campaign_runs_as_long_as_it_says(write_campaign):
    loops = {"entropy": {**loop_content(dither=False), "plant": None}}
    path = write_campaign({"arms.1.loops": loops, "arms.1.method": None})
    content = yaml.safe_load(path.read_text())
    from orchestrator.configuration.part_schema import to_plain

    content["arms"][1]["loops"]["entropy"]["plant"] = to_plain(PLANT)
    path.write_text(yaml.safe_dump(content))
    code, output = call(path, "--seeds", 3)
    assert code == 0, output
    assert "held, loop entropy" in output  # the only arm with a loop
    assert columns("held-simulated.csv")["iteration"].size == 6


def test_a_change_of_plant_shows_one_iteration_later(write_plant):
    quiet = replace(PLANT, noise_std=0.0, covariance=())
    second = write_plant(replace(quiet, drift=-0.15), "second.yaml")
    preset = write_preset(plant=quiet)
    plain, changed = (
        (call(preset, "--iterations", 40, "--seeds", 2, *more), columns("held-simulated.csv")["y_median"])[1]
        for more in ([], ["--change", 20, second])
    )
    assert changed[:21] == pytest.approx(plain[:21])
    assert changed[21] < 0.96 * plain[21]


def test_its_quality_is_that_of_the_courses():
    quiet = replace(PLANT, noise_std=0.0, covariance=())
    _, output = call(write_preset(plant=quiet), "--iterations", 80, "--seeds", 2, "--initial", 0.3)
    loop = LoopConfig(**loop_content(dither=False)).build()
    y = simulate_many([loop], quiet, 80, [0], initial_nats=0.3).y[0, 0]
    assert f"IAE {np.abs(0.2 - y).sum():.3g} nats/token" in output


def test_it_is_held_against_runs(make_simulated, here):
    campaign = make_simulated({"held": loop_content(dither=False)}, seeds=(0, 1), num_iterations=50)
    preset = write_preset(plant=PLANT)
    code, output = call(preset, "--against", "simulated", "--iterations", 50, "--seeds", 40, uri=None)
    assert code == 0, output
    runs = [run.train.get("loop/entropy/y") for run in load_campaign(campaign).runs]
    loop = LoopConfig(**loop_content(dither=False)).build()
    expected = agreement(predict(loop, PLANT, 50, initial_nats=INITIAL_NATS, num_draws=40), runs)
    assert f"{expected.coverage:.1%} (90% if the prediction were right)" in output
    assert f"{expected.normalised_rmse:.2f} ({expected.expected_normalised_rmse:.2f} if" in output
    assert "readings 98 " in output
    assert columns("held-simulated.csv")["y_median"][0] == pytest.approx(INITIAL_NATS)


def test_runs_of_another_arm_must_be_named(make_simulated, here):
    make_simulated({"x": loop_content(dither=False), "y": None}, seeds=(0,), num_iterations=10)
    preset = write_preset(plant=PLANT)
    code, output = call(preset, "--against", "simulated", uri=None)
    assert code == 2
    assert "simulated: choose one of its arms with --arm: x, y" in output
    assert call(preset, "--against", "simulated", "--arm", "x", "--seeds", 2, uri=None)[0] == 0
    code, output = call(preset, "--against", "simulated", "--arm", "y", uri=None)
    assert (code, "arm 'y' has no readings of a loop 'entropy'" in output) == (2, True)


def test_it_is_tracked_with_its_plant_s_campaign(write_plant, mlflow_uri):
    code, output = call(
        write_preset(), "--plant", write_plant(), "--iterations", 10, "--seeds", 3, uri=mlflow_uri
    )
    assert code == 0, output
    client = open_client(mlflow_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("simulated").experiment_id])
    assert run.data.tags["entrostat.kind"] == "simulation"
    assert run.data.params["seeds"] == "3"
    sent = {item.path for item in client.list_artifacts(run.info.run_id, "simulation")}
    assert sent == {"simulation/held-simulated.csv", "simulation/held-simulated.png"}


@pytest.mark.parametrize(
    ("loops", "options", "message"),
    [
        (
            {"entropy": loop_content(dither=False)},
            [],
            "held.yaml: held, loop entropy names no plant; give one",
        ),
        ({}, [], "the preset has no loop"),
        ({"a": loop_content(), "b": loop_content()}, [], "choose one with --loop: a, b"),
        ({"a": loop_content(plant=PLANT)}, ["--loop", "b"], "no loop 'b'; known: a"),
        ({"a": loop_content(plant=PLANT)}, ["--arm", "x"], "is a preset and has no arms"),
        (
            {"a": loop_content(plant=PLANT)},
            ["--change", 900, "p.yaml"],
            "--change: the iteration must be in 1 to",
        ),
        ({"a": loop_content(plant=PLANT)}, ["--change", 9, "none.yaml"], "none.yaml: cannot be read"),
        ({"a": loop_content(plant=PLANT)}, ["--plant", "held.yaml"], "is a method preset, not a plant"),
        (
            {"a": {**loop_content(plant=PLANT), "law": {"kind": "pdi"}}},
            [],
            "loops.a.law.kind: unknown kind 'pdi'",
        ),
        (
            {"a": {**loop_content(plant=PLANT), "plant": {"coordinates": "log"}}},
            [],
            "loops.a.plant.b: is missing; add it",
        ),
        (
            {"a": {**loop_content(plant=PLANT), "plant": {"driift": 0}}},
            [],
            "loops.a.plant.driift: unknown key; did you mean 'drift'?",
        ),
    ],
)
def test_a_refusal_is_clear_and_leaves_nothing(here, loops, options, message):
    write_preset(loops=loops)
    code, output = call("held.yaml", *options)
    assert code == 2
    assert message in output
    assert [path.name for path in here.iterdir() if path.is_file()] == ["held.yaml"]


def test_a_plant_of_another_actuator_is_refused(write_plant):
    path = write_plant(actuator={"kind": "sign_weights"})
    code, output = call(write_preset(), "--plant", path)
    assert code == 2
    assert "is the plant of 'sign_weights', and the loop of held, loop entropy drives 'bonus'" in output


def test_a_loop_that_reads_what_no_plant_tells_is_refused():
    content = loop_content(dither=False, plant=PLANT)
    content["reference"] = {
        "kind": "cascade",
        "initial_nats": 0.2,
        "low_nats": 0.1,
        "high_nats": 0.4,
        "gain": 1.0,
        "relaxation": 0.01,
    }
    code, output = call(write_preset(loops={"entropy": content}))
    assert code == 2
    assert "also reads pass_rate, which a plant of entropy does not predict" in output


def test_a_file_of_another_kind_is_refused():
    Path("x.yaml").write_text("a: 1\n")
    code, output = call("x.yaml")
    assert code == 2
    assert "is neither a campaign (key arms) nor a method preset" in output


def test_a_loop_is_told_how_long_commands_waited_in_the_runs_of_the_plant(write_plant, monkeypatch):
    told = []

    def watched(loop, *rest, **settings):
        told.append(loop.dead_time)
        return predict(loop, *rest, **settings)

    monkeypatch.setattr("orchestrator.commands.simulate.predict", watched)
    for measure in ("before_update", "in_update"):
        path = write_plant(replace(PLANT, delay=PLANT.delay + 1), measure=measure)
        code, output = call(write_preset(), "--plant", path, "--iterations", 10, "--seeds", 5)
        assert code == 0, output
    assert told == [0, 1]


@pytest.mark.parametrize("has_file", [True, False])
def test_an_arm_has_the_wait_of_its_own_runs(write_plant, write_campaign, monkeypatch, has_file):
    """Whatever the runs of the plant had, and so has what comes after a change."""
    seen = []

    def watched(loop, plant, *rest, **settings):
        seen.append((loop.dead_time, plant))
        return predict(loop, plant, *rest, **settings)

    monkeypatch.setattr("orchestrator.commands.simulate.predict", watched)
    loop = loop_content(dither=False, plant=None if has_file else PLANT)
    arm = {"name": "held", "loops": {"entropy": loop}}
    campaign = write_campaign({"arms": [arm], "learner.measure": "in_update", "rollout.ahead": 2})
    late = replace(PLANT, delay=PLANT.delay + 1)
    changed = write_plant(late, "changed.yaml", measure="in_update")
    plant = ["--plant", write_plant()] if has_file else []
    for change in ([], ["--change", 3, changed]):
        code, output = call(campaign, *plant, "--iterations", 10, "--seeds", 5, *change)
        assert code == 0, output
    assert seen == [(1, late), (1, Changed(plants=((0, late), (3, late))))]


def test_a_plant_whose_delay_cannot_have_the_wait_of_its_runs_is_refused(write_plant, write_campaign):
    arm = {"name": "held", "loops": {"entropy": loop_content(dither=False)}}
    path = write_plant(measure="in_update")
    code, output = call(write_campaign({"arms": [arm]}), "--plant", path)
    assert code == 2
    assert "delay must be >= 1, got 0; the plant's delay does not have the wait of its own runs" in output
