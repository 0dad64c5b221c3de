"""Intervals: hand values, scipy as a second opinion, and the coverage that the docs claim."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from orchestrator.comparison.bootstrap import (
    BOOTSTRAP,
    STUDENT,
    kind_of,
    mean_bands,
    mean_interval,
    resampled_bands,
    stratified_interval,
    student_bands,
    tail_level,
)


def test_the_level_of_five_values_by_hand():
    # t_{0.975, 4} = 2.776445; √(5/4) · 2.776445 = 3.104160; Φ(−3.104160) = 0.000954
    assert tail_level(5) == pytest.approx(0.000954, rel=1e-3)
    assert tail_level(10_000) == pytest.approx(0.025, rel=1e-2)


@pytest.mark.parametrize("num", [2, 3, 4])
def test_of_up_to_four_values_the_bootstrap_is_from_the_smallest_to_the_largest(num):
    values = np.array([0.5, 0.1, 0.9, 0.3][:num])[:, None]
    low, high = resampled_bands(values)
    assert (low[0], high[0]) == (values.min(), values.max())


def test_three_values_are_given_the_interval_of_student_by_hand():
    # mean 2, standard deviation 1, t_{0.975, 2} = 4.302653: 2 ± 4.302653 / √3
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.low, found.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-5)
    assert found.kind == STUDENT


@given(arrays(float, st.integers(2, 7), elements=st.integers(-999, 999).map(lambda x: x / 100)))
def test_below_eight_values_it_is_the_t_interval_of_scipy(values):
    assume(np.ptp(values) > 0)  # scipy has no interval without a spread
    theirs = stats.t.interval(0.95, values.size - 1, values.mean(), values.std(ddof=1) / np.sqrt(values.size))
    ours = mean_interval(values)
    assert (ours.low, ours.high) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_from_eight_values_on_it_is_the_bootstrap():
    values = np.sort(np.random.default_rng(0).exponential(size=8))
    low, high = resampled_bands(values[:, None])
    found = mean_interval(values)
    assert (found.low, found.high, found.kind) == (low[0], high[0], BOOTSTRAP)
    assert kind_of(7) == STUDENT
    assert kind_of(1) == ""


def test_one_value_has_no_interval():
    assert np.isnan(mean_interval([0.4]).low)
    assert np.isnan(mean_interval([]).high)


def test_values_that_are_not_finite_do_not_count():
    assert mean_interval([0.1, np.nan, 0.3, np.inf]) == mean_interval([0.1, 0.3])


def test_many_values_give_the_percentile_interval_of_scipy():
    sample = np.random.default_rng(1).exponential(size=400)
    theirs = stats.bootstrap((sample,), np.mean, n_resamples=10_000, method="percentile", rng=2)
    ours = mean_interval(sample)
    scale = theirs.standard_error
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.15 * scale)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.15 * scale)


def test_columns_with_gaps_are_as_columns_without():
    table = np.random.default_rng(0).normal(size=(9, 3))
    table[1, 1] = table[4, 1] = np.nan  # seven are left, which are given another interval
    low, high = mean_bands(table)
    for column in range(3):
        alone = mean_interval(table[:, column])
        assert (low[column], high[column]) == pytest.approx((alone.low, alone.high), rel=1e-12)


@given(arrays(float, st.integers(2, 9), elements=st.floats(-10, 10)), st.floats(-5, 5), st.floats(0.1, 10))
def test_an_interval_holds_its_mean_and_moves_with_the_unit(values, shift, scale):
    one, other = (
        mean_interval(values, num_resamples=200),
        mean_interval(shift + scale * values, num_resamples=200),
    )
    assert one.low <= values.mean() + 1e-9
    assert one.high >= values.mean() - 1e-9
    assert other.low == pytest.approx(shift + scale * one.low, abs=1e-6)


NORMAL = {
    3: (0.95, 0.75),
    4: (0.95, 0.88),
    5: (0.95, 0.92),
    7: (0.95, 0.94),
    8: (0.95, 0.94),
    10: (0.95, 0.94),
}
SKEWED = {
    3: (0.88, 0.70),
    4: (0.88, 0.82),
    5: (0.88, 0.86),
    7: (0.89, 0.89),
    8: (0.89, 0.90),
    10: (0.90, 0.91),
}
"""By the number of seeds, what Student's t and the bootstrap cover; as in docs/comparison.md."""


def covered(bands):
    return np.mean((bands[0] <= 0) & (bands[1] >= 0))


@pytest.mark.parametrize("num", NORMAL)
@pytest.mark.parametrize(("draw", "claimed"), [("normal", NORMAL), ("exponential", SKEWED)])
def test_the_intervals_cover_what_the_docs_say(num, draw, claimed):
    rng = np.random.default_rng(num)
    sample = rng.normal(size=(num, 4000)) if draw == "normal" else rng.exponential(size=(num, 4000)) - 1
    student, resampled = claimed[num]
    assert covered(student_bands(sample)) == pytest.approx(student, abs=0.02)
    assert covered(resampled_bands(sample, num_resamples=1000)) == pytest.approx(resampled, abs=0.02)


@pytest.mark.parametrize("num", [2, 3, 5, 7])
def test_what_a_reader_is_given_of_few_seeds_covers_95_percent(num):
    sample = np.random.default_rng(num).normal(size=(num, 8000))
    assert covered(mean_bands(sample)) == pytest.approx(0.95, abs=0.01)


def test_the_docs_have_the_coverage_that_is_measured_here():
    text = (Path(__file__).parents[3] / "docs" / "comparison.md").read_text()
    for name, own in (("normal", NORMAL), ("skewed (exponential)", SKEWED)):
        for row, interval in enumerate(("Student’s t", "bootstrap")):
            cells = " | ".join(f"{100 * own[num][row]:.0f} %" for num in own)
            assert f"| {name}, {interval} | {cells} |" in text
    assert f"| seeds | {' | '.join(map(str, NORMAL))} |" in text


def test_runs_drawn_whole_vary_more_than_parts_drawn_apart():
    # three parts that are alike in a run: drawn whole there are 8 values, drawn apart 24
    scores = np.tile(np.linspace(0.1, 0.8, 8)[:, None], 3)

    def width(joint):
        low, high = stratified_interval(
            scores, lambda drawn: drawn.mean(axis=(-2, -1)), joint=joint, num_resamples=20_000
        )
        return float(high - low)

    assert width(True) == pytest.approx(np.sqrt(3) * width(False), rel=0.1)


def test_drawing_apart_is_the_bootstrap_of_each_stratum():
    scores = np.random.default_rng(3).uniform(size=(12, 2)) * [1.0, 5.0]
    low, high = stratified_interval(
        scores, lambda drawn: drawn.mean(axis=1), joint=False, num_resamples=20_000
    )
    inside = 1 - 2 * tail_level(12)
    for column in range(2):
        alone = stats.bootstrap(
            (scores[:, column],),
            np.mean,
            n_resamples=20_000,
            method="percentile",
            confidence_level=inside,
            rng=1,
        )
        assert low[column] == pytest.approx(alone.confidence_interval.low, abs=0.15 * alone.standard_error)
        assert high[column] == pytest.approx(alone.confidence_interval.high, abs=0.15 * alone.standard_error)
