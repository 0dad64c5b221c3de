from collections import deque
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controllers import EMA, Constant, FeedbackLoop
from controllers.design import (
    SIMC,
    SPECIFICATIONS,
    DesignError,
    MinimumVariance,
    SensitivityPeak,
    Settling,
    design,
    margins,
    promise,
)
from controllers.design.transfer import close
from controllers.plants.plant import Plant

TARGET = 0.5


def run(plant, law, num, *, initial, filter=None, drift_step=0.0, noise=None):
    """The feedback loop itself on the plant; z and u, the drift changed half way."""
    parts = {"filter": filter} if filter else {}
    loop = FeedbackLoop(
        sensor="entropy",
        reference=Constant(value_nats=TARGET),
        law=law,
        actuator="bonus",
        low=-np.inf,
        high=np.inf,
        neutral=law.bias,
        **parts,
    )
    state, look = loop.init(), len(plant.a) + len(plant.b) + plant.delay + 1
    z, u = deque([plant.coordinate(initial)] * look, maxlen=look), deque([law.bias] * look, maxlen=look)
    record = []
    for t in range(num):
        state, trace = loop.step(state, {"entropy": plant.nats(z[0])}, t)
        u.appendleft(trace.u)
        disturbance = drift_step if t >= num // 2 else 0.0
        z.appendleft(plant.next(list(z), list(u)) + disturbance + (noise[t] if noise is not None else 0.0))
        record.append((z[0], u[0]))
    return np.array(record).T


def test_simc_on_an_integrator_by_hand(make):
    # θ = 0.5 = tc: kp = 1 / (0.1·1) = 10, Ti = 4·1, ki = 2.5; z² − z + 0.25 has a double pole at 0.5
    found = design(make(), SIMC())
    assert (found.law.kp, found.law.ki) == (pytest.approx(10.0), pytest.approx(2.5))
    assert np.abs(found.margins.poles) == pytest.approx([0.5, 0.5], abs=1e-4)
    # tc = 4.5, delay 2 (θ = 1.5): kp = 1 / (0.1·6), Ti = 24
    slow = design(make(delay=2), SIMC(time_constant=4.5)).law
    assert (slow.kp, slow.ki) == (pytest.approx(10 / 6), pytest.approx(10 / 6 / 24))
    # a lag of 1 / −ln 0.8 = 4.48 iterations is shorter than 4·(tc + θ): Ti is that
    lag = design(make(a=(0.8,)), SIMC(time_constant=2.0)).law
    assert lag.kp / lag.ki == pytest.approx(-1 / np.log(0.8))
    assert design(make(a=(), b=(0.5,), delay=2), SIMC()).law.ki == pytest.approx(1 / (0.5 * 4))


def test_anti_windup_takes_the_geometric_mean_of_integral_time_and_one_iteration(make):
    # kp / ki = 4 iterations, then 24: the excess is taken out in 2 and in √24 iterations
    assert design(make(), SIMC()).law.anti_windup == pytest.approx(1 / 2)
    assert design(make(delay=2), SIMC(time_constant=4.5)).law.anti_windup == pytest.approx(1 / np.sqrt(24))
    assert design(make(coordinates="relative"), SIMC(), r_nats=0.25).law.anti_windup == pytest.approx(1 / 2)
    assert design(make(a=(), b=(0.5,), delay=2), SIMC()).law.anti_windup == 1.0  # integral action alone
    assert design(make(), SensitivityPeak(ms=1.6), structure="p").law.anti_windup == 1.0  # nothing winds up
    quick = design(make(a=(0.1,), b=(0.5,)), SensitivityPeak(ms=1.6)).law
    assert quick.ki > quick.kp > 0
    assert quick.anti_windup == 1.0  # an integral time below one iteration: all at once


def test_simc_counts_the_filter_and_refuses_what_it_cannot(make, plants):
    # an average with decay 0.5 is one iteration late: θ = 1.5 = tc
    assert design(make(), SIMC(), filter=EMA(decay=0.5)).law.kp == pytest.approx(1 / (0.1 * 3))
    with pytest.raises(DesignError, match="has no derivative action"):
        design(make(), SIMC(), structure="pid")
    with pytest.raises(DesignError, match="unlike its first-order picture"):
        design(plants["high order"], SIMC())
    with pytest.raises(DesignError, match="time_constant is too short"):  # stable, with Ms above 5
        design(make(), SIMC(time_constant=0.1))


def test_sensitivity_peak_of_proportional_control_by_hand(make):
    # Ms = 2 / (2 − κ): 1.6 at κ = 0.75
    found = design(make(), SensitivityPeak(ms=1.6), structure="p")
    assert found.law.kp == pytest.approx(7.5, rel=2e-3)
    assert found.law.ki == 0


