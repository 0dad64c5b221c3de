import json
from dataclasses import replace
from math import inf, isfinite, log, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import PID, Cascade, FeedbackLoop, IntegratingPlant, restore, simulate

CASCADE = Cascade(
    initial_nats=0.5,
    low_nats=0.2,
    high_nats=1.0,
    gain=2.0,
    relaxation=0.05,
    period=4,
    slew=0.5,
    significance=0.0,
)


def setpoints(cascade, pass_rates, iterations=None):
    state, out = cascade.init(), []
    for t, rate in zip(iterations or range(len(pass_rates)), pass_rates, strict=True):
        state, r = cascade.step(state, 0.7, t, {"pass_rate": rate})
        out.append(r)
    return out


def steps(cascade, pass_rates):
    """Δ ln r of each period."""
    r = setpoints(cascade, pass_rates)[:: cascade.period]
    return np.diff(np.log(r))


def test_rising_flat_and_falling_by_hand():
    # +0.02 an iteration is ΔP = 0.08 in 4: 2·0.08 − 0.05 = 0.11;  flat: −0.05;  falling: −0.16 − 0.05 = −0.21
    rates = [0.1, 0.12, 0.14, 0.16, 0.5, 0.5, 0.5, 0.5, 0.4, 0.38, 0.36, 0.34, 0.0]
    assert steps(CASCADE, rates) == pytest.approx([0.11, -0.05, -0.21])


def test_it_moves_at_the_end_of_a_period_and_not_before():
    r = setpoints(CASCADE, [0.5] * 9)
    assert r[:4] == pytest.approx([0.5] * 4)
    assert r[4:8] == pytest.approx([0.5 * np.exp(-0.05)] * 4)
    assert r[8] == pytest.approx(0.5 * np.exp(-0.10))


def test_slope_is_the_least_squares_line():
    rates = [0.1, 0.4, 0.2, 0.35]
    slope = np.polyfit(range(4), rates, 1)[0]
    assert steps(replace(CASCADE, slew=9.0), [*rates, 0.0]) == pytest.approx([2 * 4 * slope - 0.05])


def test_iterations_that_were_held_keep_their_time():
    iterations = [0, 1, 5, 6]
    rates = [0.1, 0.12, 0.3, 0.5]
    r = setpoints(replace(CASCADE, period=6), rates, iterations)
    slope = np.polyfit([0, 1, 5], rates[:3], 1)[0]
    assert log(r[-1] / 0.5) == pytest.approx(2 * 6 * slope - 0.05)
    # one reading is no slope: it relaxes
    assert setpoints(CASCADE, [0.1, 0.9], [0, 4])[-1] == pytest.approx(0.5 * np.exp(-0.05))


def test_rate_limit_and_bounds():
    jump = [0.0, 0.0, 1.0, 1.0] * 6
    assert steps(replace(CASCADE, slew=0.1), jump)[0] == pytest.approx(0.1)
    assert steps(replace(CASCADE, slew=0.1), [1 - p for p in jump])[0] == pytest.approx(-0.1)
    assert setpoints(CASCADE, jump)[-1] == 1.0
    assert setpoints(CASCADE, [0.5] * 200)[-1] == 0.2


def test_nothing_winds_up_at_a_bound():
    """After 50 periods at the floor the first that pays moves the setpoint."""
    flat, rising = [0.1] * 200, [0.1, 0.12, 0.14, 0.16, 0.0]
    assert setpoints(CASCADE, flat + rising)[-1] == pytest.approx(0.2 * np.exp(0.11))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=40),
    st.integers(2, 9),
    st.floats(0, 100),
    st.floats(0, 2),
    st.integers(0, 500),
)
def test_it_never_leaves_its_bounds(rates, period, gain, relaxation, first):
    cascade = replace(CASCADE, period=period, gain=gain, relaxation=relaxation)
    rs = setpoints(cascade, rates, range(first, first + len(rates)))
    assert all(0.2 <= r <= 1.0 for r in rs)
    moves = np.abs(np.diff(np.log(rs)))
    assert np.all(moves <= 0.5 + 1e-12)


def test_noise_of_the_move_is_what_the_docstring_says():
    rng = np.random.default_rng(0)
    cascade = replace(CASCADE, gain=1.0, relaxation=0.0, period=20, slew=9.0, low_nats=1e-9, high_nats=1e9)
    moves = steps(cascade, 0.5 + 0.03 * rng.normal(size=20 * 500))
    assert moves.std() == pytest.approx(0.03 * (12 / 20) ** 0.5, rel=0.1)


def test_the_noise_of_a_flat_pass_rate_moves_nothing():
    """The fault: with nothing to gain the setpoint wandered from 0.2 to between 0.03 and 0.24."""
    wandering = Cascade(
        initial_nats=0.2, low_nats=0.01, high_nats=2.0, gain=5.0, relaxation=0.0, period=20, significance=0.0
    )
    tested = replace(wandering, significance=2.0)
    rng = np.random.default_rng(1)
    flat = 0.5 + 0.03 * rng.normal(size=(40, 400))
    before, after = (
        np.array([np.log(setpoints(cascade, rates)[-1] / 0.2) for rates in flat])
        for cascade in (wandering, tested)
    )
    assert before.std() > 0.35
    assert after.std() < before.std() / 1.8
    moved = np.concatenate([steps(tested, rates) for rates in flat])
    assert np.mean(moved != 0) < 0.1  # of two standard errors with 18 degrees of freedom: 0.06


