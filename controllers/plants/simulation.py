"""Simulates a loop against a plant: the effect of a few gains, in a second and without a GPU.

The loops are the very objects that training steps, one Python call an iteration each; the plants of all
of them advance together in numpy.  Noise belongs to a seed, not to a loop, so candidates are compared on
common random numbers: any difference between them is their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controllers.base import Trace
from controllers.loop import FeedbackLoop
from controllers.plants.simulated_plants import Course, SimulatedPlant

Array = NDArray[np.float64]
Telemetry = Mapping[str, ArrayLike]
"""Readings besides the sensor's: a number each, or one for every iteration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Records of C loops with S seeds over T iterations, each array [C, S, T]."""

    y: Array
    """Measurement after the loop's filter [nats/token]; nan where it held for want of a reading."""

    r: Array
    """Reference [nats/token]."""

    u: Array
    """Command [actuator's unit]."""


def simulate(
    loop: FeedbackLoop,
    plant: SimulatedPlant,
    num_iterations: int,
    seed: int = 0,
    initial_nats: float | None = None,
    telemetry: Telemetry | None = None,
) -> list[Trace]:
    """Run one loop on the plant: measure, command, move, as in training.

    Args:
        initial_nats: entropy at iteration 0; by default the plant's own.
        telemetry: readings that the loop needs besides its sensor's, such as ``learning_rate``.

    Raises:
        ValueError: when the loop reads something that ``telemetry`` does not have.
    """
    traces: list[Trace] = []
    for now in _steps([loop], plant, num_iterations, [seed], initial_nats, telemetry):
        traces += now
    return traces


def simulate_many(
    loops: Sequence[FeedbackLoop],
    plant: SimulatedPlant,
    num_iterations: int,
    seeds: Sequence[int],
    initial_nats: float | None = None,
    telemetry: Telemetry | None = None,
) -> Simulated:
    """Run every loop with every seed; candidate c with seed s is ``simulate(loops[c], …, seed=s)``.

    Raises:
        ValueError: when there is no loop or no seed, or as ``simulate`` does.
    """
    if not loops or not seeds:
        raise ValueError(f"loops and seeds must not be empty, got {len(loops)} loops and {len(seeds)} seeds")
    C, S = len(loops), len(seeds)
    record = np.empty((3, num_iterations, C * S))
    for t, now in enumerate(_steps(loops, plant, num_iterations, seeds, initial_nats, telemetry)):
        record[:, t] = np.array([(trace.y, trace.r, trace.u) for trace in now]).T
    y, r, u = np.moveaxis(record, 1, 2).reshape(3, C, S, num_iterations)
    return Simulated(y=y, r=r, u=u)


def _steps(
    loops: Sequence[FeedbackLoop],
    plant: SimulatedPlant,
    num_iterations: int,
    seeds: Sequence[int],
    initial_nats: float | None,
    telemetry: Telemetry | None,
) -> Iterator[list[Trace]]:
    """Traces of every loop with every seed, loops in the outer order, one list an iteration."""
    readings = _readings(loops, num_iterations, telemetry or {})
    runs = [loop for loop in loops for _ in seeds]
    states = [loop.init() for loop in runs]
    course = Course(plant, initial_nats, np.array([float(loop.neutral) for loop in runs]))
    noise = np.array([np.random.default_rng(seed).standard_normal(num_iterations) for seed in seeds])
    noise = np.tile(noise, (len(loops), 1))
    for t in range(num_iterations):
        now = {name: values[t] for name, values in readings.items()}
        traces = []
        for run, (loop, y) in enumerate(zip(runs, course.y.tolist(), strict=True)):
            states[run], trace = loop.step(states[run], {**now, loop.sensor: y}, t)
            traces.append(trace)
        course.advance(np.array([trace.u for trace in traces]), noise[:, t])
        yield traces


def _readings(
    loops: Sequence[FeedbackLoop], num_iterations: int, telemetry: Telemetry
) -> dict[str, list[float]]:
    """Each reading at every iteration; refuses a loop that would hold for ever for want of one."""
    for loop in loops:
        missing = sorted(set(loop.reads) - {loop.sensor} - set(telemetry))
        if missing:
            raise ValueError(
                f"telemetry must have every reading of the loop, got none for {', '.join(missing)}; "
                "give each a number, or one for every iteration"
            )
    readings: dict[str, list[float]] = {}
    for name, values in telemetry.items():
        series = np.asarray(values, dtype=float)
        if series.ndim > 1 or series.size not in (1, num_iterations):
            raise ValueError(
                f"telemetry {name!r} must be one number or {num_iterations}, one for every iteration, "
                f"got shape {series.shape}"
            )
        readings[name] = np.broadcast_to(series, (num_iterations,)).tolist()
    return readings
