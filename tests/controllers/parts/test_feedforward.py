import json
from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import (
    FEEDFORWARDS,
    PID,
    Constant,
    CovarianceFeedforward,
    FeedbackLoop,
    OpenLoop,
    restore,
)
from controllers.base import Feedforward
from controllers.parts.paced import Paced

PREDICTED, EFFECT = "entropy/predicted_change", "entropy/bonus_effect"
PLAIN = CovarianceFeedforward(limit=10.0, decay=0.0)


def shares(part, changes, effects):
    state, out = part.init(), []
    for change, effect in zip(changes, effects, strict=True):
        state, share = part.step(state, {PREDICTED: change, EFFECT: effect})
        out.append(share)
    return out


def test_share_by_hand():
    # −(−0.2)/0.4, −0.1/0.5
    assert shares(PLAIN, [-0.2, 0.1], [0.4, 0.5]) == pytest.approx([0.5, -0.2])
    assert shares(replace(PLAIN, share=0.5), [-0.2], [0.4]) == pytest.approx([0.25])


def test_both_averages_are_smoothed_before_the_ratio():
    # decay ½, debiased: changes −0.2, then (½·−0.2 + 0.4)/1.5 = 0.2; effects 0.4, then (½·0.4 + 1)/1.5 = 0.8
    part = replace(PLAIN, decay=0.5)
    assert shares(part, [-0.2, 0.4], [0.4, 1.0]) == pytest.approx([0.5, -0.25])


def test_a_number_for_the_effect():
    part = CovarianceFeedforward(limit=10.0, decay=0.5, effect=None, effect_per_unit=0.4)
    assert part.reads == (PREDICTED,)
    state, share = part.step(part.init(), {PREDICTED: -0.2})
    assert share == pytest.approx(0.5)
    assert part.step(state, {PREDICTED: 0.4})[1] == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("change", "effect", "share"),
    [(-1.0, 1e-9, 0.3), (1.0, 1e-9, -0.3), (-1.0, 5e-324, 0.3), (-1.0, 0.0, 0.0), (0.0, 0.0, 0.0)],
)
def test_the_limit_holds_where_the_effect_is_gone(change, effect, share):
    assert shares(replace(PLAIN, limit=0.3), [change], [effect]) == [share]


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 5)), min_size=1, max_size=20),
    st.floats(0.0, 0.99),
    st.floats(0.01, 2.0),
)
@settings(max_examples=50, deadline=None)
def test_the_limit_is_never_exceeded(readings, decay, limit):
    part = replace(PLAIN, limit=limit, decay=decay)
    assert all(abs(share) <= limit for share in shares(part, *zip(*readings, strict=True)))


def course(loop, step_size, num_iterations, seed=0, noise=0.0):
    """H⁺ = H + η·(c_t + g_t·u), with c and g in the telemetry and η nowhere."""
    rng = np.random.default_rng(seed)
    state, h, hs = loop.init(), 0.5, []
    for t in range(num_iterations):
        c, g = -0.3 - 0.2 * np.sin(t / 10), 0.6 + 0.2 * np.cos(t / 15)
        seen = c + noise * rng.normal()
        state, trace = loop.step(state, {"entropy": h, PREDICTED: seen, EFFECT: g}, t)
        hs.append(h)
        h = max(0.0, h + step_size * (c + g * trace.u))
    return np.array(hs)


OPEN = FeedbackLoop(
    sensor="entropy",
    reference=Constant(value_nats=0.5),
    law=OpenLoop(value=0.0),
    actuator="bonus",
    low=-2.0,
    high=2.0,
    neutral=0.0,
)


@pytest.mark.parametrize("step_size", [1e-3, 0.1])
def test_the_step_size_that_nobody_knows_cancels(step_size):
    """Exact readings: entropy does not move, whatever the step is."""
    alone = course(replace(OPEN, feedforward=PLAIN), step_size, 100)
    assert alone == pytest.approx(0.5, abs=1e-12)
    assert course(OPEN, step_size, 100)[-1] < 0.5 - 0.2 * min(1.0, 100 * step_size)


def test_it_leaves_less_to_the_law_even_from_noisy_predictions():
    pi = replace(OPEN, law=PID(kp=1.0, ki=0.05))
    smoothed = replace(pi, feedforward=CovarianceFeedforward(limit=2.0, decay=0.8))
    e = np.array([[0.5 - course(loop, 0.05, 300, s, 0.2) for s in range(5)] for loop in (pi, smoothed)])
    without, with_it = np.abs(e).mean(axis=(1, 2))
    assert with_it < 0.5 * without


def test_the_law_does_not_take_its_share_for_its_own():
    """The integral learns what is left over: nothing, where the prediction is right."""
    loop = replace(OPEN, law=PID(kp=1.0, ki=0.1), feedforward=PLAIN)
    state = loop.init()
    for t in range(50):
        state, trace = loop.step(state, {"entropy": 0.5, PREDICTED: -0.2, EFFECT: 0.4}, t)
    assert trace.terms == pytest.approx({"bias": 0.0, "p": 0.0, "i": 0.0, "d": 0.0, "feedforward": 0.5})


def test_a_loop_without_its_prediction_holds():
    loop = replace(OPEN, feedforward=PLAIN)
    assert loop.reads == ("entropy", PREDICTED, EFFECT)
    assert loop.step(loop.init(), {"entropy": 0.5, PREDICTED: -0.2}, 0)[1].held
    assert loop.step(loop.init(), {"entropy": 0.5, PREDICTED: -0.2, EFFECT: nan}, 0)[1].held


def test_state_survives_json():
    part = replace(PLAIN, decay=0.7)
    state, _ = part.step(part.init(), {PREDICTED: -0.2, EFFECT: 0.3})
    read_back = restore(json.loads(json.dumps(state)))
    assert read_back == state
    again, after = (part.step(each, {PREDICTED: 0.1, EFFECT: 0.2}) for each in (read_back, state))
    assert repr(again) == repr(after)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limit": 0.0}, "limit must be > 0 and finite, got 0.0"),
        ({"limit": inf}, "limit must be > 0 and finite, got inf"),
        ({"share": 0.0}, "share must be > 0 and finite, got 0.0"),
        ({"decay": 1.0}, "decay must be in [0, 1), got 1.0"),
        ({"change": ""}, "change must be a reading's name, got ''"),
        ({"effect": ""}, "effect must be a reading's name, got ''"),
        ({"effect": None}, "effect or effect_per_unit must be given, and not both"),
        ({"effect_per_unit": 1.0}, "effect or effect_per_unit must be given, and not both"),
        ({"effect": None, "effect_per_unit": 0.0}, "effect_per_unit must be finite and not 0, got 0.0"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        CovarianceFeedforward(**{"limit": 1.0} | fields)
    assert str(refusal.value).startswith(message)


def test_registry():
    assert {"covariance": CovarianceFeedforward, "paced": Paced} == FEEDFORWARDS
    assert {part.kind for part in Feedforward.__subclasses__()} == set(FEEDFORWARDS)
