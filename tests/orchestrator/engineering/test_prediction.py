"""A prediction is right where the model is, and says so where it is not."""

from __future__ import annotations

from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest

from controllers.plants.simulated_plants import Changed
from controllers.plants.simulation import simulate_many
from orchestrator.configuration.loops import LoopConfig
from orchestrator.engineering.prediction import (
    Prediction,
    agreement,
    constant_telemetry,
    predict,
    unknown_readings,
)
from tests.orchestrator.engineering.conftest import INITIAL_NATS, PLANT, loop_content

EXACT = replace(PLANT, covariance=())


def loop(**changes):
    return LoopConfig(**loop_content(dither=False, **changes)).build()


def runs_of(plant, num_seeds, num_iterations=100):
    seeds = range(5000, 5000 + num_seeds)
    return list(simulate_many([loop()], plant, num_iterations, seeds, INITIAL_NATS).y[0])


def test_hand_values():
    # three draws: 1, 2, 3 at every one of three iterations; quantiles 5 and 95 % by interpolation: 1.1 and 2.9
    y = np.array([[1.0] * 3, [2.0] * 3, [3.0] * 3])
    prediction = Prediction(y=y, r=y, u=y)
    low, _, high = prediction.quantiles(y)
    assert low == pytest.approx([1.1] * 3)
    assert high == pytest.approx([2.9] * 3)
    found = agreement(prediction, [np.array([99.0, 2.5, 3.5]), np.array([99.0, nan])])
    assert found.num_readings == 2  # the first of a run is given, and one is missing
    assert found.rmse_nats == pytest.approx(np.sqrt((0.5**2 + 1.5**2) / 2))
    assert found.normalised_rmse == pytest.approx(found.rmse_nats / 0.5)  # std of 2.5 and 3.5
    assert found.coverage == 0.5
    assert found.expected_coverage == pytest.approx(0.9)


def test_a_right_plant_covers_what_it_says():
    prediction = predict(loop(), EXACT, 60, initial_nats=INITIAL_NATS, num_draws=400)
    found = agreement(prediction, runs_of(EXACT, 80, 60))
    assert found.coverage == pytest.approx(0.9, abs=0.03)
    assert found.normalised_rmse == pytest.approx(found.expected_normalised_rmse, rel=0.15)


def test_a_wrong_plant_is_found_out():
    weak = replace(EXACT, b=(0.03,), drift=-0.12)
    prediction = predict(loop(), EXACT, 100, initial_nats=INITIAL_NATS, num_draws=100)
    found = agreement(prediction, runs_of(weak, 5))
    assert found.coverage < 0.7
    assert found.normalised_rmse > 1.3 * found.expected_normalised_rmse


def test_doubt_about_the_plant_widens_the_band():
    def width(plant):
        prediction = predict(loop(ki=0.0), plant, 60, initial_nats=0.2, num_draws=100)
        low, _, high = prediction.quantiles(prediction.y)
        return float(np.mean(high - low))

    assert width(PLANT) > 1.1 * width(EXACT)


def test_the_same_seed_predicts_the_same():
    first, again, other = (
        predict(loop(), PLANT, 20, initial_nats=0.3, num_draws=5, seed=seed).y for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_it_starts_from_the_level_that_was_given_and_ends_at_the_setpoint():
    prediction = predict(loop(), EXACT, 200, initial_nats=0.5, num_draws=50)
    _, median, _ = prediction.quantiles(prediction.y)
    assert prediction.y[:, 0] == pytest.approx(0.5)
    assert median[-50:].mean() == pytest.approx(0.2, rel=0.05)


def test_a_change_of_plant_is_drawn_too():
    changed = Changed(plants=((0, PLANT), (50, replace(PLANT, drift=-0.16))))
    prediction = predict(loop(), changed, 100, initial_nats=0.2, num_draws=40)
    _, median, _ = prediction.quantiles(prediction.y)
    assert median[52:58].mean() < 0.93 * median[40:50].mean()
    assert len({round(float(first), 6) for first in prediction.y[:, 1]}) > 30


def test_nothing_to_compare_is_not_a_number():
    prediction = predict(loop(), EXACT, 10, initial_nats=0.2, num_draws=3)
    found = agreement(prediction, [np.full(10, nan)])
    assert found.num_readings == 0
    assert isnan(found.coverage)
    assert isnan(found.normalised_rmse)


def test_the_start_and_the_holding_are_told_apart():
    """Outside of the band in the first quarter of the readings, inside of it from the half on."""
    prediction = predict(loop(), EXACT, 40, initial_nats=0.2, num_draws=200)
    _, median, _ = prediction.quantiles(prediction.y)
    run = np.where(np.arange(40) < 10, 9.0, median)
    found = agreement(prediction, [run])
    assert found.early_coverage == 0.0
    assert found.late_coverage == 1.0
    assert found.coverage == pytest.approx(30 / 39)  # the first reading is not counted


def test_what_a_loop_reads_must_be_known_before_the_run():
    plain = loop()
    assert constant_telemetry(plain, {"learning_rate": 1e-3}) == {}
    assert unknown_readings(plain, {}) == []
    law = {"kind": "scheduled_pid", "pid": {"kind": "pid", "kp": 0.5, "ki": 0.03, "error": "log"}}
    scheduled = LoopConfig(
        **{**loop_content(dither=False), "law": {**law, "learning_rate_reference": 3e-4}}
    ).build()
    assert constant_telemetry(scheduled, {"learning_rate": 1e-3}) == {"learning_rate": 1e-3}
    assert unknown_readings(scheduled, {"learning_rate": 1e-3}) == []
    assert unknown_readings(scheduled, {}) == ["learning_rate"]
