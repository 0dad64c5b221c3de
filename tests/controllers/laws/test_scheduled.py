from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import Changed, Constant, FeedbackLoop, IntegratingPlant, simulate
from controllers.base import Sample
from controllers.laws.pid import PID
from controllers.laws.scheduled import ScheduledPID

GAINS = PID(kp=2.0, ki=0.5, kd=0.1, bias=1.0)
LAW = ScheduledPID(pid=GAINS, learning_rate_reference=1e-3)


def sample(t=0, y=0.4, r=0.5, u=0.0, rate=1e-3):
    return Sample(t=t, dt=1.0, y=y, r=r, u=u, telemetry={"learning_rate": rate})


def test_gains_by_hand():
    # twice the rate: half the gains, the bias as it is.  e = 0.1, 0.2
    state, first = LAW.step(LAW.init(), sample(rate=2e-3))
    assert first == pytest.approx({"bias": 1.0, "p": 0.1, "i": 0.0, "d": 0.0})
    _, second = LAW.step(state, sample(t=1, y=0.3, u=1.1, rate=2e-3))
    assert second == pytest.approx({"bias": 1.0, "p": 0.2, "i": 0.025, "d": 0.005})
    # half the rate, α = ½: √2 times
    law = replace(LAW, learning_rate_exponent=0.5)
    assert law.step(law.init(), sample(rate=5e-4))[1]["p"] == pytest.approx(0.2 * 2**0.5)


def test_level_by_hand():
    law = replace(LAW, level_nats=0.8, level_exponent=-1.0)
    assert law.factor(sample(y=0.4)) == pytest.approx(2.0)
    assert law.factor(sample(y=0.4, rate=4e-3)) == pytest.approx(0.5)
    assert law.factor(sample(y=0.0)) == pytest.approx(1000.0)  # at its limit


@pytest.mark.parametrize(("rate", "factor"), [(0.0, 4.0), (1e-9, 4.0), (1.0, 0.2), (1e-3, 1.0)])
def test_the_factor_stays_within_its_limits(rate, factor):
    law = replace(LAW, factor_low=0.2, factor_high=4.0)
    assert law.factor(sample(rate=rate)) == pytest.approx(factor)


def test_the_default_limits_leave_room_for_rates_as_users_have_them():
    law = ScheduledPID(pid=GAINS, learning_rate_reference=3e-4)
    assert law.factor(sample(rate=1e-6)) == pytest.approx(300.0)
    assert law.factor(sample(rate=3e-2)) == pytest.approx(0.01)


def test_a_long_warm_up_winds_nothing_up():
    """While the limits cut the command of large gains, the integral goes by the gains at the reference."""
    law = ScheduledPID(pid=PID(kp=1.0, ki=0.1), learning_rate_reference=1e-3)
    state, u = law.init(), 0.0
    for t in range(100):
        state, terms = law.step(state, sample(t=t, y=0.3, u=u, rate=1e-5 * max(t, 1)))
        u = min(sum(terms.values()), 1.0)
        assert abs(terms["i"]) < 3.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.05, 3.0), min_size=1, max_size=10))
def test_at_the_reference_it_is_the_pid_to_the_bit(ys):
    ours, theirs, u = LAW.init(), GAINS.init(), 0.0
    for t, y in enumerate(ys):
        ours, terms = LAW.step(ours, sample(t=t, y=y, u=u))
        theirs, expected = GAINS.step(theirs, sample(t=t, y=y, u=u))
        assert (ours, terms) == ((theirs, 1.0), expected)
        u = sum(terms.values()) / 2  # cut by a limit, so that anti-windup counts


def test_large_gains_of_a_warm_up_do_not_turn_the_integral_against_the_error():
    law = ScheduledPID(pid=PID(kp=1.0, ki=0.1), learning_rate_reference=1e-3)
    # a tenth of the rate, e = 0.1: p = 10 · 0.1, of which a limit leaves 0.4
    state, first = law.step(law.init(), sample(rate=1e-4))
    assert sum(first.values()) == pytest.approx(1.0)
    # at the full rate: p = 0.1, i = 0.1 · 0.1 − (1.0 − 0.4) / 10; with all of the excess it were −0.59
    _, second = law.step(state, sample(t=1, u=0.4))
    assert second == pytest.approx({"bias": 0.0, "p": 0.1, "i": -0.05, "d": 0.0})
    # small gains, of a rate above the reference, are relieved of all of it: p = 0.01, cut to 0
    state, _ = law.step(law.init(), sample(rate=1e-2))
    _, second = law.step(state, sample(t=1, u=0.0))
    assert second["i"] == pytest.approx(0.1 * 0.1 - 0.01)


def test_a_change_of_rate_gives_no_bump_at_zero_error():
    state, u = LAW.init(), 0.0
    for t in range(20):
        state, before = LAW.step(state, sample(t=t, y=0.45 if t < 15 else 0.5, u=u))
        u = sum(before.values())
    _, after = LAW.step(state, sample(t=20, y=0.5, u=u, rate=8e-3))
    assert sum(after.values()) == pytest.approx(sum(before.values()))
    assert before["i"] > 0.1


def loop(law):
    return FeedbackLoop(
        sensor="entropy",
        reference=Constant(value_nats=0.5),
        law=law,
        actuator="bonus",
        low=-inf,
        high=inf,
        neutral=0.0,
    )


def test_it_is_stable_where_a_fixed_pid_is_not():
    """The rate goes up sixfold, and with it drift and push: c·kp from 0.8 to 4.8, beyond 4."""
    slow = IntegratingPlant(gain=0.4, drift=0.02, initial_nats=0.5)
    fast = IntegratingPlant(gain=2.4, drift=0.12, initial_nats=0.5)
    plant = Changed(plants=((0, slow), (50, fast)))
    rates = {"learning_rate": np.where(np.arange(150) < 50, 1e-3, 6e-3)}
    fixed = PID(kp=2.0, ki=0.3)
    scheduled = ScheduledPID(pid=fixed, learning_rate_reference=1e-3)
    held = [trace.y for trace in simulate(loop(scheduled), plant, 150, telemetry=rates)]
    lost = [trace.y for trace in simulate(loop(fixed), plant, 150)]
    assert held[50:] == pytest.approx([0.5] * 100, abs=1e-3)  # no bump: the same command holds it
    assert max(lost[100:]) > 1.0


def test_what_it_reads():
    assert LAW.reads == ("learning_rate",)
    blind = replace(LAW, learning_rate_exponent=0.0)
    assert blind.reads == ()
    assert blind.factor(Sample(t=0, dt=1.0, y=0.4, r=0.5, u=0.0)) == 1.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learning_rate_reference": 0.0}, "learning_rate_reference must be > 0 and finite, got 0.0"),
        ({"learning_rate_exponent": nan}, "learning_rate_exponent must be finite, got nan"),
        ({"level_nats": 0.0}, "level_nats must be > 0 and finite, got 0.0"),
        ({"level_exponent": inf}, "level_exponent must be finite, got inf"),
        ({"factor_low": 1.5}, "factor_low must be in (0, 1], got 1.5"),
        ({"factor_high": 0.5}, "factor_high must be >= 1 and finite, got 0.5"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        replace(LAW, **fields)
    assert str(refusal.value) == message
