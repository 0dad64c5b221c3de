"""What knowledge of an integrating plant is worth: laws that know more than ``auto``, on the plants of `new_plants`.

    auto           the law, told the noise of its readings
    all            knows gain, lag, delay, warm-up, noise, when entropy jumps (before the jump) and the command that holds
    all but hold   the same, but it has to learn the command that holds
    all, after k   knows all, but commands are neutral until it has k readings: what is lost by looking first

Those that know are Kalman filters of the plant's own equation.  They look `HORIZONS` iterations ahead, times
``--horizon``: 1, the default, is half of what ``auto`` does for such lags, since who knows the plant need not be as careful,
and 2 is all of it.  No row is a bound: another horizon or another law may hold more.  The first table has each law's
shares held and run away, the second those of ``auto`` by what the full command does an iteration times the dead time,
beside those of the laws that know.  The third says when plants ran away and by how much others were missed.

    python benchmarks/knowledge.py [--num 600] [--seeds 0 1 2 3 4 5] [--family integrators] [--horizon 1]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import pairwise
from math import inf, log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.auto_of_many import AutoOfMany  # noqa: E402
from benchmarks.new_plants import TAIL, far_side, scores, told  # noqa: E402
from benchmarks.plant_families import FAMILIES, NUM_ITERATIONS, Plants, Stepper, chosen, oracle, simulate  # noqa: E402

Array = NDArray[np.float64]
HORIZONS = {0.0: 1.5, 0.5: 2.5, 0.9: 6.0}
"""Iterations by which those that know look ahead, by the lag of the plant: half of those of ``auto`` for such lags."""
HOLDING = (0.28, 0.38)
"""Mean and standard deviation of the command that holds, over the family; before it is known."""
CLASSES = (0.0, 0.1, 0.3, 0.6, 1.0, 2.0, inf)
"""Limits of the classes of gain × dead time [ln nats]."""
EARLY = 25
"""Iterations within which a plant runs away early."""
LAWS: dict[str, Callable[[Plants, float], Stepper]] = {
    "auto": lambda plants, _: AutoOfMany(plants.low, told(plants)),
    "all": lambda plants, scale: Knowing(plants, scale=scale),
    "all but hold": lambda plants, scale: Knowing(plants, learns=True, scale=scale),
    "all, after 3": lambda plants, scale: Knowing(plants, after=3, scale=scale),
    "all, after 6": lambda plants, scale: Knowing(plants, after=6, scale=scale),
    "all, after 10": lambda plants, scale: Knowing(plants, after=10, scale=scale),
}
"""By name; the number is the scale of the horizons of those that know."""


class Knowing:
    """An extended Kalman filter of each plant's own z and, where it ``learns``, of the command that holds.

        z_t = z_{t−1} + g_t f_t e^{p z} − g_t w₀ e^{q z} + ε

    with the plant's gain g, powers p and q and filtered command f.  The command takes z to 0 within the horizon.
    """

    def __init__(self, plants: Plants, *, learns: bool = False, after: int = 0, scale: float = 1.0) -> None:
        self.plants, self.after = plants, after
        self.horizon = scale * np.array([HORIZONS[float(lag)] for lag in plants.lag])
        there = 1 - plants.lag**self.horizon
        self.within = self.horizon - plants.lag * there / (1 - plants.lag)
        self.z, self.f, self.zz, self.zw, self.ww = np.zeros((5, plants.num))
        self.holding = plants.holding.copy()
        if learns:
            self.holding[:], self.ww = HOLDING[0], np.full(plants.num, HOLDING[1] ** 2)
        self.reading = plants.noise_std**2
        usual = (np.median(np.abs(plants.change), axis=0) / 0.6745) ** 2
        self.level = np.where(plants.change**2 > 16 * usual, plants.change**2, usual)
        self.given = np.zeros((NUM_ITERATIONS, plants.num))

    def __call__(self, t: int, reading: Array, last: Array) -> Array:
        """Commands after the readings of iteration ``t``; ``last`` was applied before it."""
        plants = self.plants
        if t == 0:
            self.z, self.zz = reading.copy(), self.reading.copy()
        else:
            self.given[t - 1] = last
            push, drift, self.f = self._moved(t, t, self.z, self.f)
            slope, by_holding = (
                1 + plants.power * push + plants.drift_power * drift,
                self._by_holding(t, self.z),
            )
            self.z = self.z + push + drift
            self.zz = (
                slope**2 * self.zz
                + 2 * slope * by_holding * self.zw
                + by_holding**2 * self.ww
                + self.level[t]
            )
            self.zw = slope * self.zw + by_holding * self.ww
            innovation, spread = reading - self.z, self.zz + self.reading
            to_z, to_w = self.zz / spread, self.zw / spread
            self.z, self.holding = self.z + to_z * innovation, self.holding + to_w * innovation
            self.ww = self.ww - to_w * self.zw
            self.zz, self.zw = (1 - to_z) * self.zz, (1 - to_z) * self.zw
        if t < self.after:
            return np.zeros(plants.num)
        z, f = self.z, self.f
        for ahead in range(1, int(plants.delay[t].max())):
            waits = ahead < plants.delay[t]
            push, drift, then = self._moved(t, t + ahead, z, f)
            z, f = np.where(waits, np.clip(z + push + drift, -3.0, 3.0), z), np.where(waits, then, f)
        gain = plants.gain[t]
        push, drift = gain * np.exp(plants.power * z), -gain * self.holding * np.exp(plants.drift_power * z)
        wanted: Array = f - (z + self.horizon * (drift + push * f)) / (push * self.within)
        return wanted

    def _moved(self, now: int, then: int, z: Array, f: Array) -> tuple[Array, Array, Array]:
        """Push and drift in iteration ``then``, and the filtered command in it."""
        plants = self.plants
        rows = np.minimum(then - plants.delay[now].astype(int), now - 1)
        acts = np.where(rows >= 0, self.given[rows, np.arange(plants.num)], 0.0)
        f = plants.lag * f + (1 - plants.lag) * acts
        push = plants.gain[now] * f * np.exp(plants.power * z)
        return push, self._by_holding(now, z) * self.holding, f

    def _by_holding(self, t: int, z: Array) -> Array:
        slope: Array = -self.plants.gain[t] * np.exp(self.plants.drift_power * z)
        return slope


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=600, help="plants of each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(6)))
    parser.add_argument("--family", choices=("integrators", "noisy readings"), default="integrators")
    parser.add_argument(
        "--horizon", type=float, default=1.0, help="times which horizons those that know look ahead"
    )
    options = parser.parse_args(arguments)
    if not 0 < options.horizon < inf:
        parser.error(f"--horizon must be above 0 and finite, got {options.horizon}")
    ahead = ", ".join(f"{options.horizon * steps:g} at lag {lag:g}" for lag, steps in HORIZONS.items())
    print(f"those that know look ahead by {ahead}")
    scored: dict[str, list[dict[str, Array]]] = {law: [] for law in LAWS}
    speeds, whens, ratios = [], [], []
    for seed in options.seeds:
        rng = np.random.default_rng([seed, list(FAMILIES).index(options.family)])
        plants = FAMILIES[options.family](rng, options.num)
        known_z, _ = oracle(plants)
        fair = far_side(plants, known_z) < log(2)
        plants, known_z = chosen(plants, fair), known_z[:, fair]
        dead = plants.delay[0] - 0.5 + plants.lag / (1 - plants.lag)
        speeds.append(plants.gain[EARLY] * np.maximum(dead, 1.0))
        for law, stepper in LAWS.items():
            z, w = simulate(plants, stepper(plants, options.horizon))
            scored[law].append(scores(plants, z, w, known_z))
            if law == "auto":
                side = np.where(plants.start < 0, -1.0, 1.0)
                whens.append((-side * z >= log(2)).argmax(axis=0))
                rms, best = (np.sqrt((each[TAIL] ** 2).mean(axis=0)) for each in (z, known_z))
                ratios.append(rms / np.maximum(log(1.1), 1.5 * best))
    found = {
        law: {name: np.concatenate([seed[name] for seed in each]) for name in ("held", "ran away")}
        for law, each in scored.items()
    }
    _print(found, np.concatenate(speeds), np.concatenate(whens), np.concatenate(ratios))


def _print(found: dict[str, dict[str, Array]], speed: Array, when: Array, ratio: Array) -> None:
    print(f"{speed.size} plants\n{'law':16}{'held':>8}{'ran away, %':>14}")
    for law, each in found.items():
        print(f"{law:16}{each['held'].mean():8.3f}{100 * each['ran away'].mean():14.1f}")
    print(
        f"\nheld, ran away in %, by gain x dead time\n{'':14}{'plants':>8}"
        + "".join(f"{law:>15}" for law in found)
    )
    for low, high in pairwise(CLASSES):
        which = (speed >= low) & (speed < high)
        cells = [
            f"{each['held'][which].mean():.3f}, {100 * each['ran away'][which].mean():.1f}"
            for each in found.values()
        ]
        print(f"{low:4.1f} to {high:4.1f}  {which.sum():8}" + "".join(f"{cell:>15}" for cell in cells))
    held, ran = found["auto"]["held"].astype(bool), found["auto"]["ran away"].astype(bool)
    missed = ~held & ~ran
    lost = ran & found["all, after 6"]["ran away"].astype(bool)
    print(
        f"\nauto: {ran.sum()} ran away, {(ran & (when < EARLY)).sum()} of them before iteration {EARLY} and {lost.sum()} also"
        f" from a law that knows all after 6 readings; {missed.sum()} others missed the limit of the RMS,"
        f" {(missed & (ratio < 1.2)).sum()} by less than a fifth"
    )


if __name__ == "__main__":
    main()
