import numpy as np
import pytest

from controllers import EMA, PID, Hold, Median
from controllers.base import Sample
from controllers.design.errors import DesignError
from controllers.design.transfer import close, close_law, gain_in_z

OMEGA = np.array([0.01, 0.3, 1.0, 2.5, np.pi])


def test_transfer_is_plant_times_law_times_filter(make):
    plant = make(a=(0.7, 0.2), b=(0.1, 0.03), delay=3)
    q = np.exp(-1j * OMEGA)
    law = 2.0 + 0.3 * q / (1 - q) + 0.5 * (1 - q)
    smoothing = 0.25 / (1 - 0.75 * q)
    loop = close(plant, kp=2.0, ki=0.3, kd=0.5, filter=EMA(decay=0.75))
    assert loop.transfer(OMEGA) == pytest.approx(plant.response(OMEGA) * law * smoothing)


def test_without_integral_action_there_is_no_pole_at_one(make):
    loop = close(make(), kp=[2.0, 2.0], ki=[0.0, 0.1])
    assert loop.law_denominator[0].sum() == 1.0
    assert loop.law_denominator[1].sum() == 0.0
    assert loop.transfer(OMEGA)[0] == pytest.approx(2.0 * make().response(OMEGA))


def test_the_law_as_coded_has_this_transfer(make):
    """The impulse response of the law itself, against the polynomials."""
    kp, ki, kd = 2.0, 0.3, 0.5
    law = PID(kp=kp, ki=ki, kd=kd)
    state, commands = law.init(), []
    for t, y in enumerate([0.0, -1.0, 0.0, 0.0, 0.0]):
        u = commands[-1] if commands else 0.0
        state, terms = law.step(state, Sample(t=t, dt=1.0, y=y, r=0.0, u=u))
        commands.append(sum(terms.values()))
    # -1 at one reading: kp + kd, then -kd from the derivative and ki from the integral, then ki for ever
    assert commands == pytest.approx([0.0, kp + kd, ki - kd, ki, ki])
    loop = close(make(), kp=kp, ki=ki, kd=kd)
    # the numerator over 1 − q is its cumulative sum
    impulse = np.cumsum(np.concatenate([loop.law_numerator, [0.0]]))
    assert impulse == pytest.approx(commands[1:])


@pytest.mark.parametrize("y", [0.2, 0.5, 1.3])
@pytest.mark.parametrize("coordinates", ["absolute", "relative", "log"])
@pytest.mark.parametrize("error", ["absolute", "relative", "log"])
def test_gains_convert_at_the_level(make, coordinates, error, y):
    """Against the slope of the law's own error, by differences."""
    from controllers.parts.coordinates import error_in

    plant = make(coordinates=coordinates)
    dz = 1e-6
    z = plant.coordinate(y)
    slope = (error_in(error, r=y, y=plant.nats(z - dz)) - error_in(error, r=y, y=plant.nats(z + dz))) / (
        2 * dz
    )
    assert gain_in_z(plant, error, y) == pytest.approx(slope, rel=1e-4)


def test_log_gains_act_as_gains_over_the_level(make):
    plant = make(coordinates="absolute", level_nats=0.25)
    log, absolute = PID(kp=1.0, ki=0.1, error="log"), PID(kp=4.0, ki=0.4)
    assert close_law(plant, log).characteristic == pytest.approx(close_law(plant, absolute).characteristic)


def test_many_plants_and_many_gains_side_by_side(make):
    two = [make(a=(0.9,)), make(a=(1.0,))]
    side = close(two, kp=3.0, ki=0.2).transfer(OMEGA)
    for plant, row in zip(two, side):
        assert row == pytest.approx(close(plant, kp=3.0, ki=0.2).transfer(OMEGA))


def test_a_filter_that_is_not_linear_is_refused(make):
    assert close(make(), kp=1.0, ki=0.1, filter=Hold()).law_numerator.size
    with pytest.raises(DesignError, match="must be linear to be designed with, got median"):
        close(make(), kp=1.0, ki=0.1, filter=Median(window=3))
    with pytest.raises(DesignError, match="at_nats must be > 0"):
        gain_in_z(make(), "log", 0.0)
