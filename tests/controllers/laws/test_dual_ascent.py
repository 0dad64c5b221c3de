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
        ({"optimizer": "lion"}, "optimizer must be 'sgd' or 'adam', got 'lion'"),
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


def test_adam_is_that_of_the_common_code():
    """torch's own Adam on the loss -log α · e, as SAC's code has it; 300 iterations at e = 0.1 make 1.094."""
    import torch

    errors = [0.1] * 300
    errors_2 = [0.3, -0.2, 0.0, 0.5, -0.7, 0.1, 0.1, -0.05] * 6
    for es, expected in ((errors, 1.094), (errors_2, None)):
        log_alpha = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([log_alpha], lr=3e-4)
        law = DualAscent(rate=3e-4, initial=1.0, optimizer="adam")
        state, v = law.init(), 1.0
        for e in es:
            state, v = step(law, state, y=0.5 - e, u=v)
            assert v == pytest.approx(float(log_alpha.detach().exp()), rel=1e-9)
            optimizer.zero_grad()
            (-log_alpha * e).backward()
            optimizer.step()
        if expected:
            assert float(log_alpha.detach().exp()) == pytest.approx(expected, abs=5e-4)
            assert v == pytest.approx(expected, abs=1e-3)


def test_a_plain_step_moves_by_one_per_cent_there():
    law = DualAscent(rate=3e-4, initial=1.0)
    state, v = law.init(), 1.0
    for _ in range(301):
        state, v = step(law, state, y=0.4, u=v)
    assert v == pytest.approx(1.009, abs=1e-4)


def test_the_preset_of_sac_is_adams():
    from pathlib import Path

    import yaml

    preset = yaml.safe_load((Path(__file__).parents[3] / "configs/methods/sac.yaml").read_text())
    assert preset["loops"]["entropy"]["law"]["optimizer"] == "adam"
