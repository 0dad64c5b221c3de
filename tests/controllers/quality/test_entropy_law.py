"""R = b − a·exp(H): recovered exactly, within its errors under noise, and refused where it cannot be known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import linregress

from controllers.quality.entropy_law import EntropyLaw, fit_entropy_law, predict_rest

A, B = 0.3, 1.1


def collapse(num_points: int = 200) -> np.ndarray:
    """Entropy of a run left alone: from 1.2 nats to 0.05."""
    return 0.05 + 1.15 * np.exp(-np.arange(num_points) / 40)


def noisy(entropy: np.ndarray, noise: float, seed: int) -> np.ndarray:
    return B - A * np.exp(entropy) + noise * np.random.default_rng(seed).normal(size=entropy.size)


def test_exact_points_give_the_constants_back():
    law = fit_entropy_law([0.0, math.log(2), math.log(4)], [0.8, 0.5, -0.1])  # x = 1, 2, 4: R = 1.1 − 0.3 x
    assert (law.a, law.b) == pytest.approx((0.3, 1.1))
    assert law.ceiling == pytest.approx(0.8)  # the value at H = 0
    assert law.r_squared == pytest.approx(1.0)
    assert law.rmse == pytest.approx(0.0, abs=1e-12)
    assert law.a_error == pytest.approx(0.0, abs=1e-12)
    assert law.reward(math.log(3)) == pytest.approx(0.2)
    assert law.warning is None


def test_errors_by_hand():
    # x = 1, 2, 3, 4; R = 1, 0, 1, 0: mean 2.5 and 0.5; Σ(x−x̄)² = 5; Σ(x−x̄)(R−R̄) = −0.75+0.25+0.25−0.75 = −1
    law = fit_entropy_law(np.log([1, 2, 3, 4]), [1, 0, 1, 0])
    assert law.a == pytest.approx(0.2)
    assert law.ceiling == pytest.approx(0.8)  # 0.5 + 0.2 · 1.5
    assert law.b == pytest.approx(1.0)
    # residuals 0.2, −0.6, 0.6, −0.2: squares 0.8; s² = 0.8 / 2 = 0.4
    assert law.rmse == pytest.approx(math.sqrt(0.2))
    assert law.r_squared == pytest.approx(1 - 0.8 / 1.0)
    assert law.a_error == pytest.approx(math.sqrt(0.4 / 5))
    assert law.ceiling_error == pytest.approx(math.sqrt(0.4 * (1 / 4 + 1.5**2 / 5)))
    assert law.b_error == pytest.approx(math.sqrt(0.4 * (1 / 4 + 2.5**2 / 5)))


def test_equals_scipy_on_a_noisy_run():
    entropy = collapse()
    reward = noisy(entropy, 0.02, seed=1)
    law, other = fit_entropy_law(entropy, reward), linregress(np.exp(entropy), reward)
    assert (law.a, law.b) == pytest.approx((-other.slope, other.intercept))
    assert (law.a_error, law.b_error) == pytest.approx((other.stderr, other.intercept_stderr))
    assert law.r_squared == pytest.approx(other.rvalue**2)


def test_known_noise_stays_within_its_errors():
    entropy = collapse()
    laws = [fit_entropy_law(entropy, noisy(entropy, 0.02, seed)) for seed in range(200)]
    for law in laws:
        assert abs(law.a - A) < 4 * law.a_error
        assert abs(law.ceiling - (B - A)) < 4 * law.ceiling_error
    # The errors that are claimed are those that occur, to the accuracy of a spread over 200 runs (5 %).
    for value, error in (("a", "a_error"), ("b", "b_error"), ("ceiling", "ceiling_error")):
        spread = np.std([getattr(law, value) for law in laws])
        claimed = np.mean([getattr(law, error) for law in laws])
        assert spread == pytest.approx(claimed, rel=0.2)
    assert all(law.warning is None for law in laws)


def test_the_ceiling_is_less_certain_the_farther_away_it_is():
    entropy = collapse()
    reward = noisy(entropy, 0.02, seed=3)
    near, far = entropy < 0.3, entropy > 0.6
    near_law, far_law = (fit_entropy_law(entropy[part], reward[part]) for part in (near, far))
    assert far_law.ceiling_error > 2 * near_law.ceiling_error


@pytest.mark.parametrize(
    ("entropy", "reward", "warning"),
    [
        ([], [], "0 points are too few"),
        ([0.5, 0.4], [0.1, 0.2], "2 points are too few"),
        ([0.3] * 9, np.linspace(0, 1, 9), "H did not move"),
        (0.3 + 0.01 * np.sin(range(50)), np.linspace(0.5, 0.9, 50), "moved too little"),
        (collapse(), 0.5 + 0.1 * np.sin(range(200)), "not distinguishable from 0"),
        (collapse(), 0.1 + 0.1 * np.exp(collapse()), "negative"),
    ],
)
def test_what_cannot_be_identified_is_said(entropy, reward, warning):
    law = fit_entropy_law(entropy, reward)
    assert law.warning is not None
    assert warning in law.warning


def test_nothing_to_fit_is_nan_not_an_exception():
    law = fit_entropy_law([0.3] * 9, np.linspace(0, 1, 9))
    assert math.isnan(law.a)
    assert math.isnan(law.ceiling_error)
    assert (law.num_points, law.lowest_nats, law.highest_nats) == (9, 0.3, 0.3)


def test_a_constant_reward_has_no_variance_to_explain():
    law = fit_entropy_law(collapse(), np.full(200, 0.5))
    assert law.a == pytest.approx(0.0, abs=1e-12)
    assert law.warning is not None


def test_readings_that_are_not_finite_are_left_out():
    entropy = np.array([math.nan, 0.0, math.log(2), 1.0, math.log(4)])
    law = fit_entropy_law(entropy, [0.5, 0.8, 0.5, math.inf, -0.1])
    assert law.num_points == 3
    assert (law.a, law.b) == pytest.approx((0.3, 1.1))


def test_the_first_part_of_a_run_predicts_the_rest_of_it():
    entropy = collapse()
    prediction = predict_rest(entropy, noisy(entropy, 0.01, seed=5))
    assert (prediction.law.num_points, prediction.num_points) == (30, 170)  # 15 % of 200
    assert prediction.law.lowest_nats == entropy[29]  # nothing later was seen
    # The noise of a later point, and the uncertainty of the early fit at the far end.
    assert 0.009 < prediction.rmse < 0.01 + 3 * prediction.law.ceiling_error
    assert abs(prediction.final_error) < 3 * (0.01 + prediction.law.ceiling_error)


def test_a_law_that_breaks_later_is_found_out():
    entropy = collapse()
    reward = B - A * np.exp(entropy)
    reward[100:] -= 0.2
    prediction = predict_rest(entropy, reward)
    # 100 of the 170 later points are 0.2 off, the others exact: sqrt(100/170 · 0.04)
    assert prediction.rmse == pytest.approx(math.sqrt(100 / 170 * 0.04))
    assert prediction.final_error == pytest.approx(0.2)  # predicted too high


def test_a_run_too_short_to_hold_anything_out():
    prediction = predict_rest([1.0, 0.5, 0.2], [0.1, 0.2, 0.3])
    assert prediction.num_points == 0
    assert math.isnan(prediction.rmse)
    assert math.isnan(prediction.final_error)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"one length, got \(3,\) and \(2,\)"):
        fit_entropy_law([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="early_fraction must be between 0 and 1, got 1"):
        predict_rest([1.0], [1.0], 1.0)


def test_a_fit_is_plain_data():
    assert fit_entropy_law(collapse(), noisy(collapse(), 0.01, 0)) == fit_entropy_law(
        collapse(), noisy(collapse(), 0.01, 0)
    )
    assert EntropyLaw.__dataclass_params__.frozen
