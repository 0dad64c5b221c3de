"""How well a loop did, from its record: one array a signal, one entry an iteration.

A reading that is not finite is left out of every figure; a figure that no reading supports is nan.
The reference may be one number.  e = r − y throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

Signal = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Figures of one loop on one record."""

    settling_iteration: float
    """First iteration from which the error stays within tolerance; nan when it never does."""

    overshoot_nats: float
    """Largest excursion beyond the reference, on the side away from the start [nats/token]."""

    rmse_nats: float
    """Root mean square error over the whole record [nats/token]."""

    relative_rmse: float
    """The same for e / r."""

    settled_rmse_nats: float
    """Root mean square error from the settling iteration on [nats/token]; nan when never settled."""

    iae_nats: float
    """Integral of the absolute error: its sum over the readings [nats/token · iterations]."""

    offset_nats: float
    """Mean error over the last part: positive when entropy is left too low [nats/token]."""

    effort: float
    """Path length of the command, sum of |Δu| [actuator's unit]."""

    saturation_share: float
    """Share of iterations with the command at a limit."""

    missing_share: float
    """Share of iterations without a finite reading."""


def assess(
    y: ArrayLike,
    r: ArrayLike,
    u: ArrayLike,
    *,
    low: float,
    high: float,
    tolerance_fraction: float = 0.05,
    final_fraction: float = 0.25,
) -> Quality:
    """All figures.  ``tolerance_fraction`` of r counts as settled; the last ``final_fraction`` as the end."""
    y = np.asarray(y, dtype=float)
    settling = settling_iteration(y, r, tolerance_fraction)
    settled = np.arange(y.size) >= settling  # none when it is nan
    return Quality(
        settling_iteration=settling,
        overshoot_nats=overshoot_nats(y, r),
        rmse_nats=rmse_nats(y, r),
        relative_rmse=relative_rmse(y, r),
        settled_rmse_nats=rmse_nats(np.where(settled, y, nan), r),
        iae_nats=iae_nats(y, r),
        offset_nats=offset_nats(y, r, final_fraction),
        effort=effort(u),
        saturation_share=saturation_share(u, low, high),
        missing_share=_mean(~np.isfinite(y)),
    )


def settling_iteration(y: ArrayLike, r: ArrayLike, tolerance_fraction: float = 0.05) -> float:
    """First t such that |e| <= tolerance_fraction · |r| at every reading from t on; nan when none."""
    y, r = _signals(y, r)
    readings = np.flatnonzero(np.isfinite(y))
    outside = np.abs(r - y)[readings] > tolerance_fraction * np.abs(r[readings])
    first = np.flatnonzero(outside)[-1] + 1 if outside.any() else 0
    return float(readings[first]) if first < readings.size else nan


def overshoot_nats(y: ArrayLike, r: ArrayLike) -> float:
    """max over t of the excursion of y to the other side of r than it started on; at least 0.

    From a start exactly on the reference, excursions to both sides count.
    """
    y, r = _signals(y, r)
    e = (r - y)[np.isfinite(y)]
    if e.size == 0:
        return nan
    beyond = np.abs(e) if e[0] == 0 else -np.sign(e[0]) * e
    return float(max(beyond.max(), 0.0))


def rmse_nats(y: ArrayLike, r: ArrayLike) -> float:
    """sqrt(mean e²)."""
    y, r = _signals(y, r)
    return float(np.sqrt(_mean((r - y) ** 2)))


def relative_rmse(y: ArrayLike, r: ArrayLike) -> float:
    """sqrt(mean (e/r)²), over the iterations whose reference is not zero."""
    y, r = _signals(y, r)
    return float(np.sqrt(_mean((1 - y / np.where(r == 0, nan, r)) ** 2)))


def iae_nats(y: ArrayLike, r: ArrayLike) -> float:
    """Sum of |e| over the readings; nan when there are none."""
    y, r = _signals(y, r)
    e = (r - y)[np.isfinite(y)]
    return float(np.abs(e).sum()) if e.size else nan


def offset_nats(y: ArrayLike, r: ArrayLike, final_fraction: float = 0.25) -> float:
    """Mean of e over the last ``final_fraction`` of the record, one iteration at least."""
    y, r = _signals(y, r)
    return _mean((r - y)[-max(1, round(final_fraction * y.size)) :])


def effort(u: ArrayLike) -> float:
    """Sum of |u_t − u_{t−1}|: what a valve would travel, whatever its neutral position."""
    commands = _finite(u)
    return float(np.abs(np.diff(commands)).sum()) if commands.size else nan


def saturation_share(u: ArrayLike, low: float, high: float) -> float:
    """Share of commands at ``low`` or ``high``."""
    commands = _finite(u)
    return _mean((commands <= low) | (commands >= high))


def _signals(y: ArrayLike, r: ArrayLike) -> tuple[Signal, Signal]:
    """Both as float arrays of the measurement's length, nan wherever either is not finite."""
    y = np.asarray(y, dtype=float)
    r = np.broadcast_to(np.asarray(r, dtype=float), y.shape)
    finite = np.isfinite(y) & np.isfinite(r)
    return np.where(finite, y, nan), np.where(finite, r, nan)


def _finite(values: ArrayLike) -> Signal:
    signal: Signal = np.asarray(values, dtype=float)
    finite: Signal = signal[np.isfinite(signal)]
    return finite


def _mean(values: ArrayLike) -> float:
    """Mean of the finite values; nan, and no warning, when there are none."""
    finite = _finite(values)
    return float(finite.mean()) if finite.size else nan
