"""A share of the predicted fall is cancelled, while entropy buys anything."""

import json
from math import inf, sqrt

import pytest

from controllers import FEEDFORWARDS, FeedbackLoop, Free, OpenLoop, restore
from controllers.parts.paced import PSI, PSI_ERROR, Paced

PREDICTED, EFFECT = "entropy/predicted_change", "entropy/bonus_effect"


def readings(change=-0.2, effect=0.4, psi=0.0, error=0.1):
    return {PREDICTED: change, EFFECT: effect, PSI: psi, PSI_ERROR: error}


def first(part=None, **telemetry):
    part = part or Paced(decay=0.0)
    return part.step(part.init(), readings(**telemetry))[1]


def test_the_predicted_fall_is_cancelled():
    assert first() == pytest.approx(0.5)  # 0.2 / 0.4
    assert first(Paced(decay=0.0, share=0.6)) == pytest.approx(0.3)


def test_a_predicted_rise_is_left_alone():
    assert first(change=0.2) == 0.0


@pytest.mark.parametrize(("psi", "gate"), [(0.3, 1.0), (0.0, 1.0), (-0.1, 0.5), (-0.2, 0.0), (-5.0, 0.0)])
def test_the_gate_shuts_within_two_standard_errors_below_zero(psi, gate):
    assert first(psi=psi, error=0.1) == pytest.approx(0.5 * gate)


def test_the_error_is_that_of_a_moving_average():
    # Two readings at decay ½ weigh 1/3 and 2/3: m = −0.2, and its error is 0.1 · √(1/9 + 4/9).
    part = Paced(decay=0.5)
    state, _ = part.step(part.init(), readings(psi=0.0))
    _, share = part.step(state, readings(psi=-0.12))
    assert share == pytest.approx(0.5 * (1 - 0.08 / (2 * 0.1 * sqrt(5 / 9))))
    _, share = part.step(state, readings(psi=-0.3))
    assert share == 0.0


def test_readings_without_an_error_shut_the_gate_only_below_zero():
    """Groups that are all right or all wrong give a ψ of exactly 0, with an error of 0."""
    assert first(psi=0.0, error=0.0) == pytest.approx(0.5)
    assert first(psi=-0.01, error=0.0) == 0.0


def test_the_limit_holds_where_the_bonus_has_no_effect_left():
    assert first(Paced(decay=0.0, limit=0.3), effect=1e-9) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"share": 0.0}, "share must be > 0"),
        ({"limit": inf}, "limit must be > 0 and finite"),
        ({"decay": 1.0}, "decay must be in"),
        ({"significance": 0.0}, "significance must be > 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        Paced(**settings)


def test_a_loop_of_its_own_goes_on_from_its_stored_state():
    loop = FeedbackLoop(
        sensor="entropy",
        reference=Free(),
        law=OpenLoop(value=0.0),
        feedforward=Paced(),
        actuator="bonus",
        low=-1.0,
        high=1.0,
        neutral=0.0,
    )
    course = [readings(psi=0.1 * (2 - t), change=-0.1 - 0.01 * t) | {"entropy": 0.5} for t in range(6)]
    state, commands = loop.init(), []
    for t, seen in enumerate(course):
        state, trace = loop.step(state, seen, t)
        commands.append(trace.u)
        state = restore(json.loads(json.dumps(state)))
    plain, state = [], loop.init()
    for t, seen in enumerate(course):
        state, trace = loop.step(state, seen, t)
        plain.append(trace.u)
    assert commands == plain
    assert commands[0] == pytest.approx(0.25)
    assert 0.0 < commands[-1] < commands[0]


def test_it_is_known_by_its_kind():
    assert FEEDFORWARDS["paced"] is Paced
