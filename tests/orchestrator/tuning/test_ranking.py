"""Rankings by hand, and against scipy."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orchestrator.tuning.ranking import best_first, rank_correlation, spread_out

BOTH = ("minimize", "maximize")


def test_one_objective_is_sorted():
    assert best_first([[3.0], [1.0], [2.0]], ["minimize"]).tolist() == [1, 2, 0]
    assert best_first([[3.0], [1.0], [2.0]], ["maximize"]).tolist() == [0, 2, 1]


def test_several_are_ranked_by_fronts():
    # (cost, gain): 0 and 3 are not dominated; 1 is by 0; 2 by 1 as well.
    values = [[1.0, 5.0], [2.0, 5.0], [3.0, 4.0], [0.5, 1.0]]
    assert best_first(values, BOTH).tolist() == [3, 0, 1, 2]


def test_what_violates_comes_last_the_least_violation_first():
    order = best_first([[1.0], [2.0], [3.0]], ["minimize"], [0.5, 0.1, 0.0])
    assert order.tolist() == [2, 1, 0]


def test_what_violates_comes_after_every_feasible_one_whatever_their_fronts():
    # 0 dominates 1, which is in the second front; 2 is better than both and violates
    assert best_first([[1.0], [2.0], [0.5]], ["minimize"], [0.0, 0.0, 0.1]).tolist() == [0, 1, 2]
    # two objectives: 1 and 2 are behind 0; 3 violates more than 4
    values = [[1.0, 5.0], [2.0, 5.0], [3.0, 4.0], [0.1, 9.0], [9.0, 0.0]]
    assert best_first(values, BOTH, [0.0, 0.0, 0.0, 0.2, 0.1]).tolist() == [0, 1, 2, 4, 3]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_nothing_dominates_what_is_ranked_before_it(values):
    order = best_first(np.array(values, dtype=float), BOTH)
    assert sorted(order.tolist()) == list(range(len(values)))
    for place, index in enumerate(order):
        cost, gain = values[index]
        for later in order[place + 1 :]:
            other_cost, other_gain = values[later]
            assert not (
                other_cost <= cost and other_gain >= gain and (other_cost, other_gain) != (cost, gain)
            )


def test_spread_out_takes_the_best_of_each_neighbourhood():
    def apart(one, other):
        return abs(one - other)

    assert spread_out([5, 5.05, 4, 4.95, 6], 3, 0.1, apart) == [5, 4, 6]
    assert spread_out([5, 5.05], 3, 0.0, apart) == [5, 5.05]
    assert spread_out([], 3, 0.1, apart) == []


def test_rank_correlation_is_scipys():
    x, y = [1.0, 2.0, 3.0, 4.0, 5.0, np.nan], [1.0, 3.0, 2.0, 5.0, 4.0, 9.0]
    found = rank_correlation(x, y)
    assert found.num == 5
    assert found.spearman == pytest.approx(0.8)  # 1 − 6·4 / (5·24)
    assert found.kendall == pytest.approx(0.6)  # 8 pairs in order, 2 not, of 10
    assert found.p_value == stats.kendalltau(x[:5], y[:5]).pvalue


@pytest.mark.parametrize(("x", "y"), [([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1], [1, 2, 3, 4]), ([], [])])
def test_too_little_gives_no_number(x, y):
    found = rank_correlation(x, y)
    assert isnan(found.spearman)
    assert isnan(found.kendall)
    assert found.num == len(x)