@pytest.mark.parametrize("name", ["integrator", "late", "memoryless"])
def test_no_larger_ki_meets_the_peak(plants, name):
    """Against a fine sweep that knows nothing of the search."""
    from controllers.design import stability_map

    plant = plants[name]
    found = design(plant, SensitivityPeak(ms=1.4)).law
    kp, ki = found.kp * np.geomspace(0.05, 8, 200), found.ki * np.geomspace(0.5, 2, 141)
    swept = stability_map(plant, kp, ki)
    largest = ki[(swept.ms <= 1.4).any(axis=0)].max()
    assert found.ki == pytest.approx(largest, rel=0.02)


def test_minimum_variance_of_proportional_control_by_hand(make):
    # as near to deadbeat (κ = 1) as Ms lets it come: κ = 0.75, AR(1) with 0.25, 1 / (1 − 1/16)
    found = design(make(), MinimumVariance(ms=1.6), structure="p")
    assert found.law.kp == pytest.approx(7.5, rel=2e-3)
    assert found.promise.harris_index == pytest.approx(16 / 15, rel=1e-3)
    assert found.promise.output_std == pytest.approx(0.05 * np.sqrt(16 / 15), rel=1e-3)
    assert found.promise.output_std_nats == pytest.approx(0.5 * found.promise.output_std)
    assert found.promise.command_std == pytest.approx(7.5 * found.promise.output_std, rel=2e-3)
    # where Ms allows deadbeat it is found: 1 / (1 − 0.6·q) is cancelled by u = −6z
    free = design(make(a=(0.6,)), MinimumVariance(ms=2.0), structure="p")
    assert free.law.kp == pytest.approx(6.0, rel=0.02)
    assert free.promise.harris_index == pytest.approx(1.0, abs=1e-3)


def test_the_harris_index_grants_what_the_delay_takes(make):
    """c·kp = 0.25 at delay 2: z is AR(2) with 1 and −0.25, of variance (1 + κ) / ((1 − κ)·((1 + κ)² − 1)).

    No law does better than 1 + 1², the two steps of a random walk that pass before a command can act.
    """
    plant = make(delay=2)
    found = promise(plant, close(plant, kp=2.5, ki=0.0), 0.5)
    variance = 1.25 / (0.75 * 0.5625)
    assert found.output_std == pytest.approx(0.05 * np.sqrt(variance))
    assert found.harris_index == pytest.approx(variance / 2)


def test_minimum_variance_keeps_its_other_bounds(make):
    free = design(make(), MinimumVariance(recovery=30))
    calm = design(make(), MinimumVariance(recovery=30, command_std=0.2))
    assert free.promise.recovery_iterations <= 30
    assert calm.promise.recovery_iterations <= 30
    assert calm.promise.command_std <= 0.2 < free.promise.command_std
    assert calm.promise.harris_index > free.promise.harris_index
    assert free.promise.harris_index < 1.15
    with pytest.raises(DesignError, match=r"the nearest takes .* iterations with a deviation of"):
        design(make(delay=5), MinimumVariance(ms=1.2, recovery=10))
    with pytest.raises(DesignError, match="needs a plant with noise"):
        design(make(noise_std=0.0), MinimumVariance())


