"""Records of plants that are known, with and without a loop around them."""

from __future__ import annotations

import numpy as np
import pytest

from controllers import PID, Constant, FeedbackLoop
from controllers.identification import Recording
from controllers.parts.dither import PRBS
from controllers.plants.plant import Plant


def known_plant(*, a=(0.95,), b=(0.1,), delay=1, drift=-0.06, noise_std=0.03, coordinates="log"):
    """Near ln 0.3 = −1.2 without a command."""
    return Plant(
        coordinates=coordinates, a=a, b=b, delay=delay, drift=drift, noise_std=noise_std, level_nats=0.3
    )


def known_loop(*, kp=0.5, ki=0.02, amplitude=0.2, hold=3, seed=1, limit=5.0, error="log"):
    return FeedbackLoop(
        sensor="entropy",
        reference=Constant(value_nats=0.3),
        law=PID(kp=kp, ki=ki, error=error),
        actuator="bonus",
        low=-limit,
        high=limit,
        neutral=0.0,
        dither=PRBS(amplitude=amplitude, hold=hold, bits=9, seed=seed) if amplitude else None,
    )


def closed_loop(plant, loop, num, *, seed, reading_noise=0.0, name=None):
    """What a run with this loop leaves behind; ``reading_noise`` is seen by the loop, not by the plant."""
    rng = np.random.default_rng(seed)
    z, u = [plant.coordinate(0.3)] * len(plant.a), [0.0] * (plant.delay + len(plant.b))
    state, traces = loop.init(), []
    for t in range(num):
        state, trace = loop.step(state, {"entropy": plant.nats(z[0] + reading_noise * rng.normal())}, t)
        traces.append(trace)
        u = [trace.u, *u][: plant.delay + len(plant.b)]
        z = [plant.next(z, u) + plant.noise_std * rng.normal(), *z][: len(plant.a)]
    return Recording(
        name=name or f"run {seed}",
        y=[trace.y for trace in traces],
        u=[trace.u for trace in traces],
        dither=[trace.terms.get("dither", 0.0) for trace in traces] if loop.dither else None,
    )


def open_loop(plant, num, *, seed, amplitude=0.3, name=None):
    """A random command that no feedback touches."""
    rng = np.random.default_rng(seed)
    command = amplitude * rng.choice([-1.0, 1.0], size=num)
    z, u, y = [plant.coordinate(0.3)] * len(plant.a), [0.0] * (plant.delay + len(plant.b)), []
    for t in range(num):
        y.append(plant.nats(z[0]))
        u = [command[t], *u][: plant.delay + len(plant.b)]
        z = [plant.next(z, u) + plant.noise_std * rng.normal(), *z][: len(plant.a)]
    return Recording(name=name or f"open {seed}", y=y, u=command, dither=command)


def step_response(plant, num):
    """z after a unit step of the command, without drift: entries 0 to num − 1."""
    z, out = [0.0] * max(1, len(plant.a)), [0.0]
    for t in range(1, num):
        u = [1.0 if t - age >= 0 else 0.0 for age in range(1, plant.delay + len(plant.b))]
        z = [plant.next(z, u) - plant.drift, *z][: max(1, len(plant.a))]
        out.append(z[0])
    return np.array(out)


@pytest.fixture
def lab():
    """The functions above, by name."""

    class Lab:
        plant = staticmethod(known_plant)
        loop = staticmethod(known_loop)
        closed = staticmethod(closed_loop)
        open = staticmethod(open_loop)
        step_response = staticmethod(step_response)

    return Lab