def test_a_rise_above_the_noise_moves_it_as_before():
    rng = np.random.default_rng(2)
    cascade = replace(CASCADE, gain=1.0, relaxation=0.0, period=20, slew=9.0, high_nats=1e9)
    rates = 0.02 * np.arange(21) + 0.01 * rng.normal(size=21)
    assert steps(replace(cascade, significance=2.0), rates) == pytest.approx(steps(cascade, rates))
    assert steps(cascade, rates) == pytest.approx([0.4], abs=0.03)


def test_the_threshold_is_the_standard_error_of_the_slope():
    from scipy.stats import linregress

    rng = np.random.default_rng(3)
    for _ in range(20):
        rates = rng.normal(size=8)
        line = linregress(range(8), rates)
        t = abs(line.slope / line.stderr)
        cascade = replace(
            CASCADE, gain=1.0, relaxation=0.0, period=8, slew=99.0, low_nats=1e-9, high_nats=1e9
        )
        moved = [
            steps(replace(cascade, significance=significance), [*rates, 0.0])[0]
            for significance in (0.999 * t, 1.001 * t)
        ]
        assert moved == pytest.approx([8 * line.slope, 0.0])


def test_a_perfect_line_and_two_readings():
    assert steps(replace(CASCADE, significance=2.0), [0.1, 0.12, 0.14, 0.16, 0.5]) == pytest.approx([0.11])
    # two readings of a period that was held otherwise are no evidence
    assert setpoints(replace(CASCADE, significance=2.0), [0.1, 0.9, 0.9], [0, 3, 4])[-1] == pytest.approx(
        0.5 * np.exp(-0.05)
    )


def test_state_survives_json_in_the_middle_of_a_period():
    rates = [0.1, 0.3, 0.2, 0.5, 0.4, 0.1, 0.6]
    state = CASCADE.init()
    for t in range(6):
        again = restore(json.loads(json.dumps(state)))
        assert again == state
        state, r = CASCADE.step(again, 0.7, t, {"pass_rate": rates[t]})
    assert r == setpoints(CASCADE, rates)[5]


def test_the_inner_loop_follows_it():
    """Entropy is led up while the pass rate rises and down once it stays."""
    loop = FeedbackLoop(
        sensor="entropy",
        reference=replace(CASCADE, period=20, gain=1.0),
        law=PID(kp=2.0, ki=0.1),
        actuator="bonus",
        low=-1.0,
        high=1.0,
        neutral=0.0,
    )
    plant = IntegratingPlant(gain=0.1, drift=0.01, initial_nats=0.5)
    rates = np.minimum(0.1 + 0.01 * np.arange(300), 0.7)  # rises until iteration 60
    traces = simulate(loop, plant, 300, telemetry={"pass_rate": rates})
    y = [trace.y for trace in traces]
    assert y[59] > 0.6
    assert y[-1] < y[59] - 0.2
    assert all(abs(trace.e) < 0.12 for trace in traces)


def test_without_its_reading_the_loop_holds():
    loop = FeedbackLoop(
        sensor="entropy",
        reference=CASCADE,
        law=PID(kp=1.0, ki=0.0),
        actuator="bonus",
        low=-1.0,
        high=1.0,
        neutral=0.0,
    )
    assert loop.reads == ("entropy", "pass_rate")
    assert loop.step(loop.init(), {"entropy": 0.4, "pass_rate": nan}, 0)[1].held
    assert not loop.step(loop.init(), {"entropy": 0.4, "pass_rate": 0.2}, 0)[1].held
    assert isfinite(loop.step(loop.init(), {"entropy": 0.4, "pass_rate": 0.2}, 7)[1].r)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"low_nats": 0.0}, "low_nats must be > 0 and finite, got 0.0"),
        ({"high_nats": inf}, "high_nats must be >= low_nats = 0.2 and finite, got inf"),
        ({"initial_nats": 2.0}, "initial_nats must be in [low_nats, high_nats] = [0.2, 1.0], got 2.0"),
        ({"gain": -1.0}, "gain must be >= 0 and finite, got -1.0"),
        ({"relaxation": nan}, "relaxation must be >= 0 and finite, got nan"),
        ({"period": 1}, "period must be >= 2, got 1"),
        ({"significance": -1.0}, "significance must be >= 0 and finite, got -1.0"),
        (
            {"significance": 2.0, "period": 2},
            "period must be >= 3 to tell a slope from noise (significance 2.0), got 2",
        ),
        ({"slew": 0.0}, "slew must be > 0 and finite, got 0.0"),
        ({"reading": ""}, "reading must be a name, got ''"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        replace(CASCADE, **fields)
    assert str(refusal.value) == message
