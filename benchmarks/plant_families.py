"""Simulated plants as different as users' runs are, many at once, and the PI that knows each of them.

Every array has a plant a column.  A command w is a share of the actuator's range, so 1 is all of it; z is ln
of the entropy over the reference, so 0 is right.  Each plant has its own noise, drawn beforehand, and every law
meets the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]

NUM_ITERATIONS = 200
LONGEST_DELAY = 12
LARGEST_Z = 6.0
"""ln entropy stays within this of the reference's: a policy collapses no further, and a vocabulary ends."""
ORACLES = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0)
"""Time constants that the oracle chooses from, in its dead times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plants:
    """N plants: what the command does, what drifts, what is read."""

    instant: bool
    """The command shifts z at once, as a temperature does, instead of pushing it."""
    gain: Array
    """What the full command does to z at the reference: an iteration, or at once, shape (T, N)."""
    drift: Array
    """What z does an iteration by itself at the reference, shape (T, N)."""
    delay: Array
    """Iterations from a command to its first effect, shape (T, N)."""
    lag: Array
    """Weight that the effect keeps from iteration to iteration, shape (N,)."""
    power: Array
    """The push on z goes by H to this, shape (N,)."""
    drift_power: Array
    """The drift of z goes by H to this, shape (N,)."""
    start: Array
    """z of the first iteration, shape (N,)."""
    low: Array
    """Lowest command: −1, or 0 where the actuator pushes up only, shape (N,)."""
    holding: Array
    """Command that holds the reference, a share of the range, shape (N,); the oracle knows it."""
    reference: Array
    """The setpoint [nats/token], shape (N,)."""
    unit: Array
    """The range in the actuator's own unit, shape (N,)."""
    change: Array
    """Random change of z, shape (T, N)."""
    noise: Array
    """Error of the reading of ln H, shape (T, N); nan where none came."""
    noise_std: Array
    """Its standard deviation, shape (N,)."""
    bent: bool = False
    """The effect goes by the logarithm of a temperature of 1 + 4 w, so by most of itself near w = 0."""

    @property
    def num(self) -> int:
        """N."""
        return self.start.size


def _log_uniform(rng: Generator, low: float, high: float, num: int) -> Array:
    return np.exp(rng.uniform(np.log(low), np.log(high), num))


def _events(rng: Generator, num: int, change: Array) -> Array:
    """The plants with twice the gain and drift from mid-run, (T, N); puts a jump of ±0.4 into ``change``."""
    t = np.arange(NUM_ITERATIONS)[:, None]
    jumps = rng.integers(60, 120, num), rng.random(num) < 0.3, 0.4 * rng.choice([-1.0, 1.0], num)
    doubles = rng.integers(60, 120, num), rng.random(num) < 0.3
    change += np.where((t == jumps[0]) & jumps[1], jumps[2], 0.0)
    return np.where((t >= doubles[0]) & doubles[1], 2.0, 1.0)


def _common(rng: Generator, num: int, noise: tuple[float, float]) -> dict[str, Array]:
    two_sided = rng.random(num) < 0.7
    up = two_sided & (rng.random(num) < 0.25)
    reading = rng.uniform(*noise, num)
    return {
        "low": np.where(two_sided, -1.0, 0.0),
        "holding": rng.uniform(0.05, 0.7, num) * np.where(up, -1.0, 1.0),
        "unit": _log_uniform(rng, 5e-3, 2.5, num),
        "reference": _log_uniform(rng, 0.1, 1.0, num),
        "start": np.where(rng.random(num) < 0.7, rng.uniform(0.0, 1.0, num), rng.uniform(-0.5, 0.0, num)),
        "noise": reading * rng.standard_normal((NUM_ITERATIONS, num)),
        "noise_std": reading,
    }


