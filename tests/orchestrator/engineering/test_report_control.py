"""The page's control section: a prediction that knew nothing of the run, margins, and honest sentences."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from controllers.design import margins
from controllers.quality.harris import harris_index
from controllers.quality.quality import assess
from orchestrator.comparison import summarise
from orchestrator.configuration.loops import LoopConfig
from orchestrator.engineering.prediction import agreement, predict
from orchestrator.engineering.sources import measurements
from orchestrator.report import write_page
from orchestrator.report.control import designed_loops, table
from orchestrator.report.control_figures import linear, predictions
from orchestrator.report.headline import entropy_findings, entropy_title
from orchestrator.report.settings import differing, shared
from orchestrator.report.summary_cells import columns
from orchestrator.storage.run_data import load_campaign
from tests.orchestrator.engineering.conftest import PLANT, loop_content

HELD = loop_content(dither=False, plant=PLANT, kp=3.0, ki=0.4)


def load(make_simulated, arms=None, **options):
    defaults = {"num_iterations": 60, "seeds": (0, 1)}
    return load_campaign(make_simulated(arms or {"held": HELD}, **defaults | options))


def test_the_prediction_is_from_plant_loop_and_first_reading_alone(make_simulated):
    campaign = load(make_simulated)
    (each,) = designed_loops(campaign)
    assert each.name == "held"
    expected = predict(LoopConfig(**HELD).build(), PLANT, 60, initial_nats=0.36)
    assert each.prediction.y == pytest.approx(expected.y)
    runs = [measurements(run, "entropy") for run in campaign.arms[0].runs]
    assert each.agreement == agreement(expected, runs)
    assert each.agreement.coverage > 0.7


def test_what_comes_after_the_first_reading_moves_no_prediction(make_simulated):
    one = load(make_simulated, plant=PLANT, name="one")
    other = load(make_simulated, plant=replace(PLANT, drift=-0.3), name="other")
    first, second = designed_loops(one)[0], designed_loops(other)[0]
    assert np.array_equal(first.prediction.y, second.prediction.y)
    assert second.agreement.coverage < first.agreement.coverage - 0.3


def test_answers_of_several_loops_are_as_long_as_the_slowest_needs(make_simulated):
    slow = loop_content(dither=False, plant=PLANT, kp=0.5, ki=0.02)
    lengths = {}
    for arms in ({"held": HELD}, {"slow": slow}, {"held": HELD, "slow": slow}):
        campaign = load(make_simulated, arms, name="-".join(arms))
        drawn = {figure.id: figure for figure in linear(campaign, designed_loops(campaign))}
        for kind in ("control-step", "control-disturbance"):
            lengths[(*arms, kind)] = {len(trace["x"]) for trace in drawn[kind].data}
    for kind in ("control-step", "control-disturbance"):
        (fast,), (long,) = lengths["held", kind], lengths["slow", kind]
        assert fast < long
        assert lengths["held", "slow", kind] == {long}


def test_figures_have_the_readings_of_every_seed_over_the_band(make_simulated):
    campaign = load(make_simulated)
    loops = designed_loops(campaign)
    (figure,) = predictions(campaign, loops)
    band, median, *seeds, setpoint = figure.data
    low, middle, high = loops[0].prediction.quantiles(loops[0].prediction.y)
    assert band["y"] == pytest.approx([*low, *high[::-1]], rel=1e-4)
    assert median["y"] == pytest.approx(middle, rel=1e-4)
    assert [trace["name"] for trace in seeds] == ["seed 0", "seed 1"]
    for trace, run in zip(seeds, campaign.runs, strict=True):
        assert trace["y"] == pytest.approx(run.train.get("loop/entropy/y"), rel=1e-4)
    assert setpoint["y"] == pytest.approx([0.2] * 60)
    assert f"{loops[0].agreement.coverage:.0%} of the readings in the band" in figure.unit
    assert f"normalised RMSE {loops[0].agreement.normalised_rmse:.2f}" in figure.unit


def test_the_table_has_the_margins_of_the_law_on_the_plant(make_simulated):
    loops = designed_loops(load(make_simulated))
    rows = dict(table(loops))
    found = margins(PLANT, LoopConfig(**HELD).law, at_nats=0.2)
    assert rows["stable on its plant"] == ["yes"]
    assert rows["gain margin"] == [f"{found.gain_margin:.3g}"]
    assert rows["delay margin, iterations"] == [f"{found.delay_margin:.3g}"]
    assert rows["Ms"] == [f"{found.ms:.3g}"]


def test_the_table_has_the_quality_of_the_runs_beside_the_predicted(make_simulated):
    campaign = load(make_simulated)
    (each,) = designed_loops(campaign)
    cell = dict(table([each]))["IAE, nats/token · iterations"][0]
    real = [
        assess(run.train.get("entropy"), 0.2, run.train.get("loop/entropy/u"), low=-1, high=1)
        for run in campaign.runs
    ]
    expected = [
        assess(y, r, u, low=-1, high=1)
        for y, r, u in zip(each.prediction.y, each.prediction.r, each.prediction.u)
    ]
    mean, std = np.mean([q.iae_nats for q in real]), np.std([q.iae_nats for q in real], ddof=1)
    assert cell == f"{mean:.2f} ± {std:.2f} (predicted {np.median([q.iae_nats for q in expected]):.2f})"


def test_every_figure_has_data_and_the_nyquist_curve_keeps_out_of_its_circle(make_simulated):
    campaign = load(make_simulated)
    loops = designed_loops(campaign)
    figures = {figure.id: figure for figure in linear(campaign, loops)}
    assert list(figures) == [
        f"control-{name}" for name in ("bode", "phase", "nyquist", "step", "disturbance", "stability-0")
    ]
    for figure in figures.values():
        assert not figure.missing
        assert max(len(trace["x"]) for trace in figure.data) > 5
        assert all(len(trace["x"]) == len(trace["y"]) for trace in figure.data)
        assert json.dumps(figure.data, allow_nan=False)
    curve = figures["control-nyquist"].data[0]
    distance = np.hypot(np.array(curve["x"]) + 1, curve["y"])
    ms = loops[0].analysis.margins.ms
    assert distance.min() == pytest.approx(1 / ms, rel=0.02)
    assert figures["control-step"].data[0]["y"][-1] == pytest.approx(1, abs=0.02)
    circle = figures["control-nyquist"].data[1]
    assert np.hypot(np.array(circle["x"]) + 1, circle["y"]) == pytest.approx(1 / ms, rel=1e-3)
    pulled = figures["control-disturbance"].data[0]["y"]
    assert pulled[0] == pytest.approx(-1)  # the first pull of 1 % is there before any command can answer
    assert pulled[-1] == pytest.approx(0, abs=0.05)
    (dot,) = (trace for trace in figures["control-stability-0"].data if trace["mode"] == "markers")
    assert (dot["x"], dot["y"]) == ([3.0], [0.4])


def test_a_loop_that_is_not_stable_says_so(make_simulated):
    wild = loop_content(dither=False, plant=PLANT, kp=20.0, ki=0.5)
    campaign = load(make_simulated, {"wild": wild}, num_iterations=20)
    loops = designed_loops(campaign)
    rows = dict(table(loops))
    assert rows["stable on its plant"] == ["no"]
    assert rows["Ms"] == ["∞"]
    figures = {figure.id: figure for figure in linear(campaign, loops)}
    assert figures["control-step"].missing
    assert "not stable" in figures["control-bode"].unit
    assert len(figures["control-nyquist"].data) == 2  # the curve and −1, no circle


def test_a_law_that_theory_does_not_know_is_predicted_all_the_same(make_simulated):
    content = {
        **HELD,
        "law": {"kind": "increment", "step_size": 0.05, "low": 0.0, "high": 0.5, "initial": 0.0},
    }
    campaign = load(make_simulated, {"steps": content})
    loops = designed_loops(campaign)
    assert loops[0].analysis is None
    assert loops[0].agreement.num_readings == 2 * 59
    assert dict(table(loops))["stable on its plant"] == ["not a PID law"]
    assert linear(campaign, loops) == []


def test_a_loop_that_reads_more_is_not_predicted_and_says_why(make_simulated):
    content = {
        **HELD,
        "reference": {"kind": "cascade", "initial_nats": 0.2, "low_nats": 0.1, "high_nats": 0.4},
    }
    content["reference"] |= {"gain": 1.0, "relaxation": 0.01}
    campaign = load(make_simulated, {"held": HELD})
    run = campaign.runs[0]
    for each in campaign.runs:
        each.info.config["loops"]["entropy"] = content
    (figure,) = predictions(campaign, loops := designed_loops(campaign))
    assert "held also reads pass_rate, which a plant of entropy does not predict" in figure.missing
    assert dict(table(loops))["prediction: share of readings in the band (expected of a right one)"] == ["–"]
    assert run.name == "held seed 0"


def test_the_page_has_the_section_only_where_a_loop_knows_its_plant(make_simulated):
    folder = make_simulated({"held": HELD, "free": None}, seeds=(0,), num_iterations=30)
    write_page(load_campaign(folder), folder.report_path)
    text = folder.report_path.read_text()
    assert "<h2>Control engineering</h2>" in text
    assert 'id="control-prediction-0"' in text
    assert 'id="control-stability-0"' in text
    plain = make_simulated({"quiet": loop_content(dither=False)}, seeds=(0,), num_iterations=30, name="plain")
    write_page(load_campaign(plain), plain.report_path)
    assert "Control engineering" not in plain.report_path.read_text()


def test_a_plant_is_no_setting(make_simulated):
    campaign = load(make_simulated, {"held": HELD, "other": loop_content(dither=False)}, num_iterations=10)
    keys = [key for key, _ in differing(campaign) + shared(campaign)]
    assert "loops.entropy.law.kp" in keys
    assert not [key for key in keys if "plant" in key]


def summary(campaign):
    return summarise(campaign.arms[0])


def test_a_band_is_not_held_within_nothing(make_simulated):
    content = loop_content(dither=False, kp=3.0, ki=0.4)
    content["reference"] = {"kind": "band", "low_nats": 0.15, "high_nats": 0.3}
    campaign = load(make_simulated, {"band": content}, plant=replace(PLANT, noise_std=0.2))
    found = summary(campaign)
    sentence = entropy_findings([found])[0]
    assert "inside its band of 0.150 to 0.300 nats per token for" in sentence
    assert "held" not in sentence
    y = np.array([run.train.get("entropy")[-15:] for run in campaign.runs])
    share = ((y >= 0.15) & (y <= 0.3)).mean()
    assert 0.3 < share < 1
    assert f"{100 * share:.0f} % of the last quarter" in sentence
    assert entropy_title([found]) == []  # no entropy that was left alone
    setpoint = next(column for column in columns([found]) if column.title == "setpoint")
    assert setpoint.text(found) == "0.150 to 0.300"
    assert found.harris.num == 0  # no error is asked to be small inside
    floor = replace(found, band=(0.15, float("inf")))
    assert "inside its band above 0.150 nats per token for" in entropy_findings([floor])[0]
    assert setpoint.text(floor) == "≥ 0.150"


def test_a_law_at_the_limit_of_its_own_memory_is_saturated(make_simulated):
    content = {
        **loop_content(dither=False),
        "law": {"kind": "increment", "step_size": 0.05, "low": 0.0, "high": 0.1, "initial": 0.1},
    }
    campaign = load(make_simulated, {"steps": content}, plant=replace(PLANT, drift=-0.2))
    run = campaign.runs[0]
    assert run.train.get("loop/entropy/saturated").max() == 0  # nothing was cut off the command
    found = summary(campaign)
    stuck = [
        np.mean((each.train.get("loop/entropy/u") >= 0.1) & (each.train.get("loop/entropy/e") > 0))
        + np.mean((each.train.get("loop/entropy/u") <= 0.0) & (each.train.get("loop/entropy/e") < 0))
        for each in campaign.runs
    ]
    assert found.saturation.values == pytest.approx(stuck)
    assert found.saturation.mean > 0.5
    assert re.search(
        r"did not hold .* its command was at a limit in \d\d % of the iterations",
        entropy_findings([found])[0],
    )


def test_a_held_setpoint_has_its_harris_index_in_the_table(make_simulated):
    campaign = load(make_simulated, num_iterations=120)
    found = summary(campaign)
    column = next(column for column in columns([found]) if column.title == "Harris index")
    assert re.fullmatch(r"\d\.\d\d ± \d\.\d\d \(delay 1\)", column.text(found))
    assert 0.8 < found.harris.mean < 3


def test_a_loop_without_a_plant_says_that_a_delay_of_1_was_assumed(make_simulated):
    found = summary(
        load(make_simulated, {"held": loop_content(dither=False, kp=3.0, ki=0.4)}, num_iterations=120)
    )
    assert found.dead_time is None
    column = next(column for column in columns([found]) if column.title == "Harris index")
    assert column.text(found).endswith("(delay 1 assumed)")


IN_UPDATE = {"iterations": 120, "learning_rate": 3e-4, "measure": "in_update"}


def test_a_command_that_waits_delays_the_plant_that_the_loop_was_designed_for(make_simulated):
    (each,) = designed_loops(load(make_simulated, learner=IN_UPDATE))
    assert each.plant == replace(PLANT, delay=PLANT.delay + 1)
    expected = predict(LoopConfig(**HELD).build(), each.plant, 60, initial_nats=0.36)
    assert each.prediction.y == pytest.approx(expected.y)
    has_it = loop_content(dither=False, plant=each.plant, kp=3.0, ki=0.4)
    (same,) = designed_loops(load(make_simulated, {"held": has_it}, learner=IN_UPDATE, name="designed"))
    assert same.plant == each.plant


@pytest.mark.parametrize("plant", [None, PLANT])
def test_the_harris_index_counts_the_wait_of_commands(make_simulated, plant):
    content = loop_content(dither=False, kp=3.0, ki=0.4, plant=plant)
    late = replace(PLANT, delay=PLANT.delay + 1)
    campaign = load(make_simulated, {"held": content}, plant=late, num_iterations=120, learner=IN_UPDATE)
    found = summary(campaign)
    assert found.dead_time == 2
    expected = [
        harris_index(run.train.get("entropy"), run.train.get("loop/entropy/r"), 2) for run in campaign.runs
    ]
    assert found.harris.values == pytest.approx(expected)


def test_the_harris_index_goes_by_the_dead_time_of_the_plant_that_the_loop_names(make_simulated):
    """A delay of 3, of which the plant file has two as a delay and one as a leading zero."""
    plant = replace(PLANT, delay=2, b=(0.0, *PLANT.b), covariance=())
    content = loop_content(dither=False, plant=plant)
    campaign = load(make_simulated, {"late": content}, plant=plant, num_iterations=120)
    found = summary(campaign)
    assert found.dead_time == plant.dead_time == 3
    column = next(column for column in columns([found]) if column.title == "Harris index")
    assert column.text(found).endswith("(delay 3)")
    expected = [
        harris_index(run.train.get("entropy"), run.train.get("loop/entropy/r"), 3) for run in campaign.runs
    ]
    assert found.harris.values == pytest.approx(expected)
    assumed = [
        harris_index(run.train.get("entropy"), run.train.get("loop/entropy/r")) for run in campaign.runs
    ]
    assert np.mean(assumed) > 1.2 * found.harris.mean
