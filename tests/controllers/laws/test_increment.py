import pytest

from controllers.base import Sample
from controllers.laws.increment import Increment


def commands(law, ys, r=0.5):
    state, out = law.init(), []
    for k, y in enumerate(ys):
        state, terms = law.step(state, Sample(t=k, dt=1.0, y=y, r=r, u=0.0))
        out.append(sum(terms.values()))
    return out


def test_gated_by_hand():
    law = Increment(step_size=1.0, low=0.0, high=2.0, initial=0.0, gated=True)
    # low, low, low (clipped at 2), high (memory 1, gate shut), low (memory 2)
    assert commands(law, [0.4, 0.4, 0.4, 0.6, 0.4, 0.4]) == [0.0, 1.0, 2.0, 2.0, 0.0, 2.0]
    # twice on the mark is twice too high: memory 2, 1, 0 with the gate shut, then low again: 1
    assert commands(law, [0.4, 0.4, 0.5, 0.5, 0.4, 0.4]) == [0.0, 1.0, 2.0, 0.0, 0.0, 1.0]


def test_two_sided_by_hand():
    law = Increment(step_size=1.0, low=-1.0, high=2.0, initial=0.0)
    # up, up, at the mark stays, down, down, down, down (clipped at −1)
    ys = [0.4, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6, 0.5]
    assert commands(law, ys) == [0.0, 1.0, 2.0, 2.0, 1.0, 0.0, -1.0, -1.0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"step_size": 0.0}, "step_size must be > 0 and finite, got 0.0"),
        ({"low": float("-inf")}, "low must be finite, got -inf"),
        ({"high": -1.0}, "high must be >= low = 0.0 and finite, got -1.0"),
        ({"initial": 3.0}, "initial must be in [low, high] = [0.0, 2.0], got 3.0"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        Increment(**{"step_size": 1.0, "low": 0.0, "high": 2.0, "initial": 0.0} | fields)
    assert str(refusal.value) == message