def integrators(rng: Generator, num: int, noise: tuple[float, float] = (0.03, 0.2)) -> Plants:
    """The command pushes z: four decades of gain per unit, dead times of 0.5 to 11.5, warm-up, jumps."""
    common = _common(rng, num, noise)
    gain = _log_uniform(rng, 2e-3, 1.0, num)
    change = (rng.uniform(0.05, 0.5, num) * gain) * rng.standard_normal((NUM_ITERATIONS, num))
    warm_up = rng.choice([1, 5, 20], num)
    rate = np.minimum(1.0, (np.arange(NUM_ITERATIONS)[:, None] + 1) / warm_up) * _events(rng, num, change)
    return Plants(
        instant=False,
        gain=gain * rate,
        drift=-gain * common["holding"] * rate,
        delay=np.tile(rng.integers(1, 4, num).astype(float), (NUM_ITERATIONS, 1)),
        lag=rng.choice([0.0, 0.5, 0.9], num),
        power=rng.choice([-1.0, 0.0, 0.5, 1.0], num),
        drift_power=rng.uniform(0.0, 1.0, num),
        change=change,
        **common,
    )


def instants(rng: Generator, num: int, noise: tuple[float, float] = (0.03, 0.2)) -> Plants:
    """The command shifts z by 0.3 to 2 at once while the base drifts; ``holding`` is where it ends."""
    common = _common(rng, num, noise)
    gain = rng.uniform(0.3, 2.0, num)
    change = rng.uniform(0.002, 0.02, num) * rng.standard_normal((NUM_ITERATIONS, num))
    drift = np.tile(-(gain * common["holding"] + common["start"]) / NUM_ITERATIONS, (NUM_ITERATIONS, 1))
    common["holding"] = np.zeros(num)
    return Plants(
        instant=True,
        gain=np.tile(gain, (NUM_ITERATIONS, 1)),
        drift=drift,
        delay=np.tile(rng.integers(1, 3, num).astype(float), (NUM_ITERATIONS, 1)),
        lag=rng.choice([0.0, 0.5], num),
        power=np.zeros(num),
        drift_power=np.zeros(num),
        change=change,
        **common,
    )


def temperatures(rng: Generator, num: int) -> Plants:
    """A temperature from 0.2 to 5: ln H goes by 0.5 to 5 times its logarithm."""
    plants = instants(rng, num)
    gain = np.log(5.0) * _log_uniform(rng, 0.5, 5.0, num)
    return replace(plants, bent=True, gain=np.tile(gain, (NUM_ITERATIONS, 1)), low=np.full(num, -0.2))


def phases(rng: Generator, num: int) -> Plants:
    """Integrators whose gain and drift become a fifth to five times as large at a phase."""
    plants = integrators(rng, num)
    factor = _log_uniform(rng, 0.2, 5.0, num)
    later = np.arange(NUM_ITERATIONS)[:, None] >= rng.integers(60, 120, num)
    rate = np.where(later, factor, 1.0)
    return replace(plants, gain=plants.gain * rate, drift=plants.drift * rate, change=plants.change * rate)


def bad_readings(rng: Generator, num: int) -> Plants:
    """Integrators of which a fifth of the readings is missing, ten in a row once, with noise of t(3)."""
    plants = integrators(rng, num)
    noise = plants.noise.std(axis=0) * rng.standard_t(3, plants.noise.shape) / np.sqrt(3.0)
    gap = np.arange(NUM_ITERATIONS)[:, None] - rng.integers(40, 160, num)
    missing = (rng.random(noise.shape) < 0.2) | ((gap >= 0) & (gap < 10))
    missing[0] = False
    return replace(plants, noise=np.where(missing, np.nan, noise))


def stale_rollouts(rng: Generator, num: int) -> Plants:
    """Integrators whose dead time grows by 2 to 6 iterations during the run, as with stale rollouts."""
    plants = integrators(rng, num)
    grown = np.floor(np.linspace(0.0, 1.0, NUM_ITERATIONS)[:, None] * (rng.integers(2, 7, num) + 0.999))
    return replace(plants, delay=plants.delay + grown)


def noisy_readings(rng: Generator, num: int) -> Plants:
    """Integrators read with a noise of 20 to 40 %, as small batches give."""
    return integrators(rng, num, noise=(0.2, 0.4))


