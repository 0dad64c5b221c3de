"""Criteria, constraints and scores, by hand."""

from __future__ import annotations

from math import inf, isnan, nan, sqrt

import numpy as np
import pytest

from orchestrator.tuning.criteria import SeedRecord, area, criterion
from orchestrator.tuning.judging import score, violations
from orchestrator.tuning.models import ConstraintsConfig, LevelBound


def record(reading, r=1.0, u=(), reward=(), **exams):
    reading = np.array(reading, dtype=float)
    return SeedRecord(
        reading=reading,
        r=np.full(reading.shape, r),
        u=np.array(u, dtype=float),
        reward=np.array(reward, dtype=float),
        evaluations={f"eval/{k}": (np.array(s, float), np.array(v, float)) for k, (s, v) in exams.items()},
    )


def value(name, of):
    return criterion(name).of(of)


def test_tracking():
    off = record([0.5, 1.25, 1.0, nan], r=1.0)
    assert value("iae", off) == 0.75
    assert value("rmse", off) == pytest.approx(sqrt((0.25 + 0.0625) / 3))
    half = record([0.25, 0.5], r=0.5)
    assert value("relative_rmse", half) == pytest.approx(sqrt(0.25 / 2))


def test_hold_error_is_of_the_last_quarter():
    assert value("hold_error", record([9, 9, 9, 9, 9, 9, 1.5, 0.5], r=1.0)) == 0.5


def test_the_harris_index_of_white_noise_about_an_offset():
    """White noise is the least there is; an offset of its size doubles the mean square, in the last half."""
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    assert value("harris_index", record(1 + noise)) == pytest.approx(1.0, abs=0.02)
    assert value("harris_index", record(1.1 + noise)) == pytest.approx(2.0, abs=0.05)
    assert isnan(value("harris_index", record(1 + noise[:40])))  # the last half has fewer than 30


def test_effort_is_the_path_of_the_command():
    assert value("effort", record([1], u=[0, 1, 0.5])) == 1.5


def test_outcomes():
    run = record(
        [1], reward=[0.2, nan, 0.4], pass_at_1=([0, 10], [0.1, 0.9]), pass_at_8=([0, 5, 10], [0, 1, 1])
    )
    assert value("pass_at_1", run) == 0.9
    assert value("pass_at_1_area", run) == pytest.approx(0.5)
    assert value("pass_at_8_area", run) == pytest.approx(0.75)  # (5 · ½ + 5 · 1) / 10
    assert value("reward_area", run) == pytest.approx(0.3)
    assert isnan(value("pass_at_4", run))
    assert area(np.array([3.0]), np.array([0.4])) == 0.4


def test_direction_and_what_a_plant_tells():
    assert criterion("iae").direction == "minimize"
    assert criterion("iae").simulable
    assert criterion("pass_at_8").direction == "maximize"
    assert not criterion("pass_at_8").simulable
    assert criterion("pass_at_8").k == 8
    assert not criterion("effort").needs_setpoint


@pytest.mark.parametrize("name", ["iea", "pass_at_0", "pass_at_", ""])
def test_an_unknown_objective_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match=r"unknown criterion .* known: .*iae"):
        criterion(name)


def collapse(found, bound):
    return violations(found, ConstraintsConfig(collapse=bound))["collapse"]


def explosion(found, bound):
    return violations(found, ConstraintsConfig(explosion=bound))["explosion"]


def test_collapse_is_how_far_below_it_stays_for_a_window():
    bound = LevelBound(fraction=0.5, window=2)
    assert collapse(record([1, 1, 0.2, 0.4], r=1.0), bound) == pytest.approx(0.1)  # 0.3 and 0.1 below 0.5
    assert collapse(record([1, 0.1, 1], r=1.0), bound) == pytest.approx(-0.5)  # one reading decides nothing
    assert collapse(record([1], r=1.0), bound) == -inf


def test_a_start_above_the_bound_is_no_explosion_but_a_rise_from_there_is():
    bound = LevelBound(nats=1.0, window=1)
    assert explosion(record([3, 2, 1]), bound) == 0.0
    assert explosion(record([3, 3.5]), bound) == 0.5
    assert explosion(record([0.5, 1.25]), bound) == 0.25


def test_a_bound_is_one_or_the_other():
    for settings in ({}, {"nats": 1, "fraction": 1}):
        with pytest.raises(ValueError, match="either nats or fraction"):
            LevelBound(**settings)


def test_a_score_is_the_mean_over_seeds_and_the_worst_violation():
    constraints = ConstraintsConfig(collapse=LevelBound(nats=0.5, window=1))
    found = score([record([1.0, 0.8]), record([1.0, 0.4])], [criterion("iae")], constraints)
    assert found.values == (pytest.approx(0.4),)
    assert found.violations == {"collapse": pytest.approx(0.1)}
    assert not found.is_feasible
    assert found.has_values


def test_a_score_without_a_value_says_so():
    found = score([record([1.0])], [criterion("pass_at_1")], ConstraintsConfig())
    assert not found.has_values
    assert found.is_feasible
    assert violations(record([1.0]), ConstraintsConfig()) == {}
