"""METHODS section 9: what linear theory says of a loop on an integrator with drift."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import (
    PID,
    Constant,
    DualAscent,
    FeedbackLoop,
    Increment,
    IntegratingPlant,
    simulate,
)

GAIN, DRIFT, TARGET = 0.02, 0.004, 0.5


def entropy(law, *, low=-1.0, high=1.0, n=4000, target=TARGET, **plant):
    loop = FeedbackLoop(
        sensor="entropy",
        reference=Constant(value_nats=target),
        law=law,
        actuator="bonus",
        low=low,
        high=high,
        neutral=0.0,
    )
    plant = IntegratingPlant(**{"gain": GAIN, "drift": DRIFT, "initial_nats": 1.0} | plant)
    return np.array([trace.y for trace in simulate(loop, plant, n)])


def test_proportional_leaves_the_offset_of_drift_over_gain():
    # d/(c·Kp) = 0.004/0.02 = 0.2 below the target; with λ = 0.01: (d + λ·H*)/(c·Kp + λ) = 0.009/0.03 = 0.3
    assert entropy(PID(kp=1.0, ki=0.0))[-1] == pytest.approx(0.3)
    assert entropy(PID(kp=2.0, ki=0.0))[-1] == pytest.approx(0.4)
    assert entropy(PID(kp=1.0, ki=0.0), regulation=0.01)[-1] == pytest.approx(0.2)


@pytest.mark.parametrize("regulation", [0.0, 0.01])
def test_proportional_integral_leaves_none(regulation):
    law = PID(kp=1.0, ki=0.01, anti_windup=0.0)
    assert entropy(law, regulation=regulation)[-1000:] == pytest.approx(TARGET, abs=1e-4)


def test_pure_integral_grows_on_an_integrator_and_settles_with_regulation():
    law = DualAscent(rate=0.01, space="linear", initial=0.0)
    # |z|² = 1 + c·η = 1.0002: the amplitude grows by sqrt(1.0002)^n, a factor 1.22 in 2000 iterations
    free = entropy(law, low=-inf, high=inf, n=3000, initial_nats=0.6, drift=0.0) - TARGET
    first, last = np.abs(free[:500]).max(), np.abs(free[2000:2500]).max()
    assert last / first == pytest.approx(1.0002**1000, rel=0.03)
    # with the floor of AER: a limit cycle, 0.516 ± 0.197 where the update comes before the use
    cycle = entropy(law, low=0.0, high=inf)[-1000:]
    assert cycle.mean() == pytest.approx(0.516, abs=0.005)
    assert cycle.std() == pytest.approx(0.197, abs=0.005)
    # λ = 0.01 > c·η = 0.0002
    assert entropy(law, low=0.0, high=inf, regulation=0.01)[-1000:] == pytest.approx(TARGET, abs=1e-3)


def test_gated_sign_is_a_narrow_limit_cycle():
    law = Increment(step_size=0.01, gated=True, low=0.0, high=1.0, initial=0.0)
    last = entropy(law, low=0.0)[-1000:]
    assert last.mean() == pytest.approx(TARGET, abs=0.005)
    assert 0.001 < last.std() < 0.005


STABILITY = [(ckp, cki) for ckp in (0.1, 0.5, 1.0, 1.9, 2.3) for cki in (0.02, 0.3, 0.8, 1.2, 2.6)]


@pytest.mark.parametrize(("ckp", "cki"), STABILITY)
def test_region_of_stability_of_proportional_integral(ckp, cki):
    """Roots of z² − (2 − cKp)·z + (1 − cKp + cKi), the inequalities, and the loop itself agree."""
    radius = np.abs(np.roots([1.0, ckp - 2.0, 1.0 - ckp + cki])).max()
    assert (radius < 1) == (cki < ckp and 2 * ckp - cki < 4)
    law = PID(kp=ckp, ki=cki)
    e = entropy(law, low=-inf, high=inf, n=600, gain=1.0, drift=0.0, target=1.0, initial_nats=1.001) - 1.0
    early, late = np.abs(e[:20]).max(), np.abs(e[-20:]).max()
    assert (late < 0.1 * early) == (radius < 1)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.2, 1.5),
    st.floats(0.05, 0.5),
    st.floats(0.0, 0.1),
    st.floats(-0.05, 0.05),
    st.floats(0.3, 1.0),
    st.sampled_from(["absolute", "relative", "log"]),
)
def test_integral_action_leaves_no_offset(ckp, share, regulation, drift, start, error):
    kp = ckp * (TARGET if error != "absolute" else 1.0)  # the slope of ln and of e/r at H* is 1/H*
    law = PID(kp=kp, ki=share * kp, error=error)
    plant = {"gain": 1.0, "drift": drift, "regulation": regulation, "initial_nats": start}
    assert entropy(law, low=-inf, high=inf, n=1000, **plant)[-10:] == pytest.approx(TARGET, abs=1e-6)


def test_anti_windup_removes_most_of_the_overshoot():
    """The usual start, far above the target, with little authority."""
    common = {"low": -0.25, "high": 0.25, "target": 0.3, "n": 1500}
    wound_up = 0.3 - entropy(PID(kp=1.0, ki=0.01, anti_windup=0.0), **common).min()
    tracked = 0.3 - entropy(PID(kp=1.0, ki=0.01, anti_windup=1.0), **common).min()
    textbook = 0.3 - entropy(PID(kp=1.0, ki=0.01, anti_windup=0.01), **common).min()
    assert wound_up > 0.25  # all but collapsed
    assert tracked < 0.1
    assert tracked < textbook < wound_up


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("regulation", [0.0, 0.05])
def test_pid_closes_the_loop_that_python_control_predicts(regulation):
    import matplotlib

    matplotlib.use("Agg")
    import control

    kp, ki, kd, bias, n = 8.0, 0.6, 5.0, 0.1, 300
    z = control.tf([1, 0], [1], dt=1.0)
    push = 1 / (z - 1 + regulation)  # from anything added to H in one iteration, to H
    error_path, measurement_path = kp + ki / (z - 1), kd * (z - 1) / z
    loop_gain = 1 + GAIN * push * (error_path + measurement_path)
    from_reference = control.minreal(GAIN * push * error_path / loop_gain, verbose=False)
    from_push = control.minreal(push / loop_gain, verbose=False)
    # deviations from the start, H = 1, which is also where regulation pulls to
    steps = np.arange(n)
    reference = control.forced_response(from_reference, steps, np.full(n, TARGET - 1.0)).outputs
    pushed = control.forced_response(from_push, steps, np.full(n, GAIN * bias - DRIFT)).outputs

    law = PID(kp=kp, ki=ki, kd=kd, bias=bias)
    plant = {"regulation": regulation, "equilibrium_nats": 1.0}
    ours = entropy(law, low=-inf, high=inf, n=n, **plant)
    assert ours == pytest.approx(1.0 + reference + pushed, abs=1e-8)
    assert ours.min() > 0
