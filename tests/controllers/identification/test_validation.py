from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.diagnostic import acorr_ljungbox

from controllers.identification import (
    Order,
    Recording,
    fit_arx,
    fit_share,
    free_run,
    input_test,
    ljung_box,
    prediction,
)
from controllers.plants.plant import Plant

BY_HAND = Plant(coordinates="absolute", a=(0.5,), b=(2.0,), delay=1, drift=1.0, noise_std=0.0, level_nats=1.0)
SMALL = Order(na=1, nb=1, delay=1)
HAND_RECORD = Recording(name="hand", y=[4.0, 0.0, 6.0, 3.0, nan, 8.0], u=[1.0, 0.0, 0.5, 1.0, 1.0, 0.0])


def test_prediction_by_hand():
    # one ahead: 0.5·4 + 2·1 + 1 = 5, 0 + 0 + 1, 3 + 1 + 1, 1.5 + 2 + 1, nothing after the gap
    np.testing.assert_allclose(prediction(BY_HAND, HAND_RECORD, 1), [nan, 5.0, 1.0, 5.0, 4.5, nan])
    # two ahead: 0.5·5 + 0 + 1 = 3.5, 0.5·1 + 1 + 1 = 2.5, 0.5·5 + 2 + 1 = 5.5, 0.5·4.5 + 2 + 1 = 5.25
    np.testing.assert_allclose(prediction(BY_HAND, HAND_RECORD, 2), [nan, nan, 3.5, 2.5, 5.5, 5.25])


def test_free_run_by_hand():
    # 5, 0.5·5 + 0 + 1 = 3.5, 0.5·3.5 + 1 + 1 = 3.75, 0.5·3.75 + 2 + 1 = 4.875, 0.5·4.875 + 3 = 5.4375
    np.testing.assert_allclose(free_run(BY_HAND, HAND_RECORD), [nan, 5.0, 3.5, 3.75, 4.875, 5.4375])


def test_the_true_plant_predicts_itself_without_noise(lab):
    plant = lab.plant(a=(0.6, 0.3), b=(0.05, 0.1), delay=2, drift=-0.12, noise_std=0.0)
    recording = lab.closed(plant, lab.loop(), 80, seed=0)
    z = np.log(recording.y)
    for run in (prediction(plant, recording, 1), prediction(plant, recording, 9), free_run(plant, recording)):
        assert np.isfinite(run).sum() > 60
        assert fit_share(z, run) == pytest.approx(1.0)
    wrong = replace(plant, b=(0.05, 0.2))
    assert fit_share(z, free_run(wrong, recording)) < 0.9


def test_a_free_run_starts_anew_after_a_gap_in_the_commands():
    u = HAND_RECORD.u.copy()
    u[2] = nan
    run = free_run(BY_HAND, replace_u(HAND_RECORD, u))
    np.testing.assert_allclose(run, [nan, 5.0, 3.5, nan, 0.5 * 3.0 + 3, 0.5 * 4.5 + 3])


def replace_u(recording, u):
    return Recording(name=recording.name, y=recording.y, u=u)


def test_fit_share_by_hand():
    # errors 0.1 throughout, standard deviation of 1, 2, 3, 4 is √1.25
    assert fit_share(np.array([1.0, 2, 3, 4, nan]), np.array([1.1, 1.9, 3.1, 3.9, 9.0])) == pytest.approx(
        1 - 0.1 / np.sqrt(1.25)
    )
    target = np.array([1.0, 2.0, 4.0])
    assert fit_share(target, np.full(3, target.mean())) == pytest.approx(0.0)
    assert isnan(fit_share(np.ones(3), np.ones(3)))


@pytest.mark.parametrize("fitted", [0, 2])
@pytest.mark.parametrize("colour", [0.0, 0.4])
def test_ljung_box_is_that_of_statsmodels(lab, fitted, colour):
    recording = lab.closed(lab.plant(), lab.loop(), 300, seed=0)
    fit = fit_arx([recording], SMALL)
    residuals = fit.residuals.copy()
    residuals[1:] += colour * fit.residuals[:-1]
    residuals -= residuals.mean()
    reference = acorr_ljungbox(residuals, lags=[12], model_df=fitted)["lb_pvalue"].iloc[0]
    ours = ljung_box(fit.rows, residuals, num_fitted=fitted, num_lags=12)
    assert ours == pytest.approx(reference, rel=1e-9)
    assert (ours < 0.01) == (colour > 0)


def test_ljung_box_counts_only_pairs_of_one_record_at_their_true_distance():
    """Two spikes side by side follow each other; over a gap or in two recordings they do not."""
    rng = np.random.default_rng(0)
    y, u = np.exp(0.1 * rng.normal(size=90)), rng.normal(size=90)
    gap = y.copy()
    gap[45:50] = nan
    halves = [Recording(name="a", y=y[:45], u=u[:45]), Recording(name="b", y=y[45:], u=u[45:])]
    for recordings, related in (
        ([Recording(name="whole", y=y, u=u)], True),
        ([Recording(name="gap", y=gap, u=u)], False),
        (halves, False),
    ):
        rows = fit_arx(recordings, SMALL).rows
        spikes = 0.01 * rng.normal(size=rows.target.size)
        spikes[[43, 44]] += 5.0, -5.0  # row 43 is entry 44, the last before the gap
        assert (ljung_box(rows, spikes, num_lags=2) < 0.01) == related


def test_input_test_is_the_lagrange_multiplier_test_of_statsmodels(lab):
    recording = lab.closed(lab.plant(), lab.loop(), 200, seed=5)
    z, u, t = np.log(recording.y), recording.u, np.arange(6, 200)
    narrow = np.column_stack([z[t - 1], u[t - 2], np.ones(t.size)])
    wide = np.column_stack([narrow, *(u[t - lag] for lag in (1, 3, 4, 5, 6))])
    _, expected, num_further = OLS(z[t], wide).fit().compare_lm_test(OLS(z[t], narrow).fit(), demean=False)
    fit = fit_arx([recording], Order(na=1, nb=1, delay=2))
    assert num_further == 5
    assert input_test(fit, [recording], num_lags=6) == pytest.approx(expected)


def test_input_test_is_uniform_for_the_right_model_and_sees_a_missing_push(lab):
    plant = lab.plant(b=(0.05, 0.0, 0.05))
    right, short = [], []
    for seed in range(40):
        recording = lab.closed(plant, lab.loop(), 250, seed=seed)
        right.append(input_test(fit_arx([recording], Order(na=1, nb=3, delay=1)), [recording]))
        short.append(input_test(fit_arx([recording], SMALL), [recording]))
    assert 0.35 < np.mean(right) < 0.65
    assert np.mean(np.array(right) < 0.1) < 0.25
    assert np.mean(np.array(short) < 0.1) > 0.8


def test_a_short_record_has_no_test(lab):
    recording = lab.closed(lab.plant(), lab.loop(), 30, seed=0)
    fit = fit_arx([recording], SMALL)
    assert isnan(input_test(fit, [recording]))
    with pytest.raises(ValueError, match="horizon must be >= 1, got 0"):
        prediction(fit.plant, recording, 0)
