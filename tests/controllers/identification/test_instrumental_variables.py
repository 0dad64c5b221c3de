import numpy as np
import pytest

from controllers.identification import Order, fit_arx, instrument_check

SMALL = Order(na=1, nb=1, delay=1)


def test_it_agrees_where_least_squares_is_right(lab):
    checks = []
    for seed in range(40):
        recording = lab.closed(lab.plant(), lab.loop(), 300, seed=seed)
        checks.append(instrument_check(fit_arx([recording], SMALL), [recording]))
    p_values = np.array([check.p_value for check in checks])
    assert 0.3 < p_values.mean() < 0.7
    assert (p_values < 0.05).mean() < 0.2
    pushes = np.array([check.push_difference for check in checks])
    assert 0.6 < pushes.std() < 1.5  # in units of its standard error


def test_it_sees_the_bias_that_reading_noise_gives_a_low_order(lab):
    plant = lab.plant(a=(1.0,), b=(0.15,), drift=-0.02)
    recordings = [
        lab.closed(plant, lab.loop(kp=1.0, ki=0.05, seed=k + 1), 300, seed=k, reading_noise=0.05)
        for k in range(4)
    ]
    low, high = fit_arx(recordings, SMALL), fit_arx(recordings, Order(na=5, nb=5, delay=1))
    assert low.plant.a[0] < 0.92  # five standard errors and more below 1
    check = instrument_check(low, recordings)
    assert check.p_value < 1e-6
    assert check.differences[0] > 3  # a is larger than least squares has it
    assert abs(check.a[0] - 1.0) < abs(low.plant.a[0] - 1.0) / 2
    assert instrument_check(high, recordings).p_value > 0.05


def test_signs_and_units(lab):
    recording = lab.open(lab.plant(), 400, seed=3)
    fit = fit_arx([recording], SMALL)
    check = instrument_check(fit, [recording])
    assert check.b[0] == pytest.approx(0.1, rel=0.3)
    assert check.push_difference == pytest.approx(check.differences[1])
    # in open loop the dither is the command, so its push is nearly as sure either way
    assert 1.0 <= check.precision < 1.2


def test_own_drifts_join_in(lab):
    recordings = [lab.closed(lab.plant(drift=drift), lab.loop(), 300, seed=1) for drift in (-0.3, 0.1)]
    fit = fit_arx(recordings, SMALL, own_drift=True)
    check = instrument_check(fit, recordings)
    assert check.p_value > 0.01
    assert check.b[0] == pytest.approx(0.1, rel=0.4)


def test_none_without_dither_or_rows(lab):
    recording = lab.closed(lab.plant(), lab.loop(amplitude=0.0), 300, seed=0)
    assert instrument_check(fit_arx([recording], SMALL), [recording]) is None
    short = lab.closed(lab.plant(), lab.loop(), 9, seed=0)
    assert instrument_check(fit_arx([short], SMALL), [short]) is None
