from math import exp, isfinite

import pytest

from controllers.base import Sample
from controllers.laws.dual_ascent import DualAscent


def step(law, state, *, y, u, dt=1.0):
    state, terms = law.step(state, Sample(t=0, dt=dt, y=y, r=0.5, u=u))
    return state, sum(terms.values())


def test_linear_by_hand_uses_then_updates_the_applied_command():
    law = DualAscent(rate=0.1, space="linear", initial=0.3)
    state, v = step(law, law.init(), y=0.2, u=9.0)  # e = 0.3; nothing has been applied by it yet
    assert v == 0.3
    state, v = step(law, state, y=0.7, u=0.3)  # 0.3 + 0.1·0.3; now e = −0.2
    assert v == pytest.approx(0.33)
    state, v = step(law, state, y=0.5, u=0.25)  # a limit let 0.25 through: 0.25 − 0.1·0.2
    assert v == pytest.approx(0.23)


def test_log_by_hand():
    law = DualAscent(rate=0.1, initial=0.3)
    state, v = step(law, law.init(), y=0.2, u=0.0)
    assert v == 0.3
    _, v = step(law, state, y=0.7, u=0.3, dt=2.0)  # 0.3·exp(0.1·0.3·2)
    assert v == pytest.approx(0.3 * exp(0.06))


def test_an_absurd_rate_does_not_raise():
    law = DualAscent(rate=1e6, initial=1.0)
    state, _ = step(law, law.init(), y=0.0, u=1.0)
    _, v = step(law, state, y=0.0, u=1.0)
    assert isfinite(v)
    assert v > 1e100


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": 0.0}, "rate must be > 0 and finite, got 0.0"),
        ({"space": "sqrt"}, "space must be 'log' or 'linear', got 'sqrt'"),
        ({"initial": float("inf")}, "initial must be finite, got inf"),
        ({"initial": 0.0}, "initial must be > 0 in log space, got 0.0"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        DualAscent(**{"rate": 0.1, "initial": 1.0} | fields)
    assert str(refusal.value) == message


def test_linear_may_start_at_zero():
    assert DualAscent(rate=0.1, space="linear", initial=0.0).initial == 0.0
