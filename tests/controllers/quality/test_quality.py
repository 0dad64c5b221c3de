from dataclasses import astuple
from math import isnan, nan, sqrt

import numpy as np
import pytest

from controllers.quality.harris import harris_index
from controllers.quality.quality import (
    assess,
    effort,
    hold_error,
    iae_nats,
    largest_excursion,
    offset_nats,
    overshoot_nats,
    recovery_iterations,
    relative_rmse,
    rmse_nats,
    saturation_share,
    settling_iteration,
)

Y = [1.0, 0.6, 0.4, 0.52, 0.5]  # e to 0.5: −0.5, −0.1, 0.1, −0.02, 0


def test_settling_by_hand():
    # 5 % of 0.5 is 0.025: from iteration 3 on
    assert settling_iteration(Y, 0.5) == 3.0
    assert settling_iteration(Y, 0.5, tolerance_fraction=0.2) == 1.0
    assert settling_iteration(Y, 0.5, tolerance_fraction=1.0) == 0.0
    assert isnan(settling_iteration([*Y, 0.6], 0.5))  # left it at the end


def test_settling_skips_missing_readings():
    assert settling_iteration([1.0, nan, nan, 0.5, nan, 0.5], 0.5) == 3.0
    assert isnan(settling_iteration([0.5, 1.0, nan], 0.5))


def test_settling_of_a_moving_mean_by_hand():
    # e: −0.5, −0.1, 0.1, −0.02, 0; means of two from t on: −0.3, 0, 0.04, −0.01; 5 % of 0.5 is 0.025
    assert settling_iteration(Y, 0.5, window=2) == 3.0
    assert settling_iteration(Y, 0.5, tolerance_fraction=0.1, window=2) == 1.0
    assert settling_iteration([1.0, nan, 0.6, nan, 0.4, 0.6], 0.5, window=2) == 2.0  # 0.6 and 0.4: 0
    assert isnan(settling_iteration(Y, 0.5, window=6))
    with pytest.raises(ValueError, match="window must be >= 1, got 0"):
        settling_iteration(Y, 0.5, window=0)


def test_a_mean_settles_where_readings_never_do():
    """Noise of 10 % of the setpoint, tolerance 10 %: the mean of 20 has 2.2 %."""
    y = noisy(200, seed=0)
    y[:50] += 0.5
    assert isnan(settling_iteration(y, 0.5, 0.1)) or settling_iteration(y, 0.5, 0.1) > 150
    assert settling_iteration(y, 0.5, 0.1, window=20) == pytest.approx(49, abs=2)


def noisy(num_iterations, seed, std=0.05):
    return 0.5 + std * np.random.default_rng(seed).normal(size=num_iterations)


def test_recovery_by_hand():
    y = np.full(40, 0.5)
    y[20:26] = 0.8
    # means of two from t on: outside for t = 19 … 25, as one reading of two is 0.15 off, 30 %
    assert recovery_iterations(y, 0.5, 20, window=2) == 6.0
    assert recovery_iterations(y, 0.5, 18, window=2) == 8.0
    assert recovery_iterations(y, 0.5, 30, window=2) == 0.0
    assert isnan(recovery_iterations(y[:26], 0.5, 20, window=2))  # not back when the record ends
    assert isnan(recovery_iterations(y[:22], 0.5, 20, window=5))  # no mean to judge
    y[33] = 0.9  # one outlier: two means of two, three of three
    assert recovery_iterations(y, 0.5, 20, window=3) == 6.0


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_neither_an_excursion_nor_a_hindrance_to_come_back(seed):
    """Noise of 10 % of the setpoint; a disturbance of 60 % that is gone after 30 iterations."""
    y = noisy(300, seed)
    assert recovery_iterations(y, 0.5, 100) == 0.0
    y[100:130] -= 0.3
    assert recovery_iterations(y, 0.5, 100) == pytest.approx(28, abs=3)


