"""The Harris index against closed forms, on loops whose minimum variance is known."""

from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from controllers import PID, Constant, FeedbackLoop, Plant, harris_index, simulate_many

POLE, PUSH, NOISE, TARGET = 0.95, 0.1, 0.02, 1.0
PLANT = Plant(
    coordinates="absolute",
    a=(POLE,),
    b=(PUSH,),
    delay=1,
    drift=0.0,
    noise_std=NOISE,
    level_nats=TARGET,
)


def records(plant, kp, num_iterations=1000, seeds=8):
    """Readings [S, T] of a proportional law, with the bias that leaves no offset."""
    loop = FeedbackLoop(
        sensor="entropy",
        reference=Constant(value_nats=TARGET),
        law=PID(kp=kp, ki=0.0, bias=plant.holding_command(TARGET)),
        actuator="bonus",
        low=-100.0,
        high=100.0,
        neutral=plant.holding_command(TARGET),
    )
    return simulate_many([loop], plant, num_iterations, range(seeds), TARGET).y[0]


def theory(kp, delay):
    """Variance of e over the bound, for z⁺ = a z + b u_{−delay+1} + ε under u = −kp z, by Lyapunov."""
    A = np.zeros((delay, delay))  # state (z_t, z_{t−1}, …): the command is −kp times the oldest of them
    A[0, 0] = POLE
    A[0, -1] -= PUSH * kp
    A[1:, :-1] = np.eye(delay - 1)
    Q = np.zeros((delay, delay))
    Q[0, 0] = NOISE**2
    variance = solve_discrete_lyapunov(A, Q)[0, 0]
    return variance / (NOISE**2 * sum(POLE ** (2 * i) for i in range(delay)))


def test_minimum_variance_control_has_an_index_of_one():
    # delay 1: kp = a/b makes z⁺ = ε
    y = records(PLANT, POLE / PUSH)
    assert theory(POLE / PUSH, 1) == pytest.approx(1.0)
    assert np.mean([harris_index(row, TARGET) for row in y]) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("kp", "delay"), [(1.0, 1), (3.0, 1), (15.0, 1), (1.0, 3), (2.0, 3), (2.0, 2), (0.0, 3)]
)
def test_a_detuned_loop_has_the_index_of_theory(kp, delay):
    expected = theory(kp, delay)
    y = records(replace(PLANT, delay=delay), kp)
    mean = np.mean([harris_index(row, TARGET, delay=delay) for row in y])
    assert mean == pytest.approx(expected, rel=0.1)
    assert expected > 1.02


def test_an_offset_counts_as_error_that_could_be_gone():
    y = records(PLANT, POLE / PUSH)
    # mean e² = σ² + (2σ)²
    assert np.mean([harris_index(row, TARGET + 2 * NOISE) for row in y]) == pytest.approx(5.0, rel=0.05)


def test_more_delay_excuses_more():
    y = records(PLANT, 1.0, seeds=1)[0]
    indices = [harris_index(y, TARGET, delay=delay) for delay in (1, 2, 4)]
    assert indices == sorted(indices, reverse=True)


def test_only_the_last_part_is_judged():
    settled = records(PLANT, POLE / PUSH, num_iterations=200, seeds=1)[0]
    start = np.linspace(5.0, 1.0, 200)
    assert harris_index(np.concatenate([start, settled]), TARGET) == harris_index(
        settled, TARGET, final_fraction=1.0
    )


def test_gaps_are_left_out_and_do_not_join_what_they_part():
    y = records(PLANT, 2.0, seeds=1)[0].copy()
    whole = harris_index(y, TARGET)
    y[::15] = nan
    assert harris_index(y, TARGET) == pytest.approx(whole, rel=0.1)


def test_in_other_units_it_is_the_same():
    y = records(PLANT, 2.0, seeds=1)[0]
    assert harris_index(10 * y, 10 * TARGET) == pytest.approx(harris_index(y, TARGET))


def test_too_few_readings_or_no_noise_give_nan():
    y = records(PLANT, 2.0, num_iterations=60, seeds=1)[0]
    assert harris_index(y, TARGET) > 0.5  # 30 in the last half
    assert isnan(harris_index(y[:58], TARGET))
    y[40] = nan
    assert isnan(harris_index(y, TARGET))
    assert isnan(harris_index([], TARGET))
    assert isnan(harris_index(np.full(100, 0.9), TARGET))
    every_third = np.full(300, nan)
    every_third[::3] = records(PLANT, 2.0, num_iterations=100, seeds=1)[0]
    assert isnan(harris_index(every_third, TARGET))  # 50 readings, none beside another


def test_delay_is_one_at_least():
    with pytest.raises(ValueError, match="delay must be >= 1, got 0"):
        harris_index(np.ones(100), 1.0, delay=0)
