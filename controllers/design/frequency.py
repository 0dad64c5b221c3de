"""Margins from a grid of frequencies: fast, for many loops side by side.

The search over gains and the draws from a confidence region use these; `controllers.design.margins` finds
the same figures by python-control without a grid, one loop at a time, and the tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import inf, nan, pi

import numpy as np

from controllers.design.response import spectral_radius
from controllers.design.transfer import Array, ComplexArray, Loop, evaluate, multiply


@cache
def grid(num: int = 300) -> Array:
    """Frequencies up to π, the fastest an iteration can show: dense both in the logarithm and near π."""
    slow = np.geomspace(1e-4, pi, 2 * num // 3)
    omega: Array = np.union1d(slow, np.linspace(0.02, pi, num - slow.size))
    return omega


def sensitivity_peak(loop: Loop, omega: Array | None = None) -> Array:
    """Ms = max |S|, S = 1 / (1 + L), over the grid; inf where the loop is not stable.

    The distance of the Nyquist curve from −1 is 1 / Ms: 1.4 is calm, 2 is the usual upper limit.
    """
    peak = largest_sensitivity(loop, grid() if omega is None else omega)
    result: Array = np.where(spectral_radius(loop.characteristic) < 1, peak, np.inf)
    return result


def largest_sensitivity(loop: Loop, omega: Array) -> Array:
    """max |S| over the grid, of loops that may not be stable: cheaper, and no larger, than their Ms."""
    open_loop = evaluate(multiply(loop.memory, loop.law_denominator), omega)
    largest: Array = np.abs(open_loop / evaluate(loop.characteristic, omega)).max(axis=-1)
    return largest


@dataclass(frozen=True, slots=True, kw_only=True)
class GridMargins:
    """Margins of one loop, from its transfer on a grid."""

    gain_margin: float
    """Smallest factor above 1 on the gain that makes it unstable."""

    phase_margin_degrees: float
    """Smallest further lag that makes it unstable."""

    delay_margin: float
    """Smallest further delay that makes it unstable [iterations], a real number."""


def grid_margins(transfer: ComplexArray, omega: Array) -> GridMargins:
    """Margins of one stable loop, L given at ascending ``omega`` up to π; inf where nothing crosses."""
    gains = [1 / abs(value) for value in _negative_real(transfer) if 0 < abs(value) < 1]
    lags = _crossovers(transfer, omega)
    return GridMargins(
        gain_margin=min(gains, default=inf),
        phase_margin_degrees=min((np.degrees(min(lag, 2 * pi - lag)) for _, lag in lags), default=inf),
        delay_margin=min((lag / at for at, lag in lags), default=inf),
    )


def _negative_real(transfer: ComplexArray) -> list[complex]:
    """L where it crosses the negative real axis, and at the last frequency when it ends on it."""
    imag, values = transfer.imag, []
    for i in np.flatnonzero(np.sign(imag[:-1]) * np.sign(imag[1:]) < 0):
        share = imag[i] / (imag[i] - imag[i + 1])
        values.append(complex(transfer[i] + share * (transfer[i + 1] - transfer[i])))
    end = transfer[-1]
    values.append(complex(end.real, 0.0) if abs(end.imag) <= 1e-9 * abs(end) else complex(nan))
    return [value for value in values if value.real < 0]


def _crossovers(transfer: ComplexArray, omega: Array) -> list[tuple[float, float]]:
    """The frequency of |L| = 1, and the lag in [0, 2π) from there to −1."""
    level = np.log(np.abs(transfer))
    phase = np.unwrap(np.angle(transfer))
    found = []
    for i in np.flatnonzero(np.sign(level[:-1]) * np.sign(level[1:]) < 0):
        share = level[i] / (level[i] - level[i + 1])
        at = omega[i] * (omega[i + 1] / omega[i]) ** share
        angle = phase[i] + share * (phase[i + 1] - phase[i])
        found.append((float(at), float((angle + pi) % (2 * pi))))
    return found
