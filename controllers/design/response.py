"""Behaviour of a loop: its poles, its responses to steps, and its response to noise.

Everything works on many loops side by side (`controllers.design.transfer`), so that a search over
gains is one call of numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from controllers.design.transfer import Array, Loop

TOLERANCE_FRACTION = 0.05
"""Settled: what is left is no more than this share of a step of the reference, or of the peak that a
step of the drift makes."""

LONGEST = 5000
"""Iterations after which a loop that has not settled counts as one that does not."""


def spectral_radius(polynomial: Array) -> Array:
    """Largest |pole| of 1 / polynomial, the polynomial in q with a leading 1; below 1 it is stable."""
    order = polynomial.shape[-1] - 1
    if order == 0:
        return np.zeros(polynomial.shape[:-1])
    companion = np.zeros((*polynomial.shape[:-1], order, order))
    companion[..., 0, :] = -polynomial[..., 1:] / polynomial[..., :1]
    companion[..., np.arange(1, order), np.arange(order - 1)] = 1.0
    radius: Array = np.abs(np.linalg.eigvals(companion)).max(axis=-1)
    return radius


def variance(numerator: Array, denominator: Array) -> Array:
    """Variance of numerator / denominator driven by white noise of variance 1; the loops must be stable.

    The autocovariances γ of an ARMA process solve γ_k + Σ_j a_j γ_{|k−j|} = Σ_{j≥k} c_j ψ_{j−k}, with ψ the
    impulse response (McLeod 1975): a small linear system a loop, where a Lyapunov equation has its square.
    """
    size = max(numerator.shape[-1], denominator.shape[-1])
    shape = np.broadcast_shapes(numerator.shape[:-1], denominator.shape[:-1])
    c, a = np.zeros((*shape, size)), np.zeros((*shape, size))
    c[..., : numerator.shape[-1]] = numerator / denominator[..., :1]
    a[..., : denominator.shape[-1]] = denominator / denominator[..., :1]
    psi = impulse(c, a, size)
    system, right = np.zeros((*shape, size, size)), np.zeros((*shape, size))
    for k in range(size):
        for j in range(size):
            system[..., k, abs(k - j)] += a[..., j]
        right[..., k] = (c[..., k:] * psi[..., : size - k]).sum(axis=-1)
    result: Array = np.linalg.solve(system, right[..., None])[..., 0, 0]
    return result


def impulse(numerator: Array, denominator: Array, num: int) -> Array:
    """First ``num`` values of numerator / denominator, on the last axis."""
    shape = np.broadcast_shapes(numerator.shape[:-1], denominator.shape[:-1])
    out = np.zeros((*shape, num))
    for t in range(num):
        value = np.zeros(shape)
        if t < numerator.shape[-1]:
            value = value + numerator[..., t]
        for j in range(1, min(t, denominator.shape[-1] - 1) + 1):
            value = value - denominator[..., j] * out[..., t - j]
        out[..., t] = value / denominator[..., 0]
    return out


def step(numerator: Array, denominator: Array, num: int) -> Array:
    """Answer of numerator / denominator to 1, 1, 1, …: first ``num`` values, on the last axis."""
    total: Array = impulse(numerator, denominator, num).cumsum(axis=-1)
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFigures:
    """How loops answer steps; arrays of the loops' shape, inf where not settled within the horizon."""

    settling: Array
    """Iterations until a step of the reference is done: what is left stays within the tolerance."""

    recovery: Array
    """Iterations until a step of the drift is forgotten: what is left stays within the tolerance."""

    overshoot: Array
    """Excursion beyond a step of the reference, as a share of it."""


def steps(loop: Loop, num: int) -> StepFigures:
    """Settling and recovery of stable loops, looked at for ``num`` iterations.

    Without integral action a step leaves an offset, and settling is towards that.
    """
    poles = loop.characteristic
    rest = poles.sum(axis=-1)
    goal = loop.from_reference.sum(axis=-1) / rest
    wanted = step(loop.from_reference, poles, num)
    drift_goal = loop.from_disturbance.sum(axis=-1) / rest
    pushed = step(loop.from_disturbance, poles, num) - drift_goal[..., None]
    # the first sample of a step of the reference is before any command acts: all of it is left
    settling = settled(wanted - goal[..., None], TOLERANCE_FRACTION * np.abs(goal))
    recovery = settled(pushed, TOLERANCE_FRACTION * np.abs(pushed).max(axis=-1))
    overshoot = np.maximum(wanted.max(axis=-1) / goal - 1.0, 0.0)
    return StepFigures(settling=settling, recovery=recovery, overshoot=overshoot)


def settled(rest: Array, bound: Array) -> Array:
    """First index from which |rest| stays within ``bound``; inf where the end is outside."""
    outside = np.abs(rest) > bound[..., None]
    num = rest.shape[-1]
    last: NDArray[np.int64] = num - 1 - np.argmax(outside[..., ::-1], axis=-1)
    first = np.where(outside.any(axis=-1), last + 1, 0)
    result: Array = np.where(first < num, first, np.inf)
    return result


def horizon(radius: float) -> int:
    """Iterations in which a loop of this spectral radius forgets all but a 10⁻⁴."""
    if not 0 < radius < 1:
        return 50
    return min(LONGEST, 50 + ceil(log(1e-4) / log(radius)))


def noise_variances(loop: Loop) -> tuple[Array, Array]:
    """Variances of z and of u in stable loops, for noise ε of variance 1 [unit of ε²]."""
    poles = loop.characteristic
    return variance(loop.from_disturbance, poles), variance(loop.law_numerator, poles)


def minimum_variance(memory: Array, delay: int) -> Array:
    """Least variance of z that any law can reach, for noise ε of variance 1: Σ_{i<delay} f_i².

    f is the impulse response of 1 / A: what noise does before the first command that knows of it can act
    (Åström 1970, ch. 6; Harris 1989).
    """
    bound: Array = (impulse(np.array([1.0]), memory, delay) ** 2).sum(axis=-1)
    return bound
