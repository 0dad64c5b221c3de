from math import exp, inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.base import Sample
from controllers.laws.pid import PID


def run(law, ys, r=0.5, dts=None, low=-inf, high=inf, u=0.0):
    """Terms and commands of the law, shown at each step the command that the limits let through."""
    state, terms = law.init(), []
    for k, y in enumerate(ys):
        dt = dts[k] if dts else 1.0
        state, term = law.step(state, Sample(t=k, dt=dt, y=y, r=r, u=u))
        u = min(max(sum(term.values()), low), high)
        terms.append(term)
    return terms, [sum(term.values()) for term in terms]


def test_terms_by_hand():
    # r = 0.5; y = 0.4, 0.3, 0.6 -> e = 0.1, 0.2, −0.1
    terms, v = run(PID(kp=2.0, ki=0.5, kd=0.1, bias=1.0), [0.4, 0.3, 0.6])
    assert [term["p"] for term in terms] == pytest.approx([0.2, 0.4, -0.2])
    # used, then updated: 0, 0.5·0.1, 0.5·(0.1 + 0.2)
    assert [term["i"] for term in terms] == pytest.approx([0.0, 0.05, 0.15])
    # −0.1·Δy: nothing yet, −0.1·(−0.1), −0.1·0.3
    assert [term["d"] for term in terms] == pytest.approx([0.0, 0.01, -0.03])
    assert v == pytest.approx([1.2, 1.46, 0.92])


def test_a_gap_stretches_the_integral_and_the_rate():
    # e = 0.1 stood for 3 iterations: i = 0.5·0.1·3;  d = −0.6·(0.1 − 0.4)/3
    terms, _ = run(PID(kp=0.0, ki=0.5, kd=0.6), [0.4, 0.1], dts=[1.0, 3.0])
    assert terms[1]["i"] == pytest.approx(0.15)
    assert terms[1]["d"] == pytest.approx(0.06)


def test_back_calculation_by_hand():
    # e = 1, 1;  v_0 = 2, applied 0.5;  anti_windup 0.25: I = 0.1·1 + 0.25·(0.5 − 2) = −0.275
    law = PID(kp=2.0, ki=0.1, anti_windup=0.25)
    terms, _ = run(law, [0.0, 0.0], r=1.0, low=-0.5, high=0.5)
    assert terms[1]["i"] == pytest.approx(-0.275)


def test_full_anti_windup_is_the_velocity_form_at_a_limit():
    # v_k = u_{k−1} + kp·(e_k − e_{k−1}) + ki·e_{k−1}
    ys = np.random.default_rng(1).uniform(0, 1, 40)
    _, v = run(PID(kp=3.0, ki=0.4), ys, low=-0.2, high=0.2)
    e, u = 0.5 - ys, np.clip(v, -0.2, 0.2)
    assert np.mean(np.abs(v) > 0.2) > 0.5
    assert v[1:] == pytest.approx(u[:-1] + 3.0 * np.diff(e) + 0.4 * e[:-1])


def test_without_integral_there_is_nothing_to_track():
    terms, v = run(PID(kp=5.0, ki=0.0), [0.0, 0.0, 0.4], low=0.0, high=0.1)
    assert [term["i"] for term in terms] == [0.0, 0.0, 0.0]
    assert v == pytest.approx([2.5, 2.5, 0.5])


def test_no_derivative_kick_when_the_reference_steps():
    law = PID(kp=0.0, ki=0.0, kd=1.0)
    for error in ("absolute", "relative", "log"):
        law = PID(kp=0.0, ki=0.0, kd=1.0, error=error)
        state, _ = law.step(law.init(), Sample(t=0, dt=1.0, y=0.4, r=0.5, u=0.0))
        _, terms = law.step(state, Sample(t=1, dt=1.0, y=0.4, r=0.9, u=0.0))
        assert terms["d"] == 0.0
        _, terms = law.step(state, Sample(t=1, dt=1.0, y=0.3, r=0.5, u=0.0))
        assert terms["d"] > 0  # entropy is falling: push up


def test_error_coordinates_scale_the_proportional_term():
    y = 0.5 / exp(1)
    assert run(PID(kp=2.0, ki=0.0, error="log"), [y])[1] == pytest.approx([2.0])
    assert run(PID(kp=2.0, ki=0.0, error="relative"), [0.25])[1] == pytest.approx([1.0])  # 2·0.25/0.5


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 3), st.floats(0, 3), st.floats(-1, 1), st.floats(-1, 1))
def test_bumpless_starts_from_the_command_in_force(y, r, u, bias):
    _, v = run(PID(kp=4.0, ki=0.1, kd=1.0, bias=bias, bumpless=True), [y], r=r, u=u)
    assert v == pytest.approx([u], abs=1e-12)


def test_bumpless_moves_on_like_any_other_start():
    _, v = run(PID(kp=1.0, ki=0.1, bumpless=True), [0.4, 0.4, 0.3], u=0.7)
    # 0.7, + 0.1·0.1, + 0.1·0.1 + 1·0.1
    assert v == pytest.approx([0.7, 0.71, 0.82])


@pytest.mark.parametrize(
    ("gains", "message"),
    [
        ({"kp": -1.0}, "kp must be >= 0 and finite, got -1.0"),
        ({"kp": nan}, "kp must be >= 0 and finite, got nan"),
        ({"ki": -0.5}, "ki must be >= 0 and finite, got -0.5"),
        ({"kd": inf}, "kd must be >= 0 and finite, got inf"),
        ({"bias": nan}, "bias must be finite, got nan"),
        ({"anti_windup": 1.5}, "anti_windup must be in [0, 1], got 1.5"),
        ({"ki": 0.0, "bumpless": True}, "bumpless must be false when ki is 0"),
        ({"error": "percent"}, "error must be one of absolute, relative, log, got 'percent'"),
    ],
)
def test_refusals_name_field_rule_and_value(gains, message):
    with pytest.raises(ValueError) as refusal:
        PID(**{"kp": 1.0, "ki": 0.1} | gains)
    assert str(refusal.value).startswith(message)
