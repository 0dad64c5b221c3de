from dataclasses import replace
from math import exp, inf, log, nan, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.plants.plant import Plant

PLANT = Plant(
    coordinates="log", a=(0.7, 0.2), b=(0.1, 0.05), delay=2, drift=-0.02, noise_std=0.05, level_nats=0.3
)
COVARIANCE = tuple(tuple(1e-4 * (1 + (i == j)) for j in range(5)) for i in range(5))


def test_next_by_hand():
    # 0.7·(−1) + 0.2·(−2) + 0.1·3 + 0.05·4 − 0.02; u_{t−1} = 9 is too new to count
    assert PLANT.next([-1.0, -2.0], [9.0, 3.0, 4.0]) == pytest.approx(-0.62)


def test_poles_and_zeros_by_hand():
    # z² − 0.7 z − 0.2 = 0: (0.7 ± √1.29) / 2; 0.1 z + 0.05 = 0
    assert PLANT.poles == pytest.approx([0.917891, -0.217891], abs=1e-6)
    assert PLANT.zeros == pytest.approx([-0.5])
    assert replace(PLANT, b=(0.0, 0.1, -0.2)).zeros == pytest.approx([2.0])
    assert replace(PLANT, a=()).poles.size == 0


def test_static_gain_is_where_a_step_ends():
    z, u = [0.0, 0.0], [1.0, 1.0, 1.0]
    for _ in range(400):
        z = [PLANT.next(z, u) - PLANT.drift, z[0]]
    assert PLANT.static_gain == pytest.approx(z[0])
    assert PLANT.static_gain == pytest.approx(1.5)
    assert replace(PLANT, a=(1.0,)).static_gain == inf
    assert replace(PLANT, a=(1.0,), b=(-0.1,)).static_gain == -inf


@given(a=st.floats(-0.9, 1.0), drift=st.floats(-0.1, 0.1), r=st.floats(0.05, 2.0))
def test_the_holding_command_holds(a, drift, r):
    plant = replace(PLANT, a=(a,), drift=drift)
    u, z = plant.holding_command(r), log(r)
    assert plant.next([z], [u, u, u]) == pytest.approx(z, abs=1e-9)


@given(omega=st.floats(0.01, pi))
def test_frequency_response_is_what_a_sine_becomes(omega):
    t = np.arange(400)
    u, z = np.cos(omega * t), np.zeros(400)
    for k in range(3, 400):
        z[k] = PLANT.next(z[k - 1 : k - 3 : -1], u[k - 1 : k - 4 : -1]) - PLANT.drift
    expected = np.real(PLANT.response(omega) * np.exp(1j * omega * t))
    assert z[-50:] == pytest.approx(expected[-50:], abs=1e-6)


def test_response_is_that_of_python_control():
    control = pytest.importorskip("control")
    # b0 q⁻² + b1 q⁻³ over 1 − a1 q⁻¹ − a2 q⁻², times z³
    reference = control.tf([0.1, 0.05], [1.0, -0.7, -0.2, 0.0], 1.0)
    omega = np.array([0.01, 0.3, 1.0, 3.0])
    assert PLANT.response(omega) == pytest.approx(reference(np.exp(1j * omega)))


@given(y=st.floats(1e-5, 10.0), coordinates=st.sampled_from(["absolute", "relative", "log"]))
def test_coordinates_and_back(y, coordinates):
    plant = replace(PLANT, coordinates=coordinates)
    assert plant.nats(plant.coordinate(y)) == pytest.approx(y)


def test_coordinates_by_hand():
    assert PLANT.coordinate(0.5) == log(0.5)
    assert replace(PLANT, coordinates="relative").coordinate(0.15) == 0.5
    assert replace(PLANT, coordinates="absolute").coordinate(0.15) == 0.15
    assert PLANT.coordinate(0.0) == log(1e-6)  # a collapsed policy is far away, not infinitely
    assert PLANT.nats(1e9) == exp(700.0)
    assert replace(PLANT, coordinates="relative").nats(-0.1) == 0.0


def test_standard_errors_and_draws_follow_the_covariance():
    plant = replace(PLANT, covariance=COVARIANCE)
    assert plant.standard_errors == pytest.approx([np.sqrt(2e-4)] * 5)
    rng = np.random.default_rng(0)
    drawn = [plant.drawn(rng) for _ in range(4000)]
    parameters = np.array([each.parameters for each in drawn])
    assert parameters.mean(axis=0) == pytest.approx(plant.parameters, abs=2e-3)
    assert np.cov(parameters.T) == pytest.approx(np.array(COVARIANCE), abs=2e-5)
    assert drawn[0].delay == 2
    assert drawn[0].covariance == ()


def test_a_plant_known_exactly_has_no_doubt():
    assert PLANT.standard_errors == (0.0,) * 5
    assert PLANT.drawn(np.random.default_rng(0)) is PLANT


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coordinates": "nats"}, "coordinates must be one of absolute, relative, log, got 'nats'"),
        ({"b": ()}, "b must have at least one coefficient, got none"),
        ({"delay": 0}, "delay must be >= 1, got 0"),
        ({"drift": nan}, "a, b and drift must be finite, got (0.7, 0.2), (0.1, 0.05), nan"),
        ({"noise_std": -1.0}, "noise_std must be >= 0 and finite, got -1.0"),
        ({"level_nats": 0.0}, "level_nats must be > 0 and finite, got 0.0"),
        ({"covariance": ((1.0,),)}, "covariance must be 5 × 5, one row a parameter, got another shape"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        replace(PLANT, **fields)
    assert str(refusal.value) == message
