"""The sigmoid of reward over compute: R(C) = R₀ + (A − R₀) / (1 + (C_mid / C)^B).  ScaleRL, arXiv 2510.13786.

Two methods can be alike early and end apart.  A is where a run would end with all compute there is, B how steeply it
gets there, C_mid the compute at half of the way.  R₀ is the reward at the start and is given, not fitted.

The fit is least squares (Levenberg–Marquardt) in A, ln B and ln C_mid; standard errors are those of the linearised
problem, s² (JᵀJ)⁻¹ with s² = Σ residual² / (n − 3).  They take residuals for independent, so read them as a lower bound.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import exp, isfinite, log, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LEAST_POINTS = 10
"""Three parameters of a curve that is noisy need some residual."""

LEAST_CLIMB = 3.0
"""Rise from R₀ to A over the root mean square residual, below which there is no curve to fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asymptote:
    """A fit.  All figures are nan where the points do not support them; ``warning`` then says why."""

    asymptote: float = nan
    """A: the reward that more compute approaches."""
    asymptote_error: float = nan
    """Standard error of A."""
    efficiency: float = nan
    """B: steepness, without a unit."""
    midpoint: float = nan
    """C_mid: compute at which half of the way is done [unit of C]."""
    start: float = nan
    """R₀, as given."""
    rmse: float = nan
    """Root mean square residual [unit of R]."""
    warning: str | None = None
    """Why A is not to be relied on; None when it is identified."""

    def reward(self, compute: ArrayLike) -> Array:
        """R that the fit gives at these computes."""
        return _sigmoid(
            np.asarray(compute, dtype=float),
            self.start,
            self.asymptote,
            log(self.efficiency),
            log(self.midpoint),
        )


def fit_asymptote(compute: ArrayLike, reward: ArrayLike, start: float) -> Asymptote:
    """Fit the sigmoid to pairs (C, R); those that are not finite, and C ≤ 0, are left out.

    Args:
        compute: of one run or several, in any order and unit: iterations, tokens, GPU hours.  Shape (n,).
        reward: at the same points, shape (n,).
        start: R₀.

    Raises:
        ValueError: two vectors of different length.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    c, r = _pairs(compute, reward)
    if c.size < LEAST_POINTS or not isfinite(start):
        return Asymptote(warning=f"{c.size} points are too few, {LEAST_POINTS} are needed")
    late = r[np.argsort(c)][-max(1, c.size // 10) :]
    first = (float(late.mean()), 0.0, log(float(np.median(c))))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", OptimizeWarning)
            found, covariance = curve_fit(
                lambda at, *parameters: _sigmoid(at, start, *parameters), c, r, p0=first, maxfev=5000
            )
    except (RuntimeError, OptimizeWarning):
        return Asymptote(start=start, warning="no sigmoid fits: reward did not approach anything")
    asymptote, error = float(found[0]), float(np.sqrt(covariance[0, 0]))
    if max(abs(found[1]), abs(found[2])) > 50 or not isfinite(error):
        return Asymptote(start=start, warning="no sigmoid fits: reward did not approach anything")
    residual = r - _sigmoid(c, start, *found)
    rmse = float(np.sqrt(np.mean(residual**2)))
    return Asymptote(
        asymptote=asymptote,
        asymptote_error=error,
        efficiency=exp(found[1]),
        midpoint=exp(found[2]),
        start=start,
        rmse=rmse,
        warning=_warning(asymptote, error, start, rmse, exp(found[2]), float(c.max())),
    )


def _sigmoid(
    compute: Array, start: float, asymptote: float, log_efficiency: float, log_midpoint: float
) -> Array:
    # (C_mid / C)^B as an exponential, clipped where it no longer matters, so that no trial of the fit overflows.
    exponent = np.exp(np.clip(log_efficiency, -50, 50)) * (log_midpoint - np.log(compute))
    value: Array = start + (asymptote - start) / (1 + np.exp(np.clip(exponent, -50, 50)))
    return value


def _warning(
    asymptote: float, error: float, start: float, rmse: float, midpoint: float, most: float
) -> str | None:
    climb = abs(asymptote - start)
    if midpoint > most:
        return "the run ended before half of the way: A is an extrapolation"
    if error >= climb / 2:
        return f"A = {asymptote:.3f} ± {error:.3f} is not distinguishable from the start of {start:.3f}"
    if climb < LEAST_CLIMB * rmse:
        return f"reward moved by {climb:.3f}, not much beside its noise of {rmse:.3f}"
    return None


def _pairs(compute: ArrayLike, reward: ArrayLike) -> tuple[Array, Array]:
    """The finite pairs at compute above 0."""
    c, r = np.asarray(compute, dtype=float), np.asarray(reward, dtype=float)
    if c.shape != r.shape or c.ndim != 1:
        raise ValueError(f"compute and reward must be two vectors of one length, got {c.shape} and {r.shape}")
    known = np.isfinite(c) & np.isfinite(r) & (c > 0)
    return c[known], r[known]
