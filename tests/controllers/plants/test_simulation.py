from dataclasses import replace
from math import exp, log, nan

import numpy as np
import pytest

from controllers import (
    EMA,
    PID,
    Changed,
    Constant,
    FeedbackLoop,
    IntegratingPlant,
    OpenLoop,
    Plant,
    ScheduledPID,
    simulate,
    simulate_many,
)

LOOP = FeedbackLoop(
    sensor="entropy",
    reference=Constant(value_nats=0.5),
    law=OpenLoop(value=0.1),
    actuator="bonus",
    low=-1.0,
    high=1.0,
    neutral=0.0,
)
PI = replace(LOOP, law=PID(kp=1.0, ki=0.05))
ARX = Plant(
    coordinates="absolute", a=(0.9,), b=(0.2,), delay=1, drift=0.01, noise_std=0.0, level_nats=0.4
)  # fmt: skip


def readings(loop, plant, num_iterations, **more):
    return [trace.y for trace in simulate(loop, plant, num_iterations, **more)]


# One loop ---------------------------------------------------------------------------------------------


def test_integrating_plant_by_hand():
    plant = IntegratingPlant(
        gain=0.2, drift=0.03, initial_nats=1.0, regulation=0.1, equilibrium_nats=0.5, noise_std=0.01
    )
    noise = np.random.default_rng(3).standard_normal(1)[0]
    # 1 + 0.2·0.1 − 0.03 − 0.1·(1 − 0.5) = 0.94
    assert readings(LOOP, plant, 2, seed=3) == pytest.approx([1.0, 0.94 + 0.01 * noise])


def test_simulate_measures_before_it_moves():
    plant = IntegratingPlant(gain=1.0, drift=0.3, initial_nats=1.0)
    traces = simulate(LOOP, plant, 3)
    assert [trace.y for trace in traces] == pytest.approx([1.0, 0.8, 0.6])  # + 0.1 − 0.3
    assert [trace.u for trace in traces] == [0.1] * 3


def test_readings_stop_at_zero_and_come_back_from_there():
    plant = Changed(
        plants=(
            (0, IntegratingPlant(gain=1.0, drift=0.5, initial_nats=0.6)),
            (3, IntegratingPlant(gain=1.0, drift=0.0, initial_nats=0.6)),
        )
    )
    # − 0.4 an iteration to 0, not to −0.6; then + 0.1
    assert readings(LOOP, plant, 6) == pytest.approx([0.6, 0.2, 0.0, 0.0, 0.1, 0.2])


@pytest.mark.parametrize("coordinates", ["absolute", "relative", "log"])
def test_arx_with_delay_is_its_own_recursion(coordinates):
    """Against a loop over the equation in the docstring of ``Plant``."""
    a, b, delay, drift, level = (0.7, 0.2), (0.1, -0.05), 3, 0.03, 0.4
    plant = Plant(
        coordinates=coordinates, a=a, b=b, delay=delay, drift=drift, noise_std=0.05, level_nats=level
    )
    loop = replace(PI, neutral=0.2)
    noise = np.random.default_rng(5).standard_normal(40)
    to_z = {"absolute": lambda y: y, "relative": lambda y: y / level, "log": log}[coordinates]
    to_y = {"absolute": lambda z: z, "relative": lambda z: z * level, "log": exp}[coordinates]
    z, u, state = {t: to_z(0.6) for t in (-1, 0)}, dict.fromkeys(range(-9, 0), 0.2), loop.init()
    ys = []
    for t in range(40):
        ys.append(to_y(z[t]))
        state, trace = loop.step(state, {"entropy": ys[-1]}, t)
        u[t] = trace.u
        memory = a[0] * z[t] + a[1] * z[t - 1]
        push = b[0] * u[t + 1 - delay] + b[1] * u[t - delay]
        z[t + 1] = memory + push + drift + 0.05 * noise[t]
        assert z[t + 1] > 0 or coordinates == "log"
    assert readings(loop, plant, 40, seed=5, initial_nats=0.6) == pytest.approx(ys, abs=1e-12)


def test_a_change_keeps_the_history_in_any_coordinates():
    """The new plant has a delay of 2 and other coordinates: it meets the old readings and commands."""
    later = Plant(
        coordinates="log", a=(0.5, 0.4), b=(0.3,), delay=2, drift=-0.1, noise_std=0.0, level_nats=9.0
    )
    first = replace(ARX, coordinates="relative", drift=0.1)
    traces = simulate(PI, Changed(plants=((0, first), (4, later))), 7)
    y, u = [trace.y for trace in traces], [trace.u for trace in traces]
    assert y[:5] == readings(PI, first, 5)
    assert y[5] == pytest.approx(exp(0.5 * log(y[4]) + 0.4 * log(y[3]) + 0.3 * u[3] - 0.1))
    assert y[6] == pytest.approx(exp(0.5 * log(y[5]) + 0.4 * log(y[4]) + 0.3 * u[4] - 0.1))


def test_a_start_is_the_plants_own_or_what_is_asked_for():
    assert readings(LOOP, ARX, 1) == [0.4]
    assert readings(LOOP, IntegratingPlant(gain=1.0, drift=0.0, initial_nats=0.7), 1) == [0.7]
    assert readings(LOOP, ARX, 1, initial_nats=0.3) == [0.3]
    with pytest.raises(ValueError, match="initial_nats must be >= 0 and finite, got -1"):
        simulate(LOOP, ARX, 1, initial_nats=-1.0)


