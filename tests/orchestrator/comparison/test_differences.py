"""Tests of differences: hand values, then scipy and statsmodels as a second opinion."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from orchestrator.comparison.differences import (
    cliffs_delta,
    cohens_dz,
    hedges_gz,
    holm,
    permutation_p,
    smallest_p,
)


def test_three_differences_of_one_sign_by_hand():
    # 2³ = 8 choices of signs; |sum| is as large as 6 for all + and all −: 2 of 8
    assert permutation_p([1.0, 2.0, 3.0]) == 2 / 8
    # |1 + 2 − 3| = 0: every choice is at least as large
    assert permutation_p([1.0, 2.0, -3.0]) == 1.0
    # sum 4; as large: ±(1+2+3) and ±(−1+2+3): 4 of 8
    assert permutation_p([-1.0, 2.0, 3.0]) == 4 / 8


def test_equal_differences_do_not_fall_to_rounding():
    assert permutation_p([0.1] * 6) == 2 / 64
    assert permutation_p([0.0, 0.0, 0.0]) == 1.0


@given(st.lists(st.integers(-5000, 5000), min_size=2, max_size=8))
@example([1062, 1312, 1688, 1312, -1688, -3688])  # a sum near nothing, beside which rounding is large
def test_the_exact_test_is_that_of_scipy(thousandths):
    whole = np.array(thousandths, dtype=float)  # sums of whole numbers are exact, and ties are ties
    theirs = stats.permutation_test((whole,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert permutation_p(whole / 1000) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_fourteen_differences_are_the_most_that_are_counted_exactly():
    assert permutation_p([1.0] * 14) == 2 / 2**14  # all signs alike, of 16384 choices
    assert permutation_p([1.0] * 15) != 2 / 2**15  # drawn, and never 0


def test_many_differences_are_drawn_and_agree_with_the_exact_test():
    differences = np.random.default_rng(0).normal(0.3, 1.0, size=18)
    choices = np.arange(2**18)[:, None] >> np.arange(18) & 1
    exact = np.mean(np.abs((1 - 2 * choices) @ differences) >= abs(differences.sum()) - 1e-12)
    assert permutation_p(differences) == pytest.approx(exact, abs=0.005)


def test_under_no_effect_p_is_below_a_level_no_more_often_than_that():
    rng = np.random.default_rng(1)
    p = np.array([permutation_p(rng.normal(size=7)) for _ in range(2000)])
    assert np.mean(p <= 0.05) == pytest.approx(6 / 128, abs=0.015)  # levels are multiples of 2/128


@pytest.mark.parametrize(
    ("num", "exponential", "log_normal"), [(6, 0.07, 0.11), (7, 0.09, 0.15), (10, 0.09, 0.15)]
)
def test_of_skewed_differences_with_mean_zero_more_are_significant_than_the_level_says(
    num, exponential, log_normal
):
    rng = np.random.default_rng(3)
    signs = 1 - 2 * (np.arange(2**num)[:, None] >> np.arange(num) & 1)

    def size(differences):
        sums = np.abs(differences @ signs.T)
        return np.mean(np.mean(sums >= sums[:, :1] - 1e-12, axis=1) <= 0.05)

    assert size(rng.exponential(size=(6000, num)) - 1) == pytest.approx(exponential, abs=0.02)
    assert size(rng.lognormal(size=(6000, num)) - math.exp(0.5)) == pytest.approx(log_normal, abs=0.02)
    assert size(rng.normal(size=(6000, num))) <= 0.06
    one = rng.exponential(size=num) - 1
    assert permutation_p(one) == np.mean(np.abs(signs @ one) >= abs(one.sum()) - 1e-12)


@pytest.mark.parametrize(("num", "least"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_so_many_pairs_can_give_no_smaller_p(num, least):
    assert smallest_p(num) == least == permutation_p(np.arange(1.0, num + 1))


def test_holm_by_hand():
    # in rising order 0.01·3 = 0.03, 0.02·2 = 0.04, 0.03·1 = 0.03 raised to 0.04
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


def test_tests_that_were_not_made_are_not_in_the_family():
    adjusted = holm([0.03, math.nan, 0.02])
    assert math.isnan(adjusted[1])
    assert [adjusted[0], adjusted[2]] == pytest.approx([0.04, 0.04])  # 0.02 · 2, not · 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)


def test_effect_sizes_by_hand():
    # mean 2, deviations −1, 0, 1, sample variance 1
    assert cohens_dz([1.0, 2.0, 3.0]) == pytest.approx(2.0)
    assert cohens_dz([-1.0, -2.0, -3.0]) == pytest.approx(-2.0)
    assert math.isnan(cohens_dz([1.0]))
    assert math.isnan(cohens_dz([1.0, 1.0]))
    # of the 6 pairs (1|0) (1|2) (3|0) (3|2) (1|1) (3|1): 4 above, 1 below, 1 alike
    assert cliffs_delta([1.0, 3.0], [0.0, 2.0, 1.0]) == pytest.approx(3 / 6)
    assert math.isnan(cliffs_delta([], [1.0]))


def test_the_correction_for_few_pairs_by_hand():
    # J(2) = Γ(1) / (√1 · Γ(1/2)) = 1/√π; d_z = 2 / 1
    assert hedges_gz([1.0, 2.0, 3.0]) == pytest.approx(2 / math.sqrt(math.pi))
    assert math.isnan(hedges_gz([1.0, 2.0]))
    assert math.isnan(hedges_gz([1.0, 1.0, 1.0]))
    many = np.random.default_rng(0).normal(0.5, 1.0, size=400)
    assert hedges_gz(many) == pytest.approx(cohens_dz(many), rel=2e-3)


@pytest.mark.parametrize("num", [3, 5, 8])
def test_corrected_it_is_right_on_average_and_uncorrected_too_large(num):
    experiments = np.random.default_rng(num).normal(0.8, 1.0, size=(20_000, num))
    raw = experiments.mean(axis=1) / experiments.std(axis=1, ddof=1)
    ratio = hedges_gz(experiments[0]) / cohens_dz(experiments[0])
    assert raw.mean() > 1.1 * 0.8
    assert ratio * raw.mean() == pytest.approx(0.8, abs=0.03 if num > 3 else 0.1)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_cliffs_delta_is_from_the_statistic_of_mann_and_whitney(one, other):
    u = stats.mannwhitneyu(one, other).statistic
    assert cliffs_delta(one, other) == pytest.approx(2 * u / (len(one) * len(other)) - 1, abs=1e-12)
