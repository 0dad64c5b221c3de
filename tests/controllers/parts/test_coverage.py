"""The coverage reference: its moves by hand, what it does with noise, what it reads, and how it goes on."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from math import exp, log, nan

import pytest

from controllers import Annealed, Auto, Constant, Coverage, FeedbackLoop, restore

FAST = Coverage(num_readings=2, period=3, significance=0.0)
"""Moves every three iterations."""


def course(reference, readings, y=1.0, first_iteration=0):
    """r at every iteration, of telemetry or of ψ alone, at a constant measurement."""
    state, rs = reference.init(), []
    for t, reading in enumerate(readings, start=first_iteration):
        telemetry = reading if isinstance(reading, dict) else {"coverage/psi": reading}
        state, r = reference.step(state, y, t, telemetry)
        rs.append(r)
    return rs


def test_it_is_the_measurement_until_its_anchor_is_there():
    reference, state, rs = replace(FAST, gain=0.0), FAST.init(), []
    for t, y in enumerate((1.0, 3.0, 9.0, 0.1)):
        state, r = reference.step(state, y, t, {})
        rs.append(r)
    assert rs == pytest.approx([1.0, 1.4, 1.4, 1.4])  # y, then 0.7 · (1 + 3) / 2


@pytest.mark.parametrize(("gain", "drift"), [(0.2, -0.06), (0.5, -0.1), (0.05, -0.02), (0.2, 0.0)])
def test_the_loop_does_not_move_what_it_is_anchored_to(gain, drift):
    """A plant with 2 % noise that starts at 1: the setpoint is 0.7 of that, whatever the loop does meanwhile."""
    loop = FeedbackLoop(
        sensor="entropy",
        reference=Coverage(gain=0.0),
        law=Auto(),
        actuator="bonus",
        low=-1.0,
        high=1.0,
        neutral=0.0,
    )
    for seed in range(3):
        rng, z, state = random.Random(seed), 0.0, loop.init()
        for t in range(40):
            state, trace = loop.step(state, {"entropy": exp(z + rng.gauss(0.0, 0.02))}, t)
            z += gain * trace.u + drift + rng.gauss(0.0, 0.01)
        assert trace.r == pytest.approx(0.7, abs=0.05)
        assert exp(z) == pytest.approx(0.7, abs=0.12)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_move_by_hand(sign):
    """ψ = 1, 2, 6: m = 3, variance (1 + 4 + 36)/3 − 9 = 4.667, se = √(4.667/2) = 1.5275, m / (2 se) = 0.98198."""
    rs = course(FAST, [sign * 1.0, sign * 2.0, sign * 6.0, nan])
    assert rs[:3] == pytest.approx([1.0, 0.7, 0.7])
    assert log(rs[3] / 0.7) == pytest.approx(sign * 0.15 * 0.981981, rel=1e-5)


def test_a_larger_slope_moves_no_further_than_the_gain():
    rs = course(FAST, [5.0, 5.1, 4.9, nan, nan, nan, nan])
    assert log(rs[3] / 0.7) == pytest.approx(0.15)
    assert rs[6] == rs[3]  # the second period read nothing


def test_what_cannot_be_told_from_zero_moves_nothing():
    """The same readings: 3 is 1.964 standard errors of 1.5275 away from zero."""
    readings = [1.0, 2.0, 6.0, nan]
    assert course(replace(FAST, significance=1.97), readings)[3] == pytest.approx(0.7)
    moved = course(replace(FAST, significance=1.96), readings)[3]
    assert moved == pytest.approx(0.7 * exp(0.15 * 0.981981))


def test_it_follows_noise_less_than_without_the_test():
    """ln r after 200 moves by nothing but noise: the test lets through t_9 beyond 2, 8 % of them, in place of all."""
    rng = random.Random(0)
    noise = [rng.gauss(0.0, 1.0) for _ in range(2001)]
    wide = Coverage(low_fraction=1e-9, high_fraction=1e9, num_readings=1)

    def mean_square(reference):
        moves = [log(r) for r in course(reference, noise)[::10]]
        return sum((after - before) ** 2 for before, after in itertools.pairwise(moves)) / 200

    tested, untested = mean_square(wide), mean_square(replace(wide, significance=0.0))
    assert 0 < tested < 0.4 * untested


def test_it_stays_within_its_limits_and_nothing_winds_up():
    up = course(FAST, [1.0] * 40 + [-1.0] * 8)
    assert max(up) == up[39] == pytest.approx(3.0)
    assert up[-1] < 3.0 * exp(-0.15)  # two moves later it is down again
    down = course(FAST, [-1.0] * 200)
    assert min(down) == down[-1] == pytest.approx(0.05)


@pytest.mark.parametrize("psi", [nan, 0.0])
def test_no_slope_and_none_that_is_missing_move_it(psi):
    assert course(FAST, [psi] * 20)[1:] == pytest.approx([0.7] * 19)
    assert course(FAST, [{}] * 20)[1:] == pytest.approx([0.7] * 19)
    # two of a period's three readings are too few for an error
    assert course(FAST, [1.0, nan, 1.0, nan] * 5)[3] == pytest.approx(0.7)


def test_the_last_part_of_a_run_follows_pass_at_1():
    """From iteration 6 of 10: pass@G says up, pass@1 down, and the first move down is a period later."""
    reference = FAST.of_run(domain=None, num_iterations=10)
    rs = course(reference, [{"coverage/psi": 1.0, "coverage/psi_at_1": -1.0}] * 10)
    up = 0.7 * exp(0.15)
    assert rs[3:6] == pytest.approx([up] * 3)
    assert rs[6:9] == pytest.approx([up] * 3)  # the period that ended here is of the other slope
    assert rs[9] == pytest.approx(0.7)


def test_a_run_of_unknown_length_follows_pass_at_g():
    rs = course(FAST, [{"coverage/psi": 1.0, "coverage/psi_at_1": -1.0}] * 50)
    assert rs[-1] == pytest.approx(3.0)
    assert (
        Coverage(sharpen_from=1.0, num_iterations=5).of_run(domain=None, num_iterations=9).num_iterations == 5
    )
    never = replace(FAST, sharpen_from=1.0, num_iterations=10)
    assert course(never, [{"coverage/psi": 1.0, "coverage/psi_at_1": -1.0}] * 50) == rs


def test_a_domain_has_its_own_slope():
    reference = FAST.of_run(domain="add2", num_iterations=None)
    telemetry = {"coverage/psi": -1.0, "coverage/domain/add2/psi": 1.0, "coverage/domain/sub2/psi": -1.0}
    assert course(reference, [telemetry] * 4)[3] == pytest.approx(0.7 * exp(0.15))
    assert course(FAST, [telemetry] * 4)[3] == pytest.approx(0.7 * exp(-0.15))
    # a domain that is named stays, whatever the loop's own is
    named = replace(FAST, domain="sub2").of_run(domain="add2", num_iterations=None)
    assert named.domain == "sub2"
    assert course(named, [telemetry] * 4)[3] == pytest.approx(0.7 * exp(-0.15))


def test_an_annealed_one_is_of_the_run_too():
    annealed = Annealed(reference=FAST, final_fraction=0.9, start_iteration=0, num_iterations=4)
    assert annealed.of_run(domain="a", num_iterations=7).reference == replace(
        FAST, domain="a", num_iterations=7
    )
    constant = Constant(value_nats=0.3)
    assert constant.of_run(domain="a", num_iterations=7) is constant


@pytest.mark.parametrize("cut", range(14))
def test_a_resumed_one_goes_on_to_the_bit(cut):
    rng = random.Random(3)
    loop = FeedbackLoop(
        sensor="entropy",
        reference=FAST.of_run(domain=None, num_iterations=20),
        law=Auto(),
        actuator="bonus",
        low=-1.0,
        high=1.0,
        neutral=0.0,
    )
    telemetries = [
        {
            "entropy": rng.uniform(0.2, 0.9),
            "coverage/psi": rng.gauss(1, 1),
            "coverage/psi_at_1": rng.gauss(0, 1),
        }
        for _ in range(16)
    ]

    def play(state, start, end):
        traces = []
        for t in range(start, end):
            state, trace = loop.step(state, telemetries[t], t)
            traces.append((trace.r, trace.u))
        return state, traces

    _, whole = play(loop.init(), 0, 16)
    assert len({r for r, _ in whole}) > 4  # it moves in here
    state, before = play(loop.init(), 0, cut)
    _, after = play(restore(json.loads(json.dumps(state))), cut, 16)
    assert before + after == whole


def test_a_loop_does_not_wait_for_it():
    """ψ is not among what the loop needs: without it the setpoint stays and the law goes on."""
    loop = FeedbackLoop(
        sensor="entropy", reference=Coverage(), law=Auto(), actuator="bonus", low=-1, high=1, neutral=0
    )
    assert loop.reads == ("entropy",)
    _, trace = loop.step(loop.init(), {"entropy": 0.5, "coverage/psi": nan}, 0)
    assert (trace.held, trace.r) == (False, 0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low_fraction": 0.0}, "low_fraction must be > 0 and finite, got 0.0"),
        ({"high_fraction": 0.01}, "high_fraction must be >= low_fraction = 0.05 and finite, got 0.01"),
        (
            {"start_fraction": 3.5},
            "start_fraction must be in [low_fraction, high_fraction] = [0.05, 3.0], got 3.5",
        ),
        ({"num_readings": 0}, "num_readings must be >= 1, got 0"),
        ({"period": 2}, "period must be >= 3, got 2"),
        ({"gain": -0.1}, "gain must be >= 0 and finite, got -0.1"),
        ({"significance": nan}, "significance must be >= 0 and finite, got nan"),
        ({"sharpen_from": 1.1}, "sharpen_from must be in [0, 1], got 1.1"),
        ({"num_iterations": 0}, "num_iterations must be >= 1, got 0"),
    ],
)
def test_refusals_name_field_rule_and_value(settings, message):
    with pytest.raises(ValueError) as refusal:
        Coverage(**settings)
    assert str(refusal.value) == message