FAMILIES: dict[str, Callable[[Generator, int], Plants]] = {
    "integrators": integrators,
    "instant": instants,
    "phases": phases,
    "bad readings": bad_readings,
    "stale rollouts": stale_rollouts,
    "noisy readings": noisy_readings,
    "temperatures": temperatures,
}


def chosen(plants: Plants, which: NDArray[np.bool_]) -> Plants:
    """Some of the plants."""
    names = [field.name for field in fields(plants) if field.name not in ("instant", "bent")]
    return replace(plants, **{name: getattr(plants, name)[..., which] for name in names})


Stepper = Callable[[int, Array, Array], Array]
"""(t, readings of z with nan where none came, commands applied before) to commands, each of shape (N,)."""


def simulate(plants: Plants, law: Stepper) -> tuple[Array, Array]:
    """True z and the commands applied, each of shape (T, N)."""
    num = plants.num
    columns = np.arange(num)
    level, effect, w = plants.start.copy(), np.zeros(num), np.zeros(num)
    commands = np.zeros((NUM_ITERATIONS + LONGEST_DELAY, num))  # before the run all are neutral
    zs, ws = np.empty((2, NUM_ITERATIONS, num))
    for t in range(NUM_ITERATIONS):
        rows = t + LONGEST_DELAY - plants.delay[t].astype(int)
        effect = plants.lag * effect + (1 - plants.lag) * commands[rows, columns]
        if not plants.instant and t > 0:
            push = plants.gain[t] * effect * np.exp(plants.power * level)
            level = level + push + plants.drift[t] * np.exp(plants.drift_power * level) + plants.change[t]
        elif t > 0:
            level = level + plants.drift[t] + plants.change[t]
        level = np.clip(level, -LARGEST_Z, LARGEST_Z)
        zs[t] = level + plants.gain[t] * effect if plants.instant else level
        w = np.clip(law(t, zs[t] + plants.noise[t], w), plants.low, 1.0)
        ws[t] = w
        commands[t + LONGEST_DELAY] = np.log1p(4 * w) / np.log(5.0) if plants.bent else w
    return zs, ws


def oracle(plants: Plants) -> tuple[Array, Array]:
    """The PI by SIMC that knows gain, dead time and holding command, with the best of eight time constants.

    It knows the bend of a temperature too, and so commands its logarithm.
    """
    if plants.bent:
        plants = replace(plants, bent=False, low=np.full(plants.num, -1.0))
    best_z, best_w = simulate(plants, _known_pi(plants, ORACLES[0]))
    for ratio in ORACLES[1:]:
        z, w = simulate(plants, _known_pi(plants, ratio))
        better = np.abs(z).sum(axis=0) < np.abs(best_z).sum(axis=0)
        best_z, best_w = np.where(better, z, best_z), np.where(better, w, best_w)
    return best_z, best_w


def _known_pi(plants: Plants, ratio: float) -> Stepper:
    integral = plants.holding.copy()
    kept = np.zeros(plants.num)

    def step(t: int, reading: Array, last: Array) -> Array:
        nonlocal integral, kept
        dead = plants.delay[t] - 0.5 + plants.lag / (1 - plants.lag)
        horizon = (1 + ratio) * np.maximum(dead, 1.0)
        error = -reading
        here = np.isfinite(error)
        if plants.instant:
            ki = 1 / (plants.gain[t] * horizon)
            proportional = np.zeros_like(error)
        else:
            kp = 1 / (plants.gain[t] * horizon)
            ki = kp / (4 * horizon)
            proportional = kp * error
        wanted = integral + proportional + (ki * error if plants.instant else 0.0)
        w = np.where(here, np.clip(wanted, plants.low, 1.0), kept)
        # an integral that the limits or a gap would wind up stands still
        free = here & ((w == wanted) | (np.sign(wanted - w) != np.sign(error)))
        integral = np.where(free, integral + np.where(here, ki * error, 0.0), integral)
        kept = w
        return w

    return step
