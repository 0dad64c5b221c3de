"""The loop as polynomials in q, the shift by one iteration back: q·x_t = x_{t−1}.

    plant    z = (B·u + drift + ε) / A,        A = 1 − Σ a_i qⁱ,   B = q^delay · Σ b_j qʲ
    filter   F = (1 − decay) / (1 − decay·q)   (an average's start, which is debiased, is left out)
    law      u = C_r·r − C·F·z,   C_r = kp + ki·q / (1 − q),   C = C_r + kd·(1 − q)

The integral is advanced after use, hence its q; the derivative sees the measurement alone.  The loop
transfer is L = B·C·F / A, strictly proper because the delay is at least 1.

A polynomial is an array whose last axis holds the coefficients from q⁰ on; all other axes are loops
that are computed side by side: gains of a grid, or plants drawn from a confidence region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controllers.base import Filter
from controllers.design.errors import DesignError
from controllers.laws.pid import PID
from controllers.parts.coordinates import Coordinates
from controllers.parts.filters import EMA, Hold
from controllers.plants.plant import Plant

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One closed loop, or many side by side; see the module for the letters."""

    push: Array
    """B, from command to measurement."""

    memory: Array
    """A, of the measurement."""

    law_numerator: Array
    """Numerator of C·F: from measurement to command, without the sign."""

    law_denominator: Array
    """Denominator of C·F and of the reference's path."""

    reference_numerator: Array
    """Numerator of C_r: from reference to command."""

    @property
    def characteristic(self) -> Array:
        """A·D + B·N: its roots in 1/q are the closed loop's poles."""
        return _add(multiply(self.memory, self.law_denominator), multiply(self.push, self.law_numerator))

    @property
    def from_disturbance(self) -> Array:
        """Numerator, over the characteristic polynomial, from drift or noise to z."""
        return self.law_denominator

    @property
    def from_reference(self) -> Array:
        """Numerator, over the characteristic polynomial, from r to z."""
        return multiply(self.push, self.reference_numerator)

    def transfer(self, omega: Array) -> ComplexArray:
        """L at ``omega`` [radians an iteration], on a new last axis."""
        numerator = evaluate(self.push, omega) * evaluate(self.law_numerator, omega)
        result: ComplexArray = numerator / (
            evaluate(self.memory, omega) * evaluate(self.law_denominator, omega)
        )
        return result


def close(
    plants: Plant | Sequence[Plant],
    *,
    kp: ArrayLike,
    ki: ArrayLike,
    kd: ArrayLike = 0.0,
    filter: Filter | None = None,
) -> Loop:
    """The loop of a plant, or of several of one order and delay, and gains per unit of z.

    Gains of any shapes that broadcast against each other, and against the number of plants.
    """
    several = [plants] if isinstance(plants, Plant) else list(plants)
    memory = np.array([(1.0, *(-a for a in plant.a)) for plant in several])
    push = np.array([(0.0,) * plant.delay + plant.b for plant in several])
    if isinstance(plants, Plant):
        memory, push = memory[0], push[0]
    kp, ki, kd = (np.asarray(gain, dtype=float) for gain in np.broadcast_arrays(kp, ki, kd))
    # Without integral action the factor 1 − q cancels; left in, it would be a pole that is not there.
    integral = np.where(ki != 0, 1.0, 0.0)
    zero = np.zeros_like(kp)
    reference = np.stack([kp, ki - integral * kp, zero], axis=-1)
    damping = np.stack([kd, -(1 + integral) * kd, integral * kd], axis=-1)
    denominator = np.stack([zero + 1, -integral, zero], axis=-1)
    smoothing, remembering = filter_polynomials(filter)
    return Loop(
        push=push,
        memory=memory,
        law_numerator=multiply(reference + damping, smoothing),
        law_denominator=multiply(denominator, remembering),
        reference_numerator=multiply(reference, remembering),
    )


def filter_polynomials(filter: Filter | None) -> tuple[Array, Array]:
    """Numerator and denominator of F.  Raises DesignError for a filter that is not linear."""
    if filter is None or isinstance(filter, Hold):
        return np.array([1.0]), np.array([1.0])
    if isinstance(filter, EMA):
        return np.array([1.0 - filter.decay]), np.array([1.0, -filter.decay])
    raise DesignError(
        f"a filter must be linear to be designed with, got {filter.kind}: use none or ema, or leave "
        "it out here and ask for a smaller sensitivity peak"
    )


def gain_in_z(plant: Plant, error: Coordinates, at_nats: float | None = None) -> float:
    """Change of a law's error for a change of the plant's z, at a measurement and reference of ``at_nats``.

    d ln y = dy / y, so a law on ln(r / y) with gain k acts at level y as one on r − y with gain k / y.
    Without ``at_nats`` it is taken at the level of the plant.
    """
    at = plant.level_nats if at_nats is None else at_nats
    if not at > 0:
        raise DesignError(f"at_nats must be > 0 to convert gains there, got {at}")
    nats_per_z = {"absolute": 1.0, "relative": plant.level_nats, "log": at}[plant.coordinates]
    return nats_per_z * (1.0 if error == "absolute" else 1.0 / at)


def close_law(
    plant: Plant | Sequence[Plant], law: PID, filter: Filter | None = None, at_nats: float | None = None
) -> Loop:
    """The loop of a plant, or of several, and a law as it stands, its gains converted to z."""
    one = plant if isinstance(plant, Plant) else plant[0]
    per_z = gain_in_z(one, law.error, at_nats)
    return close(plant, kp=law.kp * per_z, ki=law.ki * per_z, kd=law.kd * per_z, filter=filter)


def multiply(p: Array, q: Array) -> Array:
    """Product of polynomials, loop by loop."""
    shape = np.broadcast_shapes(p.shape[:-1], q.shape[:-1])
    product = np.zeros((*shape, p.shape[-1] + q.shape[-1] - 1))
    for i in range(q.shape[-1]):
        product[..., i : i + p.shape[-1]] += p * q[..., i : i + 1]
    return product


def evaluate(p: Array, omega: Array) -> ComplexArray:
    """p at q = e^{−iω}, loops on the first axes and frequencies on the last."""
    powers = np.exp(-1j * np.outer(np.arange(p.shape[-1]), omega))
    values: ComplexArray = p @ powers
    return values


def _add(p: Array, q: Array) -> Array:
    shape = np.broadcast_shapes(p.shape[:-1], q.shape[:-1])
    total = np.zeros((*shape, max(p.shape[-1], q.shape[-1])))
    total[..., : p.shape[-1]] += p
    total[..., : q.shape[-1]] += q
    return total
