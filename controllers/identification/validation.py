"""Validates a plant: how far it predicts, and whether its residuals are only noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from controllers.identification.arx import Fit
from controllers.identification.recordings import Array, Recording
from controllers.identification.regression import Rows, rows_of, solve
from controllers.plants.plant import Plant

NUM_LAGS = 20
"""Iterations that the tests of the residuals look back, fewer in a short recording."""


def prediction(plant: Plant, recording: Recording, horizon: int) -> Array:
    """ẑ_t from the readings up to t − horizon and the commands up to t − 1; nan where a past is missing.

    In the plant's coordinates, one entry for each of the recording.
    """
    if horizon < 1:
        raise ValueError(f"horizon must be >= 1, got {horizon}")
    z = recording.z(plant.coordinates, plant.level_nats)
    na = len(plant.a)
    past = [_earlier(z, horizon + i) for i in range(na)]
    for ahead in range(horizon - 1, -1, -1):
        push = sum(b * _earlier(recording.u, plant.delay + j + ahead) for j, b in enumerate(plant.b))
        memory = sum((a * each for a, each in zip(plant.a, past, strict=True)), np.zeros_like(z))
        past = [memory + push + plant.drift, *past][: max(na, 1)]
    return past[0]


def free_run(plant: Plant, recording: Recording) -> Array:
    """What the plant makes of the commands alone, readings serving for its start only.

    In the plant's coordinates; nan before the start, and after a gap in the commands until there is a
    new start.
    """
    z = recording.z(plant.coordinates, plant.level_nats)
    depth = max(len(plant.a), plant.delay + len(plant.b) - 1)
    run = np.full(z.size, np.nan)
    for t in range(depth, z.size):
        past = [run[t - i] if np.isfinite(run[t - i]) else z[t - i] for i in range(1, len(plant.a) + 1)]
        run[t] = plant.next(past, [recording.u[t - i] for i in range(1, depth + 1)])
    return run


def fit_share(target: Array, predicted: Array) -> float:
    """1 − rms(target − predicted) / std(target): 1 is perfect, 0 no better than the mean, no lower limit.

    The figure that `compare` of MATLAB's System Identification Toolbox prints.  Pairs with a nan are
    left out; nan where the target does not move.
    """
    both = np.isfinite(target) & np.isfinite(predicted)
    spread = float(np.std(target[both])) if both.any() else 0.0
    if spread == 0:
        return float("nan")
    return 1 - float(np.sqrt(np.mean((target[both] - predicted[both]) ** 2))) / spread


def ljung_box(rows: Rows, residuals: Array, *, num_fitted: int = 0, num_lags: int | None = None) -> float:
    """p-value of Q = n (n + 2) Σ_k ρ_k² / (n − k), χ² with ``num_lags − num_fitted`` degrees of freedom.

    Small: residuals follow each other.  ``num_fitted`` is the number of a_i.  Only pairs of one recording
    count.  Ljung and Box, Biometrika 65 (1978).
    """
    from scipy.stats import chi2  # a quarter of a second to import

    n = residuals.size
    if num_lags is None:
        num_lags = max(num_fitted + 3, min(NUM_LAGS, n // 5))
    centred = residuals - residuals.mean()
    power = float(centred @ centred)
    if power == 0 or n <= num_lags:
        return float("nan")
    series = _by_place(rows, centred)
    q = 0.0
    for lag in range(1, num_lags + 1):
        product = sum(float(np.nansum(each[lag:] * each[:-lag])) for each in series)
        q += (product / power) ** 2 / (n - lag)
    return float(chi2.sf(n * (n + 2) * q, num_lags - num_fitted))


def input_test(fit: Fit, recordings: Sequence[Recording], num_lags: int = NUM_LAGS) -> float:
    """p-value of the correlation between residuals and past commands, up to ``num_lags`` iterations old.

    Small: the model misses some of what the command does.  n R² of the residuals on the regressors and
    the further lags, χ² (Lagrange multiplier; a bare cross-correlation would need the residuals to be
    those of known parameters, and the command white).  Future commands answer the residuals in closed
    loop, so they are not looked at.
    """
    from scipy.stats import chi2

    plant, order = fit.plant, fit.order
    further = [lag for lag in range(1, num_lags + 1) if lag not in order.u_lags]
    lags = [*order.u_lags, *further]
    wide = rows_of(
        recordings,
        z_lags=order.z_lags,
        u_lags=lags,
        coordinates=plant.coordinates,
        level_nats=plant.level_nats,
    )
    phi = wide.design(fit.own_drift)
    if wide.target.size <= 2 * phi.shape[1]:
        return float("nan")
    kept = [*range(order.num_slopes), *range(order.na + len(lags), phi.shape[1])]
    narrow = solve(phi[:, kept], wide.target)
    left = solve(phi, narrow.residuals)
    share = 1 - left.sum_of_squares / narrow.sum_of_squares
    return float(chi2.sf(wide.target.size * share, left.rank - narrow.rank))


def _by_place(rows: Rows, values: Array) -> list[Array]:
    """One array for each recording, nan where it has no row: a gap keeps its length."""
    series = []
    for index in np.unique(rows.recording):
        own = rows.recording == index
        whole = np.full(int(rows.place[own].max()) + 1, np.nan)
        whole[rows.place[own]] = values[own]
        series.append(whole)
    return series


def _earlier(signal: Array, lag: int) -> Array:
    """The signal ``lag`` iterations ago, nan before its beginning."""
    before: Array = np.full(signal.size, np.nan)
    before[lag:] = signal[: max(0, signal.size - lag)]
    return before
