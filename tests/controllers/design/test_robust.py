from dataclasses import replace

import numpy as np
import pytest

from controllers.design import (
    SIMC,
    DesignError,
    MinimumVariance,
    SensitivityPeak,
    design,
    margins,
    robust_design,
    robustness,
)
from controllers.laws.pid import PID


@pytest.fixture
def uncertain(make):
    def uncertain(*errors):
        return make(delay=2, covariance=tuple(map(tuple, np.diag(errors) ** 2)), num_samples=100)

    return uncertain


def test_a_plant_that_is_known_has_the_margins_of_itself(make):
    law = PID(kp=3.0, ki=0.2, error="log")
    found, known = robustness(make(), law), margins(make(), law)
    assert found.num_draws == 1
    assert found.unstable_share == 0
    assert found.ms == found.worst_ms == pytest.approx(known.ms, rel=1e-3)
    assert found.delay_margin == pytest.approx(known.delay_margin, rel=1e-2)
    assert found.gain_margin == pytest.approx(known.gain_margin, rel=1e-2)
    assert found.phase_margin_degrees == pytest.approx(known.phase_margin_degrees, rel=1e-2)


def test_an_uncertain_push_has_the_margins_of_its_quantile(uncertain):
    """Ms grows with b alone here: its 95 % quantile over the draws is that at b + 1.645 standard errors."""
    plant = uncertain(0.0, 0.02, 0.0)
    law = PID(kp=4.0, ki=0.2, error="log")
    found = robustness(plant, law, num_draws=1000)
    at_quantile = margins(replace(plant, b=(0.1 + 1.645 * 0.02,)), law)
    assert found.ms == pytest.approx(at_quantile.ms, rel=0.04)
    assert found.delay_margin == pytest.approx(at_quantile.delay_margin, rel=0.05)
    assert found.worst_ms > found.ms > margins(plant, law).ms
    assert found.worst_delay_margin < found.delay_margin
    assert found == robustness(plant, law, num_draws=1000)
    assert found != robustness(plant, law, num_draws=1000, seed=1)


def test_unstable_draws_are_counted(uncertain):
    # on an integrator with delay 2, kp alone is stable up to c·kp = 1: with kp = 10, half of the draws
    found = robustness(uncertain(0.0, 0.02, 0.0), PID(kp=10.0, ki=0.0, error="log"), num_draws=400)
    assert found.unstable_share == pytest.approx(0.5, abs=0.08)
    assert found.ms == found.worst_ms == np.inf
    assert found.delay_margin == 0.0
    assert found.gain_margin == 1.0


@pytest.mark.parametrize("specification", [SensitivityPeak(ms=1.5), MinimumVariance(ms=1.7)])
def test_the_robust_design_keeps_its_bound_for_the_share(uncertain, specification):
    plant = uncertain(0.01, 0.02, 0.01)
    nominal = design(plant, specification)
    found, region = robust_design(plant, specification)
    assert region.ms <= specification.ms
    assert region.ms > 0.97 * specification.ms  # and uses what it may
    assert robustness(plant, nominal.law).ms > specification.ms
    assert found.margins.ms < nominal.margins.ms
    assert found.specification == specification


def test_too_uncertain_a_plant_is_refused(uncertain):
    with pytest.raises(DesignError, match="identify with more records or a larger dither"):
        robust_design(uncertain(0.0, 0.2, 0.0), SensitivityPeak(ms=1.4), num_draws=50)
    with pytest.raises(DesignError, match="needs a bound on the sensitivity peak, which simc has not"):
        robust_design(uncertain(0.0, 0.01, 0.0), SIMC())


def test_nonsense_is_refused(make):
    with pytest.raises(ValueError, match="share must be in"):
        robustness(make(), PID(kp=1.0, ki=0.1), share=0.0)
    with pytest.raises(ValueError, match="num_draws must be >= 1"):
        robustness(make(), PID(kp=1.0, ki=0.1), num_draws=0)
