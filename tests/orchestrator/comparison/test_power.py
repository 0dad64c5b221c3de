"""Power of the sign-flip test: hand values, scipy and statsmodels, and simulated experiments."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from orchestrator.comparison.differences import permutation_p
from orchestrator.comparison.power import detectable_effect, pairs_for, power, student_power


@pytest.mark.parametrize(("effect", "seeds"), [(1.5, 7), (1.0, 11), (0.8, 15), (0.5, 34)])
def test_so_many_seeds_find_an_effect_in_four_of_five_experiments(effect, seeds):
    assert pairs_for(effect, 0.05) == seeds


@pytest.mark.parametrize(("effect", "seeds"), [(1.5, 6), (1.0, 10), (0.8, 15), (0.5, 34)])
def test_the_t_test_is_that_of_the_noncentral_t(effect, seeds):
    def noncentral(num):
        critical, shift = stats.t.isf(0.025, num - 1), effect * math.sqrt(num)
        return stats.nct.sf(critical, num - 1, shift) + stats.nct.cdf(-critical, num - 1, shift)

    assert noncentral(seeds - 1) < 0.8 <= noncentral(seeds)
    for num in (seeds - 1, seeds):
        assert student_power(num, effect, 0.05) == pytest.approx(noncentral(num), abs=1e-10)
        theirs = TTestPower().power(effect, num, 0.05)
        assert student_power(num, effect, 0.05) == pytest.approx(theirs, abs=1e-8)


def test_six_pairs_find_something_only_where_all_signs_agree():
    # the chance of six positive ones is Φ(d)⁶, and Φ(d)⁶ = 0.8 at d = Φ⁻¹(0.8^(1/6)) = 1.791
    for effect in (0.5, 1.0, 1.5):
        agree = stats.norm.cdf(effect) ** 6 + stats.norm.sf(effect) ** 6
        assert power(6, effect, 0.05) == pytest.approx(agree, abs=0.02)
    assert detectable_effect(6, 0.05) == pytest.approx(stats.norm.ppf(0.8 ** (1 / 6)), abs=0.05)


def test_with_too_few_pairs_nothing_can_be_found():
    assert power(5, 9.0, 0.05) == 0.0
    assert detectable_effect(5, 0.05) == math.inf
    assert detectable_effect(6, 0.05 / 2) == math.inf  # two arms


@pytest.mark.parametrize("num", [7, 9, 12])
def test_an_effect_that_can_be_found_is_found_in_four_of_five(num):
    effect = detectable_effect(num, 0.05)
    rng = np.random.default_rng(7)
    found = [permutation_p(rng.normal(effect, 1.0, size=num)) <= 0.05 for _ in range(600)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_an_effect_of_any_size_has_a_power():
    assert student_power(20, 3.0, 0.05) == pytest.approx(1.0)  # where scipy's tail on the wrong side is nan
    found = [detectable_effect(num, 0.05) for num in range(6, 30)]
    assert found == sorted(found, reverse=True)