def test_noise_has_its_scale_and_its_seed():
    plant = IntegratingPlant(gain=0.0, drift=0.0, initial_nats=100.0, noise_std=0.5)
    y = np.array(readings(LOOP, plant, 4000))
    assert np.diff(y).std() == pytest.approx(0.5, rel=0.05)
    assert readings(LOOP, plant, 20, seed=1) == readings(LOOP, plant, 20, seed=1)
    assert readings(LOOP, plant, 20, seed=1) != readings(LOOP, plant, 20, seed=2)
    assert readings(LOOP, plant, 50, seed=1)[:20] == readings(LOOP, plant, 20, seed=1)


def test_a_loop_that_explodes_ends_in_holding_not_in_a_warning():
    wild = replace(PI, law=PID(kp=1e9, ki=0.0), low=-1e300, high=1e300)
    traces = simulate(wild, replace(ARX, b=(-1e9,)), 100, initial_nats=0.8)
    assert any(trace.held for trace in traces)


# Further readings -------------------------------------------------------------------------------------


SCHEDULED = replace(PI, law=ScheduledPID(pid=PID(kp=1.0, ki=0.0), learning_rate_reference=1e-3))


def test_telemetry_may_change_on_the_way():
    flat = IntegratingPlant(gain=0.0, drift=0.0, initial_nats=0.4)
    rates = [1e-3, 1e-3, 2e-3]
    u = [trace.u for trace in simulate(SCHEDULED, flat, 3, telemetry={"learning_rate": rates})]
    assert u == pytest.approx([0.1, 0.1, 0.05])  # kp 1, 1, ½ at an error of 0.1
    u = [trace.u for trace in simulate(SCHEDULED, flat, 3, telemetry={"learning_rate": 4e-3})]
    assert u == pytest.approx([0.025] * 3)


@pytest.mark.parametrize(
    ("telemetry", "message"),
    [
        (None, "telemetry must have every reading of the loop, got none for learning_rate"),
        ({"learning_rate": [1.0, 2.0]}, "telemetry 'learning_rate' must be one number or 5"),
    ],
)
def test_a_reading_that_is_missing_is_refused(telemetry, message):
    with pytest.raises(ValueError, match=message):
        simulate(SCHEDULED, ARX, 5, telemetry=telemetry)


# Many loops -------------------------------------------------------------------------------------------


def test_many_are_each_of_them_alone():
    loops = [
        PI,
        replace(PI, law=PID(kp=3.0, ki=0.2, error="log"), low=0.0, high=0.3, neutral=0.1),
        replace(PI, sensor="surprisal", filter=EMA(decay=0.5), period=3),
    ]
    later = replace(ARX, delay=2, b=(0.1,), coordinates="log")
    plant = Changed(plants=((0, replace(ARX, noise_std=0.02)), (30, replace(later, noise_std=0.05))))
    many = simulate_many(loops, plant, 60, seeds=[4, 0], initial_nats=0.8)
    assert many.y.shape == many.r.shape == many.u.shape == (3, 2, 60)
    for c, loop in enumerate(loops):
        for s, seed in enumerate([4, 0]):
            traces = simulate(loop, plant, 60, seed=seed, initial_nats=0.8)
            assert many.y[c, s] == pytest.approx([trace.y for trace in traces], abs=1e-12)
            assert many.r[c, s] == pytest.approx([trace.r for trace in traces])
            assert many.u[c, s] == pytest.approx([trace.u for trace in traces], abs=1e-12)


def test_candidates_meet_the_same_noise():
    loops = [replace(LOOP, law=OpenLoop(value=value)) for value in (0.1, 0.3)]
    plant = replace(ARX, noise_std=0.05, drift=1.0)
    y = simulate_many(loops, plant, 50, seeds=range(3)).y
    without = simulate_many(loops, replace(ARX, drift=1.0), 50, seeds=[0]).y
    # a linear plant: the difference of two commands has no noise in it
    assert y[1] - y[0] == pytest.approx(np.repeat(without[1] - without[0], 3, axis=0), abs=1e-12)
    assert np.abs(y[0, 0] - y[0, 1]).max() > 0.01


@pytest.mark.parametrize(("loops", "seeds"), [([], [0]), ([LOOP], [])])
def test_nothing_to_simulate_is_refused(loops, seeds):
    with pytest.raises(ValueError, match="loops and seeds must not be empty"):
        simulate_many(loops, ARX, 10, seeds)


# Refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gain": nan}, "gain must be finite, got nan"),
        ({"drift": nan}, "drift must be finite, got nan"),
        ({"initial_nats": -1.0}, "initial_nats must be >= 0 and finite, got -1.0"),
        ({"regulation": 1.5}, "regulation must be in [0, 1], got 1.5"),
        ({"equilibrium_nats": -0.1}, "equilibrium_nats must be >= 0 and finite, got -0.1"),
        ({"noise_std": -0.1}, "noise_std must be >= 0 and finite, got -0.1"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        IntegratingPlant(**{"gain": 1.0, "drift": 0.0, "initial_nats": 1.0} | fields)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ([], "plants must begin at iteration 0, got iterations []"),
        ([5], "plants must begin at iteration 0, got iterations [5]"),
        ([0, 9, 9], "iterations of plants must increase, got [0, 9, 9]"),
    ],
)
def test_refusals_of_changes(starts, message):
    with pytest.raises(ValueError) as refusal:
        Changed(plants=tuple((start, ARX) for start in starts))
    assert str(refusal.value) == message
