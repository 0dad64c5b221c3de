"""Intervals: hand values, scipy as a second opinion, and the coverage that the docs claim."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from orchestrator.comparison.bootstrap import (
    Interval,
    mean_bands,
    mean_interval,
    stratified_interval,
    tail_level,
)


def test_the_level_of_five_values_by_hand():
    # t_{0.975, 4} = 2.776445; √(5/4) · 2.776445 = 3.104160; Φ(−3.104160) = 0.000954
    assert tail_level(5) == pytest.approx(0.000954, rel=1e-3)
    assert tail_level(10_000) == pytest.approx(0.025, rel=1e-2)


@pytest.mark.parametrize("num", [2, 3, 4])
def test_up_to_four_values_the_ends_are_the_smallest_and_the_largest(num):
    values = [0.5, 0.1, 0.9, 0.3][:num]
    assert mean_interval(values) == Interval(min(values), max(values))


def test_one_value_has_no_interval():
    assert np.isnan(mean_interval([0.4]).low)
    assert np.isnan(mean_interval([]).high)


def test_values_that_are_not_finite_do_not_count():
    assert mean_interval([0.1, np.nan, 0.3, np.inf]) == Interval(0.1, 0.3)


def test_many_values_give_the_percentile_interval_of_scipy():
    sample = np.random.default_rng(1).exponential(size=400)
    theirs = stats.bootstrap((sample,), np.mean, n_resamples=10_000, method="percentile", rng=2)
    ours = mean_interval(sample)
    scale = theirs.standard_error
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.15 * scale)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.15 * scale)


def test_columns_with_gaps_are_as_columns_without():
    table = np.random.default_rng(0).normal(size=(6, 3))
    table[1, 1] = table[4, 1] = np.nan
    low, high = mean_bands(table)
    for column in range(3):
        alone = mean_interval(table[:, column])
        assert (low[column], high[column]) == (alone.low, alone.high)


@given(arrays(float, st.integers(2, 9), elements=st.floats(-10, 10)), st.floats(-5, 5), st.floats(0.1, 10))
def test_an_interval_holds_its_mean_and_moves_with_the_unit(values, shift, scale):
    one, other = (
        mean_interval(values, num_resamples=200),
        mean_interval(shift + scale * values, num_resamples=200),
    )
    assert one.low <= values.mean() + 1e-9
    assert one.high >= values.mean() - 1e-9
    assert other.low == pytest.approx(shift + scale * one.low, abs=1e-6)


@pytest.mark.parametrize(("num", "claimed"), [(3, 0.75), (4, 0.87), (5, 0.92), (10, 0.94)])
def test_the_interval_covers_what_the_docs_say(num, claimed):
    sample = np.random.default_rng(num).normal(size=(num, 4000))
    low, high = mean_bands(sample, num_resamples=1000)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(claimed, abs=0.02)


def test_runs_drawn_whole_vary_more_than_parts_drawn_apart():
    # three parts that are alike in a run: drawn whole there are 4 values, drawn apart 12
    scores = np.tile(np.array([[0.2], [0.4], [0.6], [0.8]]), 3)

    def width(joint):
        low, high = stratified_interval(scores, lambda drawn: drawn.mean(axis=(-2, -1)), joint=joint)
        return float(high - low)

    assert width(True) == pytest.approx(np.sqrt(3) * width(False), rel=0.1)


def test_drawing_apart_is_the_bootstrap_of_each_stratum():
    scores = np.random.default_rng(3).normal(size=(8, 2)) * [1.0, 5.0]
    low, high = stratified_interval(scores, lambda drawn: drawn.mean(axis=1), joint=False, num_resamples=4000)
    for column in range(2):
        alone = stats.bootstrap((scores[:, column],), np.mean, n_resamples=4000, method="percentile", rng=1)
        assert low[column] == pytest.approx(alone.confidence_interval.low, abs=0.1 * alone.standard_error)
        assert high[column] == pytest.approx(alone.confidence_interval.high, abs=0.1 * alone.standard_error)
