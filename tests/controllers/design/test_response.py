import numpy as np
import pytest
import scipy.linalg
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.design.response import (
    impulse,
    minimum_variance,
    noise_variances,
    settled,
    spectral_radius,
    steps,
    variance,
)
from controllers.design.transfer import close


def lyapunov_variance(numerator, denominator):
    """C Σ C' + d² with Σ = A Σ A' + B B': the textbook's way."""
    size = max(len(numerator), len(denominator))
    b, a = np.pad(numerator, (0, size - len(numerator))), np.pad(denominator, (0, size - len(denominator)))
    A, B, C, D = scipy.signal.tf2ss(b, a)
    covariance = scipy.linalg.solve_discrete_lyapunov(A, B @ B.T)
    return float((C @ covariance @ C.T + D @ D.T)[0, 0])


def test_variance_of_first_order_processes():
    # AR(1): 1 / (1 − a²);  MA(1): 1 + c²;  ARMA(1,1): (1 + c² + 2ac) / (1 − a²)
    assert variance(np.array([1.0]), np.array([1.0, -0.9])) == pytest.approx(1 / (1 - 0.81))
    assert variance(np.array([1.0, 0.5]), np.array([1.0])) == pytest.approx(1.25)
    assert variance(np.array([1.0, 0.5]), np.array([1.0, -0.9])) == pytest.approx((1.25 + 0.9) / 0.19)


@settings(max_examples=50, deadline=None)
@given(
    # For five equal poles at 0.95 the two ways of computing keep three digits in common, at 0.85 seven.
    st.lists(st.floats(-0.85, 0.85), min_size=1, max_size=5),
    st.lists(st.floats(-2, 2), min_size=1, max_size=4),
)
def test_variance_agrees_with_lyapunov(poles, numerator):
    numerator = np.array([1.0, *numerator])
    denominator = np.poly(poles)
    assert variance(numerator, denominator) == pytest.approx(
        lyapunov_variance(numerator, denominator), rel=1e-5
    )


def test_variances_side_by_side_and_of_the_command(plants):
    plant = plants["lag"]
    kp, ki = np.array([0.5, 1.0]), np.array([0.05, 0.1])
    output, command = noise_variances(close(plant, kp=kp, ki=ki))
    for i in range(2):
        loop = close(plant, kp=kp[i], ki=ki[i])
        poles = loop.characteristic
        assert output[i] == pytest.approx(lyapunov_variance(loop.law_denominator, poles))
        assert command[i] == pytest.approx(lyapunov_variance(loop.law_numerator, poles))


def test_deadbeat_on_an_integrator_is_minimum_variance(make):
    # c·kp = 1: y_t = ε_t; c·kp = κ: y is AR(1) with 1 − κ, variance 1 / (1 − (1 − κ)²)
    plant = make()
    output, command = noise_variances(close(plant, kp=[10.0, 5.0], ki=0.0))
    assert output == pytest.approx([1.0, 4 / 3])
    assert command == pytest.approx([100.0, 25 * 4 / 3])
    assert minimum_variance(np.array([1.0, -1.0]), 1) == pytest.approx(1.0)
    # with delay 3 the random walk has gone three steps before anything can act: 1 + 1 + 1
    assert minimum_variance(np.array([1.0, -1.0]), 3) == pytest.approx(3.0)
    # AR(1), 0.8, delay 2: 1 + 0.8²
    assert minimum_variance(np.array([1.0, -0.8]), 2) == pytest.approx(1.64)


@pytest.mark.parametrize("name", ["late", "lag", "high order"])
def test_no_law_beats_minimum_variance(plants, name):
    plant = plants[name]
    loops = close(
        plant, kp=np.geomspace(0.1, 3, 20)[:, None], ki=np.geomspace(1e-3, 0.5, 15)[None, :], kd=0.1
    )
    stable = spectral_radius(loops.characteristic) < 1
    assert stable.sum() > 50
    output, _ = noise_variances(loops)
    assert output[stable].min() >= minimum_variance(loops.memory, plant.delay)


def test_spectral_radius_is_the_largest_root():
    assert spectral_radius(np.poly([0.5, -0.9, 0.2])) == pytest.approx(0.9)
    assert spectral_radius(np.poly([0.3 + 0.4j, 0.3 - 0.4j]).real) == pytest.approx(0.5)
    assert spectral_radius(np.array([[1.0], [1.0]])) == pytest.approx([0.0, 0.0])


def test_impulse_is_that_of_scipy():
    numerator, denominator = np.array([0.0, 0.3, 0.1]), np.array([1.0, -1.1, 0.4])
    expected = scipy.signal.lfilter(numerator, denominator, np.eye(1, 30)[0])
    assert impulse(numerator, denominator, 30) == pytest.approx(expected)


def test_settled_is_the_first_index_from_which_it_stays_inside():
    rest = np.array([[1.0, 0.01, 0.2, 0.04, 0.03], [0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.1]])
    assert settled(rest, np.full(3, 0.05)).tolist() == [3.0, 0.0, np.inf]


def test_steps_of_proportional_control_of_an_integrator(make):
    # what is left after t iterations is 0.5^t: 0.031 at t = 5 is the first within 5 %
    answer = steps(close(make(), kp=5.0, ki=0.0), 100)
    assert answer.settling == 5
    assert answer.overshoot == pytest.approx(0.0)
