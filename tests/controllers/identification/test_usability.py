"""Whether a plant or an effect can be used: the first reason against it, and figures in the reason for it."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from controllers.identification import Recording, identify
from controllers.identification.instrumental_variables import InstrumentCheck
from controllers.identification.usability import pooled, usable_effect, usable_plant

DISAGREES = InstrumentCheck(
    a=(0.9,), b=(0.2,), differences=(1.0, 4.0), push_difference=4.0, p_value=0.001, precision=1.0
)


@pytest.fixture(scope="module")
def found():
    """An identified plant: b = 0.1, no drift, so that a command near 0 holds."""
    rng = np.random.default_rng(0)
    u = np.repeat(rng.choice([-0.2, 0.2], size=200), 3)
    z = [0.0]
    for command in u[:-1]:
        z.append(0.95 * z[-1] + 0.1 * command + 0.01 * rng.normal())
    return identify([Recording(name="run", y=np.exp(z), u=u, dither=u)])


def test_a_good_plant_is_usable(found):
    usability = usable_plant(found, -1.0, 1.0)
    assert usability.usable
    assert str(usability).startswith("yes: a constant unit of command moves entropy by ")
    assert "standard errors, and a command of " in usability.why


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"push_p": 0.02}, "no: the command has no detectable effect at all (p = 0.02)"),
        ({"constancy_p": 1e-4}, "no: the records' second half has another plant than the first (p = 0.0001)"),
        (
            {"instruments": DISAGREES},
            "no: the dither alone gives another plant (p = 0.001)",
        ),
    ],
)
def test_the_reason_against_it(found, change, reason):
    assert str(usable_plant(replace(found, **change), -1.0, 1.0)) == reason


def test_an_effect_that_fades_is_no_use(found):
    na, nb = len(found.plant.a), len(found.plant.b)
    weak = replace(found.plant, b=(1e-6,) * nb)
    assert na == 1
    usability = usable_plant(replace(found, plant=weak), -1.0, 1.0)
    assert not usability.usable
    assert usability.why.endswith("less than 3 standard errors above nothing")


def test_a_command_that_is_beyond_a_limit_is_no_use(found):
    usability = usable_plant(found, 5.0, 6.0)
    assert not usability.usable
    assert usability.why.endswith("nats/token, and the limits are [5, 6]")


@pytest.mark.parametrize(
    ("push", "shift", "said"),
    [
        ((0.2, 0.05), (0.1, 0.2), "yes: the full command pushes entropy by 20.0 ± 5.0 % an iteration"),
        ((0.01, 0.05), (1.0, 0.2), "yes: the full command shifts it by 100 ± 20 % at once"),
        ((-0.2, 0.05), (1.0, 0.2), "no: the full command pushes entropy by -20.0 ± 5.0 % an iteration: it acts backwards"),
        (
            (0.1, 0.05),
            (0.1, 0.2),
            "no: the full command pushes entropy by 10.0 ± 5.0 % an iteration and shifts it by 10 ± 20 % at once: "
            "neither is 3 standard errors above nothing",
        ),
    ],
)  # fmt: skip
def test_effects(push, shift, said):
    assert str(usable_effect(push, shift)) == said


def test_pooled_by_hand():
    # weights 1 and 1/4: (1·1 + 3/4)/(5/4) = 1.4; χ² = 0.16 + 2.56/4 = 0.8, below 1, so the error is √(1/1.25)
    assert pooled([1.0, 3.0], [1.0, 2.0]) == pytest.approx((1.4, sqrt(1 / 1.25)))
    # errors of 0.1: χ² = 2·1²/0.01 = 200, so the error is √(200/200) = 1, that of the scatter: half of the difference
    assert pooled([1.0, 3.0], [0.1, 0.1]) == pytest.approx((2.0, 1.0))
    assert pooled([0.7], [0.2]) == pytest.approx((0.7, 0.2))


@pytest.mark.parametrize(("values", "errors"), [([], []), ([1.0], [0.0]), ([1.0], [float("nan")])])
def test_nothing_to_pool_is_refused(values, errors):
    with pytest.raises(ValueError, match="estimates must each have an error above 0, got"):
        pooled(values, errors)