def test_a_loop_that_does_not_come_back_does_not_recover():
    y = noisy(300, seed=0, std=0.01)
    y[100:] -= 0.2
    assert isnan(recovery_iterations(y, 0.5, 100))
    y[200:] += 0.2
    assert recovery_iterations(y, 0.5, 100) == pytest.approx(100, abs=4)


def test_an_offset_before_is_no_excuse_after():
    """The spread before counts around its own middle: a standing offset does not widen the tolerance."""
    y = noisy(300, seed=0, std=0.01) - 0.1
    assert isnan(recovery_iterations(y, 0.5, 100))


@pytest.mark.parametrize("at", [-1, 5])
def test_a_disturbance_is_within_the_record(at):
    with pytest.raises(ValueError, match="at must be an iteration of the record, 0 to 4"):
        recovery_iterations(Y, 0.5, at)


def test_overshoot_counts_the_far_side_only():
    assert overshoot_nats(Y, 0.5) == pytest.approx(0.1)  # started above, fell to 0.4
    assert overshoot_nats([0.1, 0.4, 0.7], 0.5) == pytest.approx(0.2)
    assert overshoot_nats([0.1, 0.4, 0.45], 0.5) == 0.0
    assert overshoot_nats([nan, 0.1, 0.7], 0.5) == pytest.approx(0.2)


def test_errors_by_hand():
    # e²: 0.25, 0.01, 0.01, 0.0004, 0: sum 0.2704
    assert rmse_nats(Y, 0.5) == pytest.approx(sqrt(0.2704 / 5))
    assert relative_rmse(Y, 0.5) == pytest.approx(2 * sqrt(0.2704 / 5))
    assert iae_nats(Y, 0.5) == pytest.approx(0.72)
    assert offset_nats(Y, 0.5, final_fraction=0.4) == pytest.approx(-0.01)  # of −0.02 and 0
    assert offset_nats([0.3, 0.3], 0.5, final_fraction=0.01) == pytest.approx(0.2)


def test_reference_may_move():
    assert iae_nats([0.5, 0.4], [0.4, 0.4]) == pytest.approx(0.1)
    assert relative_rmse([0.5, 0.4], [0.0, 0.5]) == pytest.approx(0.2)  # the zero is left out


def test_command_by_hand():
    assert effort([0.0, 1.0, 0.5, nan, 0.5]) == 1.5
    assert saturation_share([0.0, 1.0, 0.5, -1.0], -1.0, 1.0) == 0.5


def test_assess_puts_them_together():
    quality = assess(Y, 0.5, [0.0, 1.0, 0.5, 0.5, 0.5], low=-1.0, high=1.0, final_fraction=0.4)
    assert quality.settling_iteration == 3.0
    assert quality.overshoot_nats == pytest.approx(0.1)
    assert quality.rmse_nats == pytest.approx(sqrt(0.2704 / 5))
    assert quality.settled_rmse_nats == pytest.approx(sqrt(0.0004 / 2))
    assert quality.offset_nats == pytest.approx(-0.01)
    assert quality.effort == 1.5
    assert quality.saturation_share == 0.2
    assert quality.missing_share == 0.0


def test_missing_readings_are_counted_and_otherwise_left_out():
    r = [0.5, 0.5, nan, 0.5, 0.5, 0.5]
    u = [0.0, 0.1, 0.1, 0.1, 0.1, 0.1]
    with_gap = assess([1.0, 0.6, nan, 0.4, 0.52, 0.5], r, u, low=-1.0, high=1.0, final_fraction=0.33)
    whole = assess(Y, 0.5, [0.0, 0.1, 0.1, 0.1, 0.1], low=-1.0, high=1.0, final_fraction=0.4)
    assert with_gap.missing_share == pytest.approx(1 / 6)
    assert with_gap.settling_iteration == 4.0  # iterations, not readings
    for name in ("overshoot_nats", "rmse_nats", "relative_rmse", "iae_nats", "offset_nats", "effort"):
        assert getattr(with_gap, name) == pytest.approx(getattr(whole, name)), name


