"""A run that a guardrail stopped counts: an arm that loses seeds does not look better for it."""

import math

import numpy as np
import pytest

from orchestrator.comparison import curve, summarise
from orchestrator.comparison.comparison import compare
from orchestrator.comparison.contrasts import contrasts
from orchestrator.comparison.learning import area_under_curve, iterations_to
from orchestrator.comparison.progress import progress
from orchestrator.comparison.values import final_values
from orchestrator.storage.run_data import ArmRecords

PASS = "eval/pass_at_1"


@pytest.fixture
def of(make_run):
    """`of("a", [{step: score}, ...], stopped={2})`: an arm of runs over 100 iterations."""

    def make(name, evaluations, stopped=()):
        runs = [
            make_run(
                name,
                seed,
                evaluation={PASS: evaluation} if evaluation else {},
                status="stopped" if seed in stopped else "done",
                num_iterations=100,
            )
            for seed, evaluation in enumerate(evaluations)
        ]
        return ArmRecords(name=name, method="m", runs=tuple(runs))

    return make


def by_arm(rows):
    return {row.arm: row for row in rows}


def test_collapses_in_a_third_of_the_seeds_are_a_loss_not_a_gain(of):
    rng = np.random.default_rng(0)
    plain = 0.55 + 0.01 * rng.normal(size=10)
    held = plain + 0.02 + 0.005 * rng.normal(size=10)
    held[[1, 4, 7]] = 0.03  # the evaluation after their entropy was gone
    base = of("base", [{0: 0.5, 100: score} for score in plain])
    other = of(
        "other", [{0: 0.5, 100 if s not in (1, 4, 7) else 50: y} for s, y in enumerate(held)], {1, 4, 7}
    )
    truth = sum(a - b for a, b in zip(held, plain)) / 10
    survivors = [a - b for s, (a, b) in enumerate(zip(held, plain)) if s not in (1, 4, 7)]
    assert sum(survivors) / 7 > 0.015  # what was said
    row = by_arm(contrasts([base, other], PASS, "base"))["other"]
    assert row.num_pairs == 10
    assert row.difference == pytest.approx(truth)
    assert truth < -0.12
    assert row.verdict == "no difference detected"  # with a standard deviation of a quarter, and 10 seeds
    assert row.difference_interval.low < truth < row.difference_interval.high
    assert summarise(other).pass_at_1.mean == pytest.approx(row.estimate.mean) == pytest.approx(held.mean())
    assert (summarise(other).num_done, summarise(other).num_stopped) == (7, 3)


def test_there_is_no_verdict_where_it_rests_on_an_evaluation_from_before_the_failure(of):
    base = of("base", [{0: 0.1, 100: 0.5}] * 8)
    better = [{0: 0.1, 100: 0.6 + 0.01 * seed} for seed in range(8)]
    assert by_arm(contrasts([base, of("x", better)], PASS, "base"))["x"].verdict == "higher"
    better[3] = {0: 0.1, 50: 0.6}  # sat at 50, and then it was stopped
    row = by_arm(contrasts([base, of("x", better, {3})], PASS, "base"))["x"]
    assert row.difference == pytest.approx((0.1 * 8 + 0.01 * (0 + 1 + 2 + 0 + 4 + 5 + 6 + 7)) / 8)
    assert row.verdict == (
        "no verdict: higher, but no difference detected with 0 in the evaluations that stopped runs never reached"
    )
    worse = [{0: 0.1, 100: 0.4 - 0.01 * seed} for seed in range(8)]
    worse[3] = {0: 0.1, 50: 0.3}
    assert by_arm(contrasts([base, of("x", worse, {3})], PASS, "base"))["x"].verdict == "lower"  # either way


def test_a_stopped_baseline_helps_nobody(of):
    base = [{0: 0.1, 100: 0.5}] * 8
    other = of("x", [{0: 0.1, 100: 0.4 - 0.01 * seed} for seed in range(8)])
    stopped = of("base", [*base[:7], {0: 0.1, 50: 0.5}], {7})
    verdict = by_arm(contrasts([stopped, other], PASS, "base"))["x"].verdict
    assert verdict.startswith("no verdict: lower, but no difference detected")


