"""Figures of single runs: hand values."""

from __future__ import annotations

from dataclasses import replace
from math import isnan, nan

import pytest

from orchestrator.comparison.summary import band, change_correlation, changes, inside_band, saturation


@pytest.fixture
def make_limited(make_run):
    """`make_limited([(u, e, saturated), …])`: iterations of a law with a memory between 0 and 0.1."""

    def make(iterations, law="increment"):
        columns = dict(zip(("u", "e", "saturated"), map(list, zip(*iterations))))
        run = make_run(train={f"loop/entropy/{name}": values for name, values in columns.items()})
        loops = {"entropy": {"law": {"kind": law, "step_size": 0.05, "low": 0.0, "high": 0.1}}}
        return replace(run, info=replace(run.info, config={"loops": loops}))

    return make


def test_an_increment_law_is_saturated_where_the_error_pulls_beyond_its_limit(make_limited):
    pulled_up, pulled_back_down, pulled_down, pulled_back_up = (
        (0.1, 0.2),
        (0.1, -0.2),
        (0.0, -0.2),
        (0.0, 0.2),
    )
    resting_high, resting_low, between = (0.1, 0.0), (0.0, 0.0), (0.05, 0.2)
    for pair, share in [
        (pulled_up, 1.0),
        (pulled_down, 1.0),
        (pulled_back_down, 0.0),
        (pulled_back_up, 0.0),
        (resting_high, 0.0),
        (resting_low, 0.0),
        (between, 0.0),
    ]:
        assert saturation(make_limited([(*pair, 0.0)])) == share, pair
    assert (
        saturation(make_limited([(*pulled_up, 0.0), (*between, 0.0), (*between, 1.0), (*between, 0.0)]))
        == 0.5
    )
    assert saturation(make_limited([(*pulled_up, 0.0), (nan, nan, nan)])) == 1.0  # a gap is no iteration
    assert saturation(make_limited([(*pulled_up, 0.0)], law="pid")) == 0.0  # its limits are the loop's


def test_changes_are_of_iterations_that_follow_each_other(make_run):
    predicted = {0: 0.1, 1: 0.2, 2: 0.3, 5: 0.4, 6: 0.5, 7: 0.6}
    entropy = {0: 1.0, 1: 1.1, 2: 1.4, 5: 9.0, 6: 8.0, 7: nan}
    found = changes(make_run(train={"entropy/predicted_change": predicted, "entropy": entropy}))
    # 2 → 5 leaves out two updates, 6 → 7 has no reading, and after 7 nothing was measured
    assert found[0].tolist() == [0.1, 0.2, 0.4]
    assert found[1] == pytest.approx([0.1, 0.3, -1.0])


def test_the_correlation_of_changes_needs_three_and_two_values_of_each(make_run):
    def of(predicted, entropy):
        return change_correlation(make_run(train={"entropy/predicted_change": predicted, "entropy": entropy}))

    assert of([1.0, 2.0, 3.0, nan], [0.0, 2.0, 6.0, 12.0]) == pytest.approx(1.0)  # changes 2, 4, 6
    # predicted −1, 0, 1; measured 1, 0, 0, about their mean 2/3, −1/3, −1/3: −1 / √(2 · 2/3)
    assert of([-1.0, 0.0, 1.0, nan], [0.0, 1.0, 1.0, 1.0]) == pytest.approx(-((3 / 4) ** 0.5))
    assert isnan(of([1.0, 2.0, nan], [0.0, 2.0, 6.0]))  # two are too few
    assert isnan(of([1.0, 1.0, 1.0, nan], [0.0, 2.0, 6.0, 12.0]))  # one that never changes has none
    assert isnan(of([1.0, 2.0, 3.0, nan], [0.0, 2.0, 4.0, 6.0]))


def test_a_band_counts_its_edges_and_the_last_quarter_of_the_readings(make_run):
    def share(y, reference):
        run = make_run(train={**{f"loop/entropy/{letter}": y for letter in "yru"}, "entropy": y})
        loops = {"entropy": {"sensor": "entropy", "reference": reference}}
        return inside_band(replace(run, info=replace(run.info, config={"loops": loops})))

    held = {"kind": "band", "low_nats": 0.25, "high_nats": 0.5}
    early = [0.3] * 12  # of 16 iterations the last four count
    assert share([*early, 0.25, 0.5, 0.375, 0.375], held) == 1.0
    assert share([*early, 0.24, 0.51, 0.375, 0.5], held) == 0.5
    assert share([*early, 0.24, nan, 0.51, 0.375], held) == pytest.approx(1 / 3)
    assert share([9.0] * 12 + [0.3] * 4, held) == 1.0
    assert isnan(share([0.3] * 12 + [nan] * 4, held))
    assert isnan(share([0.3] * 16, {"kind": "constant", "value_nats": 0.3}))


def test_a_band_whose_edges_move_is_counted_by_those_of_each_iteration(make_run):
    # [0.6, 0.7] at iteration 0 to [0.2, 0.3] at 16: at 12..15 it is [0.3, 0.4], [0.275, 0.375], [0.25, 0.35], [0.225, 0.325]
    moving = {
        "kind": "scheduled_band",
        "start_nats": [0.6, 0.7],
        "end_nats": [0.2, 0.3],
        "num_iterations": 16,
    }
    y = [0.65] * 12 + [0.31, 0.38, 0.34, 0.2]
    run = make_run(train={**{f"loop/entropy/{letter}": y for letter in "yru"}, "entropy": y})
    loops = {"entropy": {"sensor": "entropy", "reference": moving}}
    run = replace(run, info=replace(run.info, config={"loops": loops}))
    assert inside_band(run) == 0.5
    assert band(run) == pytest.approx((0.225, 0.325))
