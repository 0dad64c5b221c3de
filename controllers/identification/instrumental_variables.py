"""Instrumental variables: a second opinion on closed-loop data, from the dither alone.

Least squares is consistent in closed loop only if the model's noise is white.  Past dither moves the
regressors and has nothing to do with the noise, whatever its colour, so with W its last values

    Φ̂ = W (WᵀW)⁻¹ Wᵀ Φ      θ_iv = (Φ̂ᵀΦ̂)⁻¹ Φ̂ᵀ z      cov(θ_iv − θ̂) = s² [(Φ̂ᵀΦ̂)⁻¹ − (ΦᵀΦ)⁻¹]

is consistent either way, if far less precise.  The last equation holds if the noise is white (Durbin, Wu,
Hausman; Econometrica 46, 1978): a difference that it does not explain says that least squares is biased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controllers.identification.arx import Fit
from controllers.identification.recordings import Array, Recording
from controllers.identification.regression import solve

NUM_INSTRUMENTS = 20
"""Past values of the dither.  An integrating plant remembers them all; more instruments than a twentieth
of the rows would pull the estimate back to that of least squares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentCheck:
    """Least squares against instrumental variables."""

    a: tuple[float, ...]
    """Memory as the instruments have it."""

    b: tuple[float, ...]
    """Push as the instruments have it."""

    differences: tuple[float, ...]
    """Instruments minus least squares on the same rows, for a then b [standard errors of the difference]."""

    push_difference: float
    """The same for the sum of b."""

    p_value: float
    """p-value of all differences together being chance (Hausman)."""

    precision: float
    """Standard error of the sum of b by instruments, over that by least squares.  Far above 1 the check
    can see coarse errors only."""


def instrument_check(fit: Fit, recordings: Sequence[Recording]) -> InstrumentCheck | None:
    """The check; None where there is no dither, too few rows, or it does not move all regressors."""
    from scipy.stats import chi2

    num = max(fit.order.num_slopes + 1, min(NUM_INSTRUMENTS, fit.rows.target.size // 20))
    instruments = _instruments(fit, recordings, num)
    there = np.flatnonzero(np.isfinite(instruments).all(axis=1))
    rows = fit.rows.chosen(there)
    phi = rows.design(fit.own_drift)
    num_slopes = fit.order.num_slopes
    w = np.column_stack([instruments[there], phi[:, num_slopes:]])
    n, p = phi.shape
    if n <= w.shape[1] + p:
        return None
    fitted: Array = w @ np.linalg.lstsq(w, phi, rcond=None)[0]
    if np.linalg.matrix_rank(fitted / np.linalg.norm(phi, axis=0), tol=1e-6 * np.sqrt(n)) < p:
        return None
    direct = solve(phi, rows.target)
    by_dither = solve(fitted, rows.target).parameters
    s2 = direct.sum_of_squares / (n - p)
    covariance = s2 * np.linalg.inv(fitted.T @ fitted) - direct.covariance
    covariance = covariance[:num_slopes, :num_slopes]
    difference = (by_dither - direct.parameters)[:num_slopes]
    errors = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    na = fit.order.na
    push = np.r_[np.zeros(na), np.ones(fit.order.nb)]
    push_error = float(np.sqrt(max(push @ covariance @ push, 1e-300)))
    direct_error = float(np.sqrt(push @ direct.covariance[:num_slopes, :num_slopes] @ push))
    return InstrumentCheck(
        a=tuple(float(value) for value in by_dither[:na]),
        b=tuple(float(value) for value in by_dither[na:num_slopes]),
        differences=tuple(float(value) for value in difference / errors),
        push_difference=float(push @ difference) / push_error,
        p_value=float(chi2.sf(difference @ np.linalg.pinv(covariance) @ difference, num_slopes)),
        precision=float(np.hypot(push_error, direct_error)) / direct_error,
    )


def _instruments(fit: Fit, recordings: Sequence[Recording], num: int) -> Array:
    """The last ``num`` values of the dither before each row's target; nan before the recording began."""
    lags = np.arange(1, num + 1)
    values: Array = np.full((fit.rows.target.size, num), np.nan)
    for index, recording in enumerate(recordings):
        own = np.flatnonzero(fit.rows.recording == index)
        ages = fit.rows.place[own][:, None] - lags
        values[own] = np.where(ages >= 0, recording.known_dither[np.maximum(ages, 0)], np.nan)
    return values