@pytest.mark.parametrize("y", [[], [nan], [nan, nan, nan]])
def test_without_readings_figures_are_nan_and_nothing_warns(y):
    quality = assess(y, 0.5, [nan] * len(y), low=-1.0, high=1.0)
    figures = astuple(quality)
    assert all(isnan(figure) for figure in figures[:-1])


def test_one_reading_is_enough():
    quality = assess([0.4], 0.5, [0.1], low=-1.0, high=1.0)
    assert quality.rmse_nats == pytest.approx(0.1)
    assert isnan(quality.settling_iteration)
    assert quality.effort == 0.0


def test_assess_hands_on_its_settings():
    y = noisy(200, seed=3)
    y[:50] += 0.5
    quality = assess(
        y, 0.5, np.zeros(200), low=-1.0, high=1.0, tolerance_fraction=0.1, settling_window=20, delay=2
    )
    assert quality.settling_iteration == settling_iteration(y, 0.5, 0.1, window=20)
    wandering = 0.5 + np.convolve(noisy(210, seed=4) - 0.5, 0.9 ** np.arange(11), mode="valid")
    late, early = (assess(wandering, 0.5, [0.0], low=-1.0, high=1.0, delay=delay) for delay in (3, 1))
    assert late.harris_index == harris_index(wandering, 0.5, delay=3)
    assert late.harris_index < 0.7 * early.harris_index


def test_in_other_units_everything_scales():
    rng = np.random.default_rng(0)
    y, u = rng.uniform(0.4, 0.6, 50), rng.normal(size=50)
    nats = assess(y, 0.5, u, low=-1.0, high=1.0)
    tenfold = assess(10 * y, 5.0, u, low=-1.0, high=1.0)
    assert tenfold.rmse_nats == pytest.approx(10 * nats.rmse_nats)
    assert tenfold.overshoot_nats == pytest.approx(10 * nats.overshoot_nats)
    assert tenfold.relative_rmse == pytest.approx(nats.relative_rmse)
    assert tenfold.settling_iteration == pytest.approx(nats.settling_iteration, nan_ok=True)


def test_the_largest_excursion_is_that_of_the_moving_mean():
    y = [1.0, 1.0, 1.5, 1.0, 0.4, 0.4, 1.0, np.nan]
    assert largest_excursion(y, 1.0, window=1) == pytest.approx(0.6)
    assert largest_excursion(y, 1.0, window=2) == pytest.approx(0.6)  # 0.4, 0.4
    assert largest_excursion(y, 1.0, window=3) == pytest.approx(0.4)  # (0 + 0.6 + 0.6) / 3
    assert np.isnan(largest_excursion(y, 1.0, window=8))  # seven readings are finite


def test_a_loop_is_asked_in_the_last_quarter_whether_it_holds():
    y, r = [9.0] * 6 + [1.1, 0.7], [1.0] * 8
    assert hold_error(y, r) == pytest.approx(((0.1**2 + 0.3**2) / 2) ** 0.5)
    assert hold_error([0.5], 1.0) == pytest.approx(0.5)  # one iteration at least
    assert isnan(hold_error([], []))


def test_settling_lasts_the_end_of_the_record():
    y = [1.0] * 8 + [0.5] * 2  # settled at 8 of 10
    assert settling_iteration(y, [0.5] * 10, lasts=0.2) == 8
    assert np.isnan(settling_iteration(y, [0.5] * 10, lasts=0.21))
    settled = assess(y, 0.5, [0.0] * 10, low=-1.0, high=1.0, settling_lasts=0.2)
    assert settled.settling_iteration == 8
    assert np.isnan(assess(y, 0.5, [0.0] * 10, low=-1.0, high=1.0, settling_lasts=0.3).settling_iteration)
