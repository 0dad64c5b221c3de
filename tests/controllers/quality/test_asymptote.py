"""The sigmoid of reward over compute, against curves that are known."""

import numpy as np
import pytest

from controllers.quality.asymptote import fit_asymptote

ITERATIONS = np.arange(1, 301, dtype=float)


def curve(start=0.2, asymptote=0.8, efficiency=1.5, midpoint=60.0):
    """The equation of the paper, written down once more."""
    return start + (asymptote - start) / (1 + (midpoint / ITERATIONS) ** efficiency)


def test_an_exact_curve_gives_its_own_parameters():
    found = fit_asymptote(ITERATIONS, curve(), 0.2)
    assert found.asymptote == pytest.approx(0.8, abs=1e-6)
    assert found.efficiency == pytest.approx(1.5, abs=1e-5)
    assert found.midpoint == pytest.approx(60.0, rel=1e-5)
    assert found.warning is None
    assert found.reward(ITERATIONS) == pytest.approx(curve(), abs=1e-6)
    # At the midpoint half of the way is done.
    assert found.reward([60.0])[0] == pytest.approx(0.5)


def test_half_of_a_curve_foretells_its_end_within_the_error():
    """200 draws of noise: A is within two standard errors as often as it should be."""
    inside = 0
    for seed in range(200):
        noise = 0.03 * np.random.default_rng(seed).normal(size=150)
        found = fit_asymptote(ITERATIONS[:150], curve()[:150] + noise, 0.2)
        inside += abs(found.asymptote - 0.8) < 2 * found.asymptote_error
    assert 180 <= inside <= 199


def test_a_falling_curve_has_an_asymptote_below_its_start():
    found = fit_asymptote(ITERATIONS, curve(start=0.9, asymptote=0.4), 0.9)
    assert found.asymptote == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_has_no_asymptote_to_rely_on(seed):
    noise = 0.02 * np.random.default_rng(seed).normal(size=300)
    assert fit_asymptote(ITERATIONS, 0.3 + noise, 0.3).warning is not None


def test_a_curve_that_is_cut_before_its_midpoint_is_an_extrapolation():
    found = fit_asymptote(ITERATIONS[:40], curve()[:40], 0.2)
    assert found.warning == "the run ended before half of the way: A is an extrapolation"


def test_a_straight_line_approaches_nothing():
    found = fit_asymptote(ITERATIONS, 0.2 + 0.0005 * ITERATIONS, 0.2)
    assert found.warning == "no sigmoid fits: reward did not approach anything"
    assert np.isnan(found.asymptote)


def test_too_few_points_are_said():
    found = fit_asymptote(ITERATIONS, np.full(300, np.nan), 0.2)
    assert found.warning == "0 points are too few, 10 are needed"


def test_points_of_several_runs_are_fitted_together_and_gaps_left_out():
    twice, reward = np.tile(ITERATIONS, 2), np.tile(curve(), 2)
    reward[7] = np.nan
    assert fit_asymptote(twice, reward, 0.2).asymptote == pytest.approx(0.8, abs=1e-6)


def test_vectors_of_different_length_are_refused():
    with pytest.raises(ValueError, match="two vectors of one length"):
        fit_asymptote([1.0, 2.0], [0.1], 0.0)
