"""Records: the sensor's readings and the actuator's commands of a run, one entry an iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controllers.parts.coordinates import FLOOR_NATS, Coordinates

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """One run.  Any sequence of numbers will do for a signal; afterwards all are float arrays of one
    length, without holes in the iterations: where one is missing, y and u are nan.

    A nan in y (a reading that failed) or u is a gap: no regressor row reaches across it.
    """

    name: str
    """What messages call it."""

    y: Array
    """Measurement that the loop saw [nats/token]."""

    u: Array
    """Command really applied, given once y of the same iteration was read [actuator's unit]."""

    dither: Array | None = None
    """The part of the command known to come from outside of the loop [actuator's unit]; None: none.
    It is nan where the loop did not speak; its last command, and the dither in it, stayed in force there."""

    iterations: Array | None = None
    """Training iteration of each entry, rising; None counts from 0."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name must not be empty, got ''")
        signals = {"y": _signal("y", self.y), "u": _signal("u", self.u)}
        dither = np.zeros_like(signals["y"]) if self.dither is None else _signal("dither", self.dither)
        signals["dither"] = _in_force(dither)
        num = signals["y"].size
        own = np.arange(num) if self.iterations is None else self.iterations
        iterations = _signal("iterations", own)
        for name, signal in (*signals.items(), ("iterations", iterations)):
            if signal.size != num:
                raise ValueError(f"{name} of {self.name} must be as long as y, {num}, got {signal.size}")
        if np.any(iterations != np.round(iterations)) or np.any(np.diff(iterations) <= 0):
            raise ValueError(f"iterations of {self.name} must be whole and rising, got others")
        place = (iterations - iterations[0]).astype(int) if num else np.zeros(0, dtype=int)
        length = int(place[-1]) + 1 if num else 0
        for name, signal in signals.items():
            whole = np.full(length, 0.0 if name == "dither" else np.nan)
            whole[place] = np.where(np.isinf(signal), np.nan, signal)
            object.__setattr__(self, name, whole)
        first = iterations[0] if num else 0.0
        object.__setattr__(self, "iterations", first + np.arange(length, dtype=float))

    def z(self, coordinates: Coordinates, level_nats: float) -> Array:
        """The measurement in ``coordinates``; nan where there is none, or, in ``log``, no logarithm."""
        if coordinates == "log":
            return np.log(np.where(self.y > FLOOR_NATS, self.y, np.nan))
        return self.y / level_nats if coordinates == "relative" else self.y

    def after(self, iteration: int) -> Recording:
        """The recording from that iteration on: without the transient of a start, say."""
        return self._kept(self.times >= iteration)

    def before(self, iteration: int) -> Recording:
        """The recording up to that iteration, without it."""
        return self._kept(self.times < iteration)

    def _kept(self, kept: NDArray[np.bool_]) -> Recording:
        return Recording(
            name=self.name,
            y=self.y[kept],
            u=self.u[kept],
            dither=self.known_dither[kept],
            iterations=self.times[kept],
        )

    @property
    def times(self) -> Array:
        """``iterations``, which are always there after construction."""
        return cast(Array, self.iterations)

    @property
    def known_dither(self) -> Array:
        """``dither``, which is zeros where there was none."""
        return cast(Array, self.dither)


def mean_level(recordings: list[Recording]) -> float:
    """Mean of all readings [nats/token]."""
    readings = np.concatenate([recording.y for recording in recordings])
    return float(np.nanmean(readings))


def _in_force(dither: Array) -> Array:
    """The last known value of each entry; 0 before the first."""
    last = np.maximum.accumulate(np.where(np.isfinite(dither), np.arange(dither.size), -1))
    kept: Array = np.where(last >= 0, dither[np.maximum(last, 0)], 0.0)
    return kept


def _signal(name: str, values: ArrayLike) -> Array:
    signal = np.asarray(values, dtype=float)
    if signal.ndim != 1:
        raise ValueError(f"{name} must be one number an iteration, got shape {signal.shape}")
    return signal
