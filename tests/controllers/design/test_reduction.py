import numpy as np
import pytest

from controllers.design import DesignError, reduce
from controllers.design.reduction import FirstOrder


def test_a_first_order_plant_is_itself(make):
    found = reduce(make(a=(0.9,), b=(0.2,), delay=3, drift=-0.01))
    assert found == FirstOrder(gain=pytest.approx(0.2), pole=pytest.approx(0.9), delay=3, drift=-0.01)
    assert found.time_constant == pytest.approx(-1 / np.log(0.9))


def test_an_integrator_acts_half_an_iteration_before_its_delay(make):
    """Phase of c·q/(1 − q) is −90° − ω/2: that of an integrator in continuous time behind 0.5."""
    found = reduce(make())
    assert found.time_constant == np.inf
    assert found.dead_time == 0.5
    omega = 0.2
    assert np.angle(make().response(omega)) == pytest.approx(-np.pi / 2 - omega * found.dead_time)
    # and continuous in the pole
    assert reduce(make(a=(0.9999,))).dead_time == pytest.approx(0.5, abs=1e-3)
    assert reduce(make(a=(0.9999,))).slope == pytest.approx(0.1, rel=1e-3)


def test_a_plant_without_memory_is_all_delay(make):
    found = reduce(make(a=(), b=(0.2, 0.2), delay=2))
    assert (found.gain, found.pole, found.delay, found.dead_time) == (0.4, 0.0, 2.5, 2.5)


@pytest.mark.parametrize("a", [(0.6, 0.35), (0.6, 0.2, 0.1, 0.05), (1.3, -0.34), (0.9, 0.3, -0.2)])
def test_low_frequencies_keep_their_gain_and_phase(make, a):
    plant = make(a=a, b=(0.1, 0.04), delay=2)
    found = reduce(plant)
    omega = np.array([0.002, 0.01])
    q = np.exp(-1j * omega)
    reduced = found.gain * q**found.delay / (1 - found.pole * q)
    assert np.abs(reduced) == pytest.approx(np.abs(plant.response(omega)), rel=1e-3)
    assert np.angle(reduced) == pytest.approx(np.angle(plant.response(omega)), abs=1e-3)


def test_drift_moves_the_reduced_plant_as_far(make):
    plant = make(a=(0.6, 0.3), drift=-0.03)
    found = reduce(plant)
    assert found.drift / (1 - found.pole) == pytest.approx(-0.03 / (1 - 0.9))
    assert found.gain / (1 - found.pole) == pytest.approx(plant.static_gain)


@pytest.mark.parametrize("a", [(1.6, -0.8), (2.0, -1.0)], ids=["oscillates", "integrates twice"])
def test_no_dominant_pole_is_refused(make, a):
    with pytest.raises(DesignError, match="no single pole of the plant dominates"):
        reduce(make(a=a))
