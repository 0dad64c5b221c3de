"""The Harris index: how much of the error that is left the loop could have taken away.

A loop whose command reaches the measurement ``delay`` iterations later cannot touch the first ``delay``
terms of the noise; their variance is the least that any law can leave (minimum variance).  Feedback
does not change these terms, so the record of the closed loop shows them, whatever law was in it
(Harris 1989; Desborough and Harris 1992):

    e_t = c + Σ_i a_i e_{t−i} + ε_t,   f_0 = 1,   f_i = Σ_j a_j f_{i−j}
    index = mean e² / (σ² Σ_{i<delay} f_i²)

1 is the best there is; 1.3 is excellent; at 2 a faster or better damped loop would halve the mean square.
An offset counts as error that could be gone.  Below 1 only by the luck of a short record: of an index of
1.7 the standard error is about 0.5 from 30 readings, 0.2 from 150 and 0.1 from 1000 (simulated), so one
run tells little and the mean over seeds more.
"""

from __future__ import annotations

from math import log, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

MIN_READINGS = 30
"""With fewer than these an autoregression of unknown order says nothing."""

READINGS_PER_LAG = 10
"""Readings that there must be for each lag that is tried."""

NOISELESS = 1e-12
"""Share of the mean square error below which a bound is rounding, and the record has no noise."""


def harris_index(
    y: ArrayLike, r: ArrayLike, delay: int = 1, *, final_fraction: float = 0.5, max_order: int = 10
) -> float:
    """Mean square error over the minimum-variance bound, from the last ``final_fraction`` of a record.

    The order is chosen by BIC, up to ``max_order`` and one in ten of the readings.  nan where that part
    has fewer than 30 readings, or no noise.

    Args:
        y: measurements [T, nats/token]; those that are not finite are left out.
        r: reference, a number or [T].
        delay: iterations from a command to the first measurement that shows it.

    Raises:
        ValueError: when ``delay`` is below 1.
    """
    if delay < 1:
        raise ValueError(f"delay must be >= 1, got {delay}")
    e = np.asarray(r, dtype=float) - np.asarray(y, dtype=float)
    e = e[e.size - max(1, round(final_fraction * e.size)) :] if e.size else e
    readings = e[np.isfinite(e)]
    if readings.size < MIN_READINGS:
        return nan
    mean_square = float(np.mean(readings**2))
    order = _order(e, min(max_order, readings.size // READINGS_PER_LAG))
    if order is None:
        return nan
    coefficients, rss, num_rows = _fit(e, order, order)
    bound = rss / (num_rows - order - 1) * _unreachable(coefficients, delay)
    return mean_square / bound if bound > NOISELESS * mean_square else nan


def _order(e: Array, highest: int) -> int | None:
    """The order of least BIC, all on the same rows; None where gaps leave too few rows."""
    best, lowest = None, np.inf
    for order in range(highest + 1):
        _, rss, num_rows = _fit(e, order, highest)
        if num_rows < MIN_READINGS // 2 + highest:
            return None
        criterion = num_rows * log(max(rss, 1e-300) / num_rows) + (order + 1) * log(num_rows)
        if criterion < lowest:
            best, lowest = order, criterion
    return best


def _fit(e: Array, order: int, skipped: int) -> tuple[Array, float, int]:
    """Coefficients a_1…, residual sum of squares and rows of an autoregression from row ``skipped`` on."""
    target = e[skipped:]
    lags = [e[skipped - lag : e.size - lag] for lag in range(1, skipped + 1)]
    whole = np.isfinite(target) & np.all(np.isfinite(lags), axis=0) if lags else np.isfinite(target)
    columns = [np.ones(target.size), *lags[:order]]
    regressors = np.stack(columns, axis=1)[whole]
    solution = np.linalg.lstsq(regressors, target[whole], rcond=None)[0]
    residual = target[whole] - regressors @ solution
    return solution[1:], float(residual @ residual), int(whole.sum())


def _unreachable(coefficients: Array, delay: int) -> float:
    """Σ f_i² over the terms of the noise that come through before any command can answer."""
    f = [1.0]
    for i in range(1, delay):
        f.append(float(sum(a * f[i - j] for j, a in enumerate(coefficients[:i], start=1))))
    return sum(value**2 for value in f)
