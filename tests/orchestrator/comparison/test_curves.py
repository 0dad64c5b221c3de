"""Curves that are thinned for a page keep their extremes, and are what was measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orchestrator.comparison.bootstrap import mean_interval
from orchestrator.comparison.curves import MOST_POINTS, curve, extremes, table_of


@given(arrays(float, st.integers(1, 3000), elements=st.floats(-9, 9)), st.integers(10, 500))
def test_thinning_keeps_the_ends_and_the_extremes(values, most):
    kept = extremes(values, most)
    assert kept.size <= most
    assert (np.diff(kept) > 0).all()
    assert {kept[0], kept[-1]} == {0, values.size - 1}
    assert values[kept].min() == values.min()
    assert values[kept].max() == values.max()


def test_short_series_are_left_alone():
    assert extremes(np.arange(7.0), 10).tolist() == list(range(7))


def test_a_spike_in_a_long_run_is_on_the_page(make_run):
    values = [0.5] * 5000
    values[3217] = 7.0
    drawn = curve([make_run(train={"entropy": values})], "entropy")
    assert drawn.steps.size <= MOST_POINTS
    assert drawn.mean[drawn.steps.tolist().index(3217)] == 7.0


def test_the_band_is_the_interval_of_the_seeds_that_have_the_step(make_run):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(8, 4))
    runs = [make_run(seed=s, train={"x": dict(enumerate(row))}) for s, row in enumerate(table[:7])]
    runs.append(make_run(seed=7, train={"x": {2: table[7, 2]}}))
    drawn = curve(runs, "x")
    for step in range(4):
        own = table[:8, step] if step == 2 else table[:7, step]
        interval = mean_interval(own, num_resamples=1000)
        assert drawn.low[step] == pytest.approx(interval.low)
        assert drawn.high[step] == pytest.approx(interval.high)
    assert drawn.mean[2] == pytest.approx(table[:8, 2].mean())


def test_without_a_band_the_ends_are_the_mean(make_run):
    runs = [make_run(seed=s, train={"x": [float(s)]}) for s in range(3)]
    drawn = curve(runs, "x", band=False)
    assert drawn.low.tolist() == drawn.high.tolist() == drawn.mean.tolist() == [1.0]


def test_runs_without_the_metric_are_no_rows(make_run):
    steps, table = table_of([make_run(train={"x": {3: 1.0}}), make_run(train={"y": {5: 1.0}})], "x")
    assert steps.tolist() == [3]
    assert table.tolist() == [[1.0]]
