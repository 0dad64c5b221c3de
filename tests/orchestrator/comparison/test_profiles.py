"""Aggregates, against the formulas of rliable."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from orchestrator.comparison.profiles import interquartile_mean, performance_profile

tables = arrays(float, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.floats(0, 1))


def test_the_middle_half_by_hand():
    # eight scores, two cut at each end: (0.3 + 0.4 + 0.5 + 0.6) / 4
    scores = [[0.9, 0.1, 0.3, 0.5], [0.2, 0.4, 0.6, 1.0]]
    assert interquartile_mean(scores) == pytest.approx(0.45)


@given(tables)
def test_the_interquartile_mean_is_rliables(scores):
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None), abs=1e-12)


def test_a_profile_by_hand():
    # above 0: 3 of 4; above 0.5, not at it: 1 of 4; above 1: none
    assert performance_profile([[0.0, 0.5], [0.4, 0.9]], [0.0, 0.5, 1.0]).tolist() == [0.75, 0.25, 0.0]


@given(tables)
def test_a_profile_falls_and_its_area_is_the_mean(scores):
    thresholds = np.linspace(0, 1, 2001)
    profile = performance_profile(scores, thresholds)
    assert (np.diff(profile) <= 0).all()
    assert np.trapezoid(profile, thresholds) == pytest.approx(scores.mean(), abs=1e-3)


@given(arrays(float, (3, 4, 2), elements=st.floats(0, 1)))
def test_several_tables_at_once_are_as_each_alone(scores):
    assert interquartile_mean(scores).tolist() == [float(interquartile_mean(each)) for each in scores]
    together = performance_profile(scores, [0.2, 0.7])
    np.testing.assert_array_equal(together, [performance_profile(each, [0.2, 0.7]) for each in scores])
