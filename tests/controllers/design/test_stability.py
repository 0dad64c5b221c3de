import numpy as np
import pytest

from controllers.design import margins, stability_map
from controllers.laws.pid import PID


def test_the_region_on_an_integrator_is_the_triangle(make):
    """METHODS 9: 0 < cKi < cKp and 2cKp − cKi < 4, on a grid that has no point on its border."""
    c = 0.1
    kp, ki = np.linspace(0.07, 2.31, 25) / c, np.linspace(0.013, 2.57, 27) / c
    found = stability_map(make(), kp, ki)
    ckp, cki = c * kp[:, None], c * ki[None, :]
    assert found.stable.tolist() == ((cki < ckp) & (2 * ckp - cki < 4)).tolist()
    assert 50 < found.stable.sum() < found.stable.size / 2
    assert np.isfinite(found.ms).tolist() == found.stable.tolist()


def test_proportional_alone_is_stable_to_two_over_c(make):
    found = stability_map(make(), [1.0, 19.9, 20.1], [0.0])
    assert found.stable[:, 0].tolist() == [True, True, False]


def test_levels_of_ms_are_those_of_the_margins(plants):
    plant = plants["lag"]
    found = stability_map(plant, [0.4, 0.9], [0.02, 0.1], kd=0.2)
    law = PID(kp=0.9, ki=0.02, kd=0.2, error="log")
    assert found.ms[1, 0] == pytest.approx(margins(plant, law).ms, rel=2e-3)
    assert found.radius[1, 0] == pytest.approx(abs(margins(plant, law).poles[0]))
