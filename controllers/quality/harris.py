"""The Harris index: the share of the remaining error that the loop could have removed.

A loop whose command reaches the measurement ``delay`` iterations later cannot touch the first ``delay``
terms of the noise; their variance is the least that any law can leave (minimum variance).  Feedback
does not change these terms, so the record of the closed loop shows them, whatever law was in it
(Harris 1989; Desborough and Harris 1992):

    e_t = c + Σ_i a_i e_{t−i} + ε_t,   f_0 = 1,   f_i = Σ_j a_j f_{i−j}
    index = mean e² / (σ² Σ_{i<delay} f_i²)

The delay has to be known: at a true delay of 2 or 3 an index that assumes 1 reads 2.6 for 1.8 and 4.0
for 2.0, since it counts as gainable what no command could reach.

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
    coefficients, rss, num_rows = _fit(e, order)
    bound = rss / (num_rows - order - 1) * _unreachable(coefficients, delay)
    return mean_square / bound if bound > NOISELESS * mean_square else nan


def _order(e: Array, highest: int) -> int | None:
    """The order of least BIC, all on the same rows; None where gaps leave too few rows."""
    triangle, num_rows = _triangle(e, highest)
    if num_rows < MIN_READINGS // 2 + highest:
        return None
    beyond = np.cumsum(triangle[::-1, -1] ** 2)[::-1]
    rss = np.maximum(beyond[1:], 1e-300)  # of order 0, 1, …: what of the target no column so far explains
    orders = np.arange(highest + 1)
    return int(np.argmin(num_rows * np.log(rss / num_rows) + (orders + 1) * log(num_rows)))


def _fit(e: Array, order: int) -> tuple[Array, float, int]:
    """Coefficients a_1…, residual sum of squares and rows of an autoregression."""
    triangle, num_rows = _triangle(e, order)
    solution = np.linalg.lstsq(triangle[:-1, :-1], triangle[:-1, -1], rcond=None)[0].astype(np.float64)
    return solution[1:], float(triangle[-1, -1] ** 2), num_rows


def _triangle(e: Array, order: int) -> tuple[Array, int]:
    """R of a QR factorisation of [1, lags, target], which has the fits of all lower orders too, and its rows."""
    regressors, target = _equations(e, order)
    if target.size < order + 2:
        return np.zeros((order + 2, order + 2)), target.size
    triangle: Array = np.linalg.qr(np.column_stack([regressors, target]))[1].astype(np.float64)
    return triangle, target.size


def _equations(e: Array, order: int) -> tuple[Array, Array]:
    """Rows [1, e_{t−1}, …, e_{t−order}] and targets e_t from t = order on, without those with a gap."""
    lags = [e[order - lag : e.size - lag] for lag in range(1, order + 1)]
    regressors = np.column_stack([np.ones(e.size - order), *lags])
    whole = np.isfinite(regressors).all(axis=1) & np.isfinite(e[order:])
    return regressors[whole], e[order:][whole]


def _unreachable(coefficients: Array, delay: int) -> float:
    """Σ f_i² over the terms of the noise that come through before any command can answer."""
    f = [1.0]
    for i in range(1, delay):
        f.append(float(sum(a * f[i - j] for j, a in enumerate(coefficients[:i], start=1))))
    return sum(value**2 for value in f)
