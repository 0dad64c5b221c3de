"""Plants for simulation: a named integrator, and any plant that changes during a run.

All of them are ``controllers.plants.plant.Plant`` underneath; ``Course`` carries one, or many copies of it at
once, through a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, log
from typing import cast

import numpy as np
from numpy.typing import NDArray

from controllers.parts.coordinates import FLOOR_NATS
from controllers.plants.plant import Plant

Array = NDArray[np.float64]

LARGEST_LOG_NATS = 700.0
"""Entropy in log coordinates stops here: exp(700) is still a float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegratingPlant:
    """H⁺ = max(0, H + gain·u − drift − regulation·(H − equilibrium) + noise)

    The first-order picture of entropy under RL: each update's ΔH ≈ −η·Cov(log π, π·A) is a drift, the
    actuator adds a push, natural regulation is weak.  A ``Plant`` of one pole in words, for numbers that
    are made up; not a language model: the gain of a real actuator changes with learning rate, entropy
    and batch.
    """

    gain: float
    """Entropy gained per unit of command in one iteration [nats/token per actuator's unit]."""

    drift: float
    """Entropy lost to the RL gradient in one iteration [nats/token]."""

    initial_nats: float
    """Entropy at iteration 0 [nats/token]."""

    regulation: float = 0.0
    """Share of the distance to equilibrium that closes by itself in one iteration; 0 integrates."""

    equilibrium_nats: float = 0.0
    """Entropy to which regulation leads without drift or command [nats/token]."""

    noise_std: float = 0.0
    """Standard deviation of the random part of one iteration's change [nats/token]."""

    def __post_init__(self) -> None:
        if not isfinite(self.gain):
            raise ValueError(f"gain must be finite, got {self.gain}")
        if not isfinite(self.drift):
            raise ValueError(f"drift must be finite, got {self.drift}")
        if not 0 <= self.initial_nats < inf:
            raise ValueError(f"initial_nats must be >= 0 and finite, got {self.initial_nats}")
        if not 0 <= self.regulation <= 1:
            raise ValueError(f"regulation must be in [0, 1], got {self.regulation}")
        if not 0 <= self.equilibrium_nats < inf:
            raise ValueError(f"equilibrium_nats must be >= 0 and finite, got {self.equilibrium_nats}")
        if not 0 <= self.noise_std < inf:
            raise ValueError(f"noise_std must be >= 0 and finite, got {self.noise_std}")

    @property
    def model(self) -> Plant:
        """The same plant as an ARX model."""
        return Plant(
            coordinates="absolute",
            a=(1.0 - self.regulation,),
            b=(self.gain,),
            delay=1,
            drift=self.regulation * self.equilibrium_nats - self.drift,
            noise_std=self.noise_std,
            level_nats=self.initial_nats or 1.0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One plant after another: a learning rate doubled, a task switched in the middle of a run.

    The entropy and the commands of the past stay what they were: the new plant takes over their history.
    """

    plants: tuple[tuple[int, Plant | IntegratingPlant], ...]
    """(iteration, plant) in their order, the first at 0.  A plant answers the commands from its
    iteration on, so the first reading that shows it is the one after."""

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.plants]
        if not starts or starts[0] != 0:
            raise ValueError(f"plants must begin at iteration 0, got iterations {starts}")
        if any(later <= earlier for earlier, later in pairwise(starts)):
            raise ValueError(f"iterations of plants must increase, got {starts}")


SimulatedPlant = Plant | IntegratingPlant | Changed


class Course:
    """What a plant has done so far in many runs at once: arrays of any one shape, newest first."""

    def __init__(self, plant: SimulatedPlant, initial_nats: float | None, u: Array) -> None:
        """Before iteration 0 entropy stood still at ``initial_nats`` and the command at ``u``.

        ``initial_nats`` None takes the plant's own: ``initial_nats`` of an integrator, else ``level_nats``.
        """
        parts = plant.plants if isinstance(plant, Changed) else ((0, plant),)
        if initial_nats is None:
            first = parts[0][1]
            initial_nats = first.initial_nats if isinstance(first, IntegratingPlant) else first.level_nats
        if not 0 <= initial_nats < inf:
            raise ValueError(f"initial_nats must be >= 0 and finite, got {initial_nats}")
        models = [(start, p.model if isinstance(p, IntegratingPlant) else p) for start, p in parts]
        self._later = models[1:]
        self._plant = models[0][1]
        start: Array = np.full(u.shape, self._plant.coordinate(initial_nats))
        self._z: list[Array] = [start] * max(1, *(len(model.a) for _, model in models))
        self._u: list[Array] = [u] * max(model.delay + len(model.b) - 1 for _, model in models)
        self._t = 0

    @property
    def y(self) -> Array:
        """Entropy now [nats/token]."""
        return _nats(self._plant, self._z[0])

    def advance(self, u: Array, noise: Array) -> None:
        """Move on by one iteration under the commands ``u``; ``noise`` is standard normal draws."""
        if self._later and self._later[0][0] <= self._t:
            self._change(self._later.pop(0)[1])
        self._u = [u, *self._u[:-1]]
        with np.errstate(over="ignore", invalid="ignore"):  # an unstable loop may run out of floats
            # the sums of `next` are of arrays as good as of numbers
            z = self._plant.next(cast("Sequence[float]", self._z), cast("Sequence[float]", self._u))
            self._z = [_bounded(self._plant, z + self._plant.noise_std * noise), *self._z[:-1]]
        self._t += 1

    def _change(self, plant: Plant) -> None:
        nats = [_nats(self._plant, z) for z in self._z]
        self._plant = plant
        self._z = [_coordinate(plant, y) for y in nats]


def _bounded(plant: Plant, z: Array) -> Array:
    """No entropy is below 0; the logarithm's floor is ``FLOOR_NATS``, as in the error of a law."""
    if plant.coordinates == "log":
        return np.clip(z, log(FLOOR_NATS), LARGEST_LOG_NATS)
    return np.maximum(z, 0.0)


def _nats(plant: Plant, z: Array) -> Array:
    """``Plant.nats`` of arrays."""
    if plant.coordinates == "log":
        return np.exp(z)
    return z * plant.level_nats if plant.coordinates == "relative" else z


def _coordinate(plant: Plant, y: Array) -> Array:
    """``Plant.coordinate`` of arrays."""
    if plant.coordinates == "log":
        return np.log(np.maximum(y, FLOOR_NATS))
    return y / plant.level_nats if plant.coordinates == "relative" else y