@pytest.mark.parametrize("name", ["integrator", "lag", "absolute", "relative"])
def test_settling_is_kept_by_the_loop_itself(plants, name):
    """A step of the reference, then one of the drift, on the plant that it was designed for."""
    plant = plants[name]
    found = design(plant, Settling(iterations=25), r_nats=TARGET)
    small = TARGET * 1.001  # where log and relative coordinates are linear
    num = 800
    z, _ = run(plant, found.law, num, initial=small, drift_step=1e-4)
    rest = z - plant.coordinate(TARGET)
    step = plant.coordinate(small) - plant.coordinate(TARGET)
    first, second = rest[: num // 2], rest[num // 2 :]
    assert np.abs(first[-50:]).max() < 1e-3 * step
    assert np.abs(second[25:]).max() <= 0.0501 * np.abs(second).max()
    # as initial value, not as step of the reference, so a little later than promised where a lag helps
    promised = found.promise
    assert promised.settling_iterations <= 25
    assert promised.recovery_iterations <= 25
    last = np.flatnonzero(np.abs(second) > 0.05 * np.abs(second).max())[-1] + 1
    assert last == promised.recovery_iterations


def test_a_step_of_the_reference_answers_as_promised(make):
    plant = make(coordinates="absolute", drift=0.0)
    found = design(plant, Settling(iterations=15))
    z, _ = run(plant, found.law, 200, initial=0.4)  # an integrator at rest: the same as a step of 0.1
    rest = np.concatenate([[1.0], (TARGET - z) / 0.1])
    assert np.flatnonzero(np.abs(rest) > 0.05)[-1] + 1 == found.promise.settling_iterations <= 15
    assert -rest.min() == pytest.approx(found.promise.overshoot_fraction, rel=1e-6)


def test_settling_takes_the_calmest_and_says_what_is_possible(make):
    by_time = [design(make(), Settling(iterations=n)) for n in (10, 20, 40)]
    peaks = [found.margins.ms for found in by_time]
    assert peaks == sorted(peaks, reverse=True)
    with pytest.raises(
        DesignError, match=r"settles in 20 iterations at Ms <= 1.6: the fastest possible is (\d+);"
    ) as e:
        design(make(delay=5), Settling(iterations=20))
    fastest = int(str(e.value).split("possible is ")[1].split(";")[0])
    assert design(make(delay=5), Settling(iterations=fastest + 1)).margins.ms <= 1.601
    with pytest.raises(DesignError):
        design(make(delay=5), Settling(iterations=fastest - 2))


@pytest.mark.parametrize("name", ["late", "high order", "relative"])
def test_noise_does_what_is_promised(plants, name):
    plant = plants[name]
    found = design(plant, MinimumVariance(ms=1.6, recovery=60), r_nats=TARGET)
    small = Plant(**{field.name: getattr(plant, field.name) for field in fields(plant)} | {"noise_std": 1e-3})
    noise = 1e-3 * np.random.default_rng(1).standard_normal(8_000)  # small: linear in every coordinate
    z, u = run(small, found.law, noise.size, initial=TARGET, noise=noise)
    scale = plant.noise_std / 1e-3
    assert scale * z[100:].std() == pytest.approx(found.promise.output_std, rel=0.05)
    assert scale * u[100:].std() == pytest.approx(found.promise.command_std, rel=0.05)
    assert z[100:].mean() == pytest.approx(plant.coordinate(TARGET), abs=3e-4)


@settings(max_examples=10, deadline=None)
@given(
    st.floats(0.0, 1.0).map(lambda value: round(value, 6)),  # python-control chokes on 1e-313
    st.floats(-0.3, 0.3).map(lambda value: round(value, 6)),
    st.floats(0.01, 2.0),
    st.integers(1, 4),
    st.floats(1.2, 2.0),
    st.sampled_from(["p", "pi"]),
    st.sampled_from([None, EMA(decay=0.6)]),
)
@example(0.0, 2e-313, 1.0, 1, 2.0, "p", None)  # a coefficient that python-control's roots choke on
def test_designed_loops_are_stable_and_keep_their_peak(pole, second, push, delay, ms, structure, filter):
    plant = Plant(
        coordinates="log",
        a=(pole + second, -pole * second),
        b=(push,),
        delay=delay,
        drift=-0.01,
        noise_std=0.05,
        level_nats=0.4,
    )
    found = design(plant, SensitivityPeak(ms=ms), structure=structure, filter=filter)
    checked = margins(plant, found.law, filter)
    assert checked.stable
    assert checked.ms == pytest.approx(ms, rel=0.01)
    assert checked.ms == pytest.approx(found.margins.ms)
    assert checked.gain_margin > ms / (ms - 1) * 0.99  # the Ms circle is outside of −1 + 1/Ms
    assert checked.phase_margin_degrees > 0.99 * 2 * np.degrees(np.arcsin(1 / (2 * ms)))


@pytest.mark.parametrize(
    "specification", [spec() for spec in SPECIFICATIONS.values()], ids=list(SPECIFICATIONS)
)
def test_every_specification_is_answered_and_the_same_again(make, specification):
    found = design(make(), specification)
    assert found == design(make(), specification)
    assert found.margins.stable
    assert found.law.error == "log"
    assert found.holding_command == found.law.bias == pytest.approx(0.2)
    assert 0 < found.law.anti_windup <= 1


def test_derivative_action_is_used_where_it_helps(plants):
    late = plants["late"]
    simple, more = (design(late, SensitivityPeak(ms=1.5), structure=s) for s in ("pi", "pid"))
    assert more.law.kd > 0
    assert more.law.ki > 1.3 * simple.law.ki
    assert more.margins.ms <= 1.51


def test_a_reference_away_from_the_level_scales_relative_gains(make):
    plant = make(coordinates="relative", a=(0.9,), drift=0.0)
    at_level, lower = design(plant, SensitivityPeak()), design(plant, SensitivityPeak(), r_nats=0.25)
    assert lower.law.kp == pytest.approx(at_level.law.kp * 0.5)  # e / r counts double at half of the level
    assert margins(plant, lower.law, at_nats=0.25).ms == pytest.approx(at_level.margins.ms)
    assert lower.holding_command == pytest.approx(plant.holding_command(0.25))
