"""Learning efficiency, pass@k over k and profiles: hand values."""

import math

import numpy as np
import pytest

from orchestrator.comparison.contrasts import DEFAULT_METRIC as PASS
from orchestrator.comparison.learning import (
    THRESHOLDS,
    area_under_curve,
    default_target,
    efficiency,
    iterations_to,
    pass_at_k,
    profile,
    strata,
)
from orchestrator.storage.run_data import ArmRecords


def arm_of(*runs):
    return ArmRecords(name="a", method="m", runs=runs)


def test_the_first_evaluation_at_the_target_counts(make_run):
    run = make_run(evaluation={PASS: {0: 0.2, 25: 0.5, 50: 0.4, 75: 0.6}})
    assert iterations_to(run, PASS, 0.5) == 25
    assert iterations_to(run, PASS, 0.55) == 75
    assert iterations_to(run, PASS, 0.9) == math.inf
    assert math.isnan(iterations_to(run, "eval/pass_rate", 0.5))


def test_a_lucky_batch_does_not_reach_the_target(make_run):
    values = [0.0] * 9 + [1.0] + [0.0] * 10 + [0.6] * 10
    assert (
        iterations_to(make_run(train={"pass_rate": values}), "pass_rate", 0.5) == 24
    )  # (0 + 4 · 0.6) / 5 < 0.5


def test_the_area_is_weighted_by_iterations(make_run):
    run = make_run(evaluation={PASS: {0: 0.0, 10: 1.0, 40: 1.0}})
    assert area_under_curve(run, PASS) == pytest.approx((10 * 0.5 + 30 * 1.0) / 40)
    late = make_run(evaluation={PASS: {20: 0.0, 30: 1.0, 60: 1.0}})  # the same, from iteration 20 on
    assert area_under_curve(late, PASS) == pytest.approx((10 * 0.5 + 30 * 1.0) / 40)
    assert math.isnan(area_under_curve(make_run(evaluation={PASS: {0: 0.5}}), PASS))


@pytest.mark.parametrize(
    ("ends", "median", "reached"),
    [([25, 50, None], 50, 2), ([25, None, None], math.inf, 1), ([20, 40], 30, 2), ([20, None], math.inf, 1)],
)
def test_a_seed_that_never_gets_there_counts_as_the_longest(make_run, ends, median, reached):
    runs = [
        make_run(seed=seed, evaluation={PASS: {0: 0.0, end or 99: 0.1 if end is None else 0.9}})
        for seed, end in enumerate(ends)
    ]
    found = efficiency(arm_of(*runs), PASS, 0.5)
    assert (found.median, found.num_reached) == (median, reached)


def test_the_target_is_where_the_baseline_ends_rounded_down(make_arm):
    arms = [make_arm("base", {0: 0.62, 1: 0.66}), make_arm("x", {0: 0.9})]
    assert default_target(arms, "base", PASS) == pytest.approx(0.6)
    assert default_target([make_arm("base", {0: 0.65})], "base", PASS) == pytest.approx(0.65)
    assert math.isnan(default_target(arms, "base", "eval/none"))


@pytest.mark.parametrize("twentieths", range(21))
def test_a_baseline_that_ends_on_a_round_target_reaches_it(make_arm, twentieths):
    """12 · 0.05 is 0.6000000000000001."""
    assert default_target([make_arm("base", {0: twentieths / 20})], "base", PASS) == twentieths / 20


def test_pass_at_k_begins_with_one_sample_not_with_the_greedy_response(make_run):
    scores = {
        PASS: {9: 0.99},
        "eval/pass_rate": {9: 0.4},
        "eval/pass_at_8": {9: 0.8},
        "eval/pass_at_2": {9: 0.6},
    }
    curve = pass_at_k(arm_of(make_run(evaluation=scores)))
    assert {k: estimate.mean for k, (estimate, _) in curve.items()} == {1: 0.4, 2: 0.6, 8: 0.8}


def evaluation(values, family="domain"):
    return {f"eval/{family}/{name}/pass_at_1": {9: value} for name, value in values.items()}


def test_parts_of_the_evaluation_are_domains_if_several_or_difficulties(make_run):
    both = {**evaluation({"add": 0.1, "sub": 0.2}), **evaluation({"1": 0.1, "2": 0.2}, "difficulty")}
    assert strata([arm_of(make_run(evaluation=both))], PASS) == [
        "eval/domain/add/pass_at_1",
        "eval/domain/sub/pass_at_1",
    ]
    one = {**evaluation({"add": 0.1}), **evaluation({"1": 0.1, "2": 0.2}, "difficulty")}
    assert len(strata([arm_of(make_run(evaluation=one))], PASS)) == 2
    assert strata([arm_of(make_run(evaluation=evaluation({"add": 0.1})))], PASS) == []


def test_parts_that_not_all_arms_have_are_left_out(make_run):
    arms = [
        arm_of(make_run(evaluation=evaluation({"a": 1, "b": 1, "c": 1}))),
        arm_of(make_run(evaluation=evaluation({"b": 1, "c": 1, "d": 1}))),
    ]
    assert [name.split("/")[2] for name in strata(arms, PASS)] == ["b", "c"]


def test_a_profile_over_seeds_and_parts(make_run):
    runs = [make_run(seed=s, evaluation=evaluation({"a": 0.2 + s / 10, "b": 0.6})) for s in range(4)]
    names = strata([arm_of(*runs)], PASS)
    found = profile(arm_of(*runs), names)
    # scores 0.2, 0.3, 0.4, 0.5 and four times 0.6: above 0.45 are 5 of 8
    assert found.share[np.searchsorted(THRESHOLDS, 0.45)] == 5 / 8
    assert found.middle == pytest.approx((0.4 + 0.5 + 0.6 + 0.6) / 4)
    assert (found.low <= found.share + 1e-12).all()
    assert (found.high >= found.share - 1e-12).all()
    assert math.isnan(found.middle_interval.low)  # a bootstrap of four would be too narrow
    assert profile(arm_of(make_run(evaluation={})), names) is None


def test_the_band_of_a_profile_is_the_interval_of_the_shares_of_its_runs(make_run):
    runs = [make_run(seed=s, evaluation=evaluation({"a": 0.2 + s / 10, "b": 0.6})) for s in range(4)]
    found = profile(arm_of(*runs), strata([arm_of(*runs)], PASS))
    at = np.searchsorted(THRESHOLDS, 0.45)  # above it are 1, 1, 1 and 2 of 2 parts: mean 5/8
    half = 3.182446 * np.std([0.5, 0.5, 0.5, 1.0], ddof=1) / np.sqrt(4)
    assert found.low[at] == pytest.approx(5 / 8 - half)
    assert found.high[at] == 1.0  # 5/8 + half is more than everything
    eight = [make_run(seed=s, evaluation=evaluation({"a": 0.2 + s / 20, "b": 0.6})) for s in range(8)]
    many = profile(arm_of(*eight), strata([arm_of(*eight)], PASS))
    assert many.middle_interval.low < many.middle < many.middle_interval.high


def test_the_profile_of_one_seed_has_no_interval(make_run):
    run = make_run(evaluation=evaluation({"a": 0.2, "b": 0.6}))
    found = profile(arm_of(run), strata([arm_of(run)], PASS))
    assert found.share[np.searchsorted(THRESHOLDS, 0.45)] == 1 / 2
    ends = (found.middle_interval.low, found.middle_interval.high)
    assert np.isnan([*found.low, *found.high, *ends]).all()
