import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import EMA, PID
from controllers.design import margins
from controllers.design.frequency import grid, grid_margins, sensitivity_peak
from controllers.design.response import spectral_radius
from controllers.design.transfer import close
from controllers.plants.plant import Plant


def law(kp, ki=0.0, kd=0.0):
    return PID(kp=kp, ki=ki, kd=kd, error="log")


def test_proportional_control_of_an_integrator_has_closed_forms(make):
    """L = κq / (1 − q), with κ = c·kp.

    |L| = 1 where 2 sin(ω/2) = κ; its phase is −90° − ω/2, so PM = 90° − ω/2 and the delay margin PM/ω.
    Unstable from κ = 2 on, at ω = π, where S = 2 / (2 − κ) peaks.
    """
    kappa = 0.5
    found = margins(make(), law(kappa / 0.1))
    crossover = 2 * np.arcsin(kappa / 2)
    assert found.stable
    assert found.gain_margin == pytest.approx(4.0)
    assert found.phase_margin_degrees == pytest.approx(90 - np.degrees(crossover / 2), rel=1e-4)
    assert found.delay_margin == pytest.approx((np.pi / 2 - crossover / 2) / crossover, rel=1e-4)
    assert found.ms == pytest.approx(2 / 1.5, rel=1e-6)
    assert found.mt == pytest.approx(1.0, abs=1e-3)
    # T = κq / (1 − (1 − κ)q): |T|² = κ² / (1 + (1−κ)² − 2(1−κ) cos ω) = 1/2
    bandwidth = np.arccos((1 + 0.25 - 2 * 0.25) / (2 * 0.5))
    assert found.bandwidth == pytest.approx(bandwidth, rel=5e-3)
    assert found.poles == pytest.approx((0.5,))


@pytest.mark.parametrize(
    ("kappa", "extra"), [(1.0, 0), (0.99, 1), (0.61, 1), (0.62, 1), (0.44, 2), (0.45, 1)]
)
def test_whole_iterations_of_further_delay(make, kappa, extra):
    # z^{d+1} − z^d + κ is stable up to κ = 2 sin(π / (4d + 2)): 1, 0.618, 0.445 for d = 1, 2, 3 extra
    assert 2 * np.sin(np.pi / 14) == pytest.approx(0.44504, abs=1e-5)
    limits = [2 * np.sin(np.pi / (2 * (2 * d + 1))) for d in range(1, 60)]
    expected = sum(kappa < limit - 1e-9 for limit in limits)
    found = margins(make(), law(kappa / 0.1))
    assert found.extra_iterations == expected
    assert found.extra_iterations <= found.delay_margin < expected + 1 + 1e-6 or expected == 50
    assert expected in (extra, extra + 1)


@pytest.mark.parametrize("name", ["integrator", "late", "lag", "memoryless", "high order"])
@pytest.mark.parametrize("gains", [(1.0, 0.05, 0.0), (0.4, 0.01, 0.3), (0.8, 0.0, 0.0)])
@pytest.mark.parametrize("filter", [None, EMA(decay=0.5)], ids=["none", "ema"])
def test_python_control_and_the_grid_agree(plants, name, gains, filter):
    plant = plants[name]
    found = margins(plant, law(*gains), filter)
    loop = close(plant, kp=gains[0], ki=gains[1], kd=gains[2], filter=filter)
    omega = grid(6000)
    ours = grid_margins(loop.transfer(omega), omega)
    assert found.stable
    assert found.ms == pytest.approx(float(sensitivity_peak(loop, omega)), rel=1e-4)
    assert found.gain_margin == pytest.approx(ours.gain_margin, rel=1e-3)
    assert found.phase_margin_degrees == pytest.approx(ours.phase_margin_degrees, rel=1e-3)
    assert found.delay_margin == pytest.approx(ours.delay_margin, rel=1e-3)
    assert abs(found.poles[0]) == pytest.approx(float(spectral_radius(loop.characteristic)))


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 1.5), st.floats(0.01, 0.4), st.integers(1, 4))
def test_margins_are_where_the_loop_turns_unstable(kappa, share, delay):
    """Scaled by its gain margin, or delayed by one more than it survives, a loop is at its limit."""
    plant = Plant(
        coordinates="log", a=(1.0,), b=(1.0,), delay=delay, drift=0.0, noise_std=0.0, level_nats=1.0
    )
    kp = kappa / delay / 2
    found = margins(plant, law(kp, share * kp / delay / 2))
    radius = [
        float(spectral_radius(close(plant, kp=f * kp, ki=f * share * kp / delay / 2).characteristic))
        for f in (0.999 * found.gain_margin, 1.001 * found.gain_margin)
    ]
    assert found.stable
    assert radius[0] < 1 < radius[1]
    assert found.extra_iterations <= found.delay_margin + 1e-9
    if found.delay_margin < 49:
        assert found.extra_iterations >= int(found.delay_margin - 1e-9)


def test_a_lag_beyond_half_a_turn_counts_by_its_nearer_way():
    """At a phase of 170° it takes 350° of lag to −1, but 10° of lead do it too."""
    omega = np.linspace(0.1, np.pi, 2001)
    size = 1.5 - 0.25 * omega  # 1 at ω = 2
    found = grid_margins(size * np.exp(1j * np.radians(170)), omega)
    assert found.phase_margin_degrees == pytest.approx(10)
    assert found.delay_margin == pytest.approx(np.radians(350) / 2, rel=1e-2)


def test_a_loop_that_is_not_stable_has_no_margin(make):
    found = margins(make(), law(1.0, 2.0))
    assert not found.stable
    assert (found.gain_margin, found.delay_margin, found.extra_iterations) == (0.0, 0.0, 0)
    assert found.ms == found.mt == np.inf
    assert abs(found.poles[0]) > 1


def test_a_slow_filter_costs_margin(make):
    fast, slow = margins(make(), law(3.0, 0.2)), margins(make(), law(3.0, 0.2), EMA(decay=0.8))
    assert slow.delay_margin < fast.delay_margin
    assert slow.ms > fast.ms


def test_a_level_other_than_the_plants_changes_the_loop_of_an_absolute_law(make):
    absolute = PID(kp=4.0, ki=0.2)
    at_level, lower = margins(make(), absolute), margins(make(), absolute, at_nats=0.25)
    assert at_level.ms == pytest.approx(margins(make(), law(2.0, 0.1)).ms)
    assert lower.ms == pytest.approx(margins(make(), law(1.0, 0.05)).ms)