def test_an_evaluation_that_was_never_sat_is_0_where_others_sat_it(of):
    arm = of("x", [{0: 0.4, 100: 0.8}, {}], {1})
    assert final_values(arm.runs, PASS) == (0.8, 0.0)
    assert summarise(arm).pass_at_1.values == (0.8, 0.0)
    assert all(map(math.isnan, final_values(of("y", [{}, {}], {1}).runs, PASS)))  # no run was evaluated
    assert math.isnan(final_values(of("y", [{0: 0.3, 9: 0.5}, {}]).runs, PASS)[1])  # it was not stopped
    alone = by_arm(contrasts([of("base", [{0: 0.4, 100: 0.8}]), of("x", [{}], {0})], PASS, "base"))["x"]
    assert alone.difference == pytest.approx(-0.8)


def test_a_training_metric_counts_with_what_the_run_had_at_last(make_run):
    run = make_run(train={"reward": [0.9] * 18 + [0.1, 0.3]}, status="stopped")
    assert final_values([run], "reward") == final_values([run], "reward", worst=True) == pytest.approx((0.2,))


def test_a_stopped_run_never_gets_to_the_target_and_keeps_its_last_value(of):
    run = of("x", [{0: 0.2, 50: 0.4}], {0}).runs[0]
    assert iterations_to(run, PASS, 0.5) == math.inf
    assert area_under_curve(run, PASS) == pytest.approx((50 * 0.3 + 50 * 0.4) / 100)
    assert iterations_to(of("x", [{}], {0}).runs[0], PASS, 0.5) == math.inf


def test_the_curve_of_exams_does_not_rise_where_a_run_is_stopped(of):
    arm = of("x", [{0: 0.4, 50: 0.6, 100: 0.8}, {0: 0.4, 50: 0.0}], {1})
    assert curve(arm.shown, PASS, "eval").mean.tolist() == pytest.approx([0.4, 0.3, 0.4])


def test_an_arm_is_held_against_its_own_start(of):
    fell = of("fell", [{0: 0.5 + 0.01 * s, 100: 0.4} for s in range(8)])
    rose = of("rose", [{0: 0.1, 100: 0.4 + 0.01 * s} for s in range(8)])
    rows = by_arm(progress([fell, rose], PASS))
    assert rows["fell"].difference == pytest.approx(-0.1 - 0.035)
    assert rows["fell"].p == 2 / 2**8
    assert rows["fell"].p_adjusted == 4 / 2**8
    assert (rows["fell"].verdict, rows["rose"].verdict) == ("below its start", "above its start")
    assert rows["rose"].start.mean == pytest.approx(0.1)
    assert rows["rose"].end.mean == pytest.approx(0.435)


def test_the_one_evaluation_of_a_run_is_its_end_and_no_start(of):
    (row,) = progress([of("x", [{100: 0.5}] * 3)], PASS)
    assert math.isnan(row.difference)
    assert row.verdict == "no ended run has both"
    (row,) = progress([of("x", [{0: 0.5}] * 2, {0, 1})], PASS)  # stopped before the second
    assert row.difference == 0.0


def test_the_start_of_every_run_is_in_the_comparison(of, make_comparable):
    arms = [of("base", [{0: 0.2, 100: 0.5}, {0: 0.4, 100: 0.5}]), of("x", [{0: 0.3, 100: 0.6}])]
    found = compare(make_comparable(arms), baseline="base")
    assert [row.start.values for row in found.contrasts] == [(0.2, 0.4), (0.3,)]
    assert [row.difference for row in found.progress] == pytest.approx([0.2, 0.3])


def test_what_the_seeds_at_hand_would_find_is_in_the_unit_of_the_metric(of):
    base = of("base", [{0: 0.1, 100: 0.5}] * 6)
    differences = [0.1, -0.1, 0.05, 0.02, -0.03, 0.0]
    other = of("x", [{0: 0.1, 100: 0.5 + d} for d in differences])
    row = by_arm(contrasts([base, other], PASS, "base"))["x"]
    # six seeds find d_z = 1.791 (see test_power), in units of their standard deviation
    assert row.detectable == pytest.approx(1.791 * np.std(differences, ddof=1), rel=0.02)
    assert row.verdict == "no difference detected"
    few = by_arm(contrasts([base, of("x", [{0: 0.1, 100: 0.5 + d} for d in differences[:4]])], PASS, "base"))
    assert few["x"].detectable == math.inf
