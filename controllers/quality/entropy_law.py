"""The empirical law between reward and entropy: R = b − a·exp(H).  Entropy mechanism, arXiv 2505.22617.

R is a performance in 0..1 and H the policy entropy [nats/token] at the same time.  Along a run without
entropy control reward is bought with entropy, and ends at the ceiling b − a, where H = 0.

The law is linear in x = exp(H), so it is fitted by least squares in closed form.  With x̄ the mean of x,
S = Σ (x − x̄)² and s² = Σ residual² / (n − 2):

    a = −Σ (x − x̄)(R − R̄) / S        se(a) = s / √S
    value at x = R̄ − a (x − x̄)       se    = s · √(1/n + (x − x̄)² / S)

b is the value at x = 0, the ceiling that at x = 1.  The standard errors take the residuals for independent;
those of neighbouring iterations are not quite, so read them as a lower bound.  How the paper chose its
points and its loss is not known to us in full (METHODS 12).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

EARLY_FRACTION = 0.15
"""Share of a run that the paper fits before it predicts the rest."""

LEAST_POINTS = 3
"""Two parameters leave no residual on fewer."""

LEAST_RELATIVE_RANGE = 0.05
"""max − min of exp(H), as a share of its mean, below which H is said not to have moved.  A law that is
nearly straight there may be anything elsewhere, however well it fits."""

LARGEST_RELATIVE_ERROR = 0.5
"""se(a) / |a| from which on the slope does not differ significantly from 0 (t of 2 or less)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyLaw:
    """A fit.  All figures are nan where the points do not support them; ``warning`` then says why."""

    a: float
    """Reward for a unit of exp(H): what entropy buys."""

    b: float
    """Value of the fitted line at exp(H) = 0, which no policy reaches."""

    a_error: float
    """Standard error of a."""

    b_error: float
    """Standard error of b."""

    ceiling: float
    """b − a: the reward when all entropy is spent."""

    ceiling_error: float
    """Standard error of the ceiling; it grows with the distance from the points to H = 0."""

    r_squared: float
    """Share of the variance of R that the law explains."""

    rmse: float
    """Root mean square residual [unit of R]."""

    num_points: int
    lowest_nats: float
    highest_nats: float
    warning: str | None
    """Why a and the ceiling are not to be relied on; None when they are identified."""

    def reward(self, entropy_nats: ArrayLike) -> Array:
        """R that the law gives at these entropies."""
        predicted: Array = self.b - self.a * np.exp(np.asarray(entropy_nats, dtype=float))
        return predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Extrapolation:
    """A law from the first part of a run, compared with the rest of it."""

    law: EntropyLaw
    rmse: float
    """Root mean square error over the later points [unit of R]."""

    final_error: float
    """Predicted minus true R at the last point [unit of R]."""

    num_points: int
    """Later points that were predicted."""


def fit_entropy_law(entropy_nats: ArrayLike, reward: ArrayLike) -> EntropyLaw:
    """Fit the law to pairs (H, R); those that are not finite are left out."""
    entropy, reward = _pairs(entropy_nats, reward)
    n = entropy.size
    low, high = (float(entropy.min()), float(entropy.max())) if n else (nan, nan)
    x = np.exp(entropy)
    spread = float(((x - x.mean()) ** 2).sum()) if n else 0.0
    if n < LEAST_POINTS or spread <= 1e-24 * float((x**2).sum()):
        why = f"{n} points are too few, {LEAST_POINTS} are needed" if n < LEAST_POINTS else "H did not move"
        return EntropyLaw(
            a=nan,
            b=nan,
            a_error=nan,
            b_error=nan,
            ceiling=nan,
            ceiling_error=nan,
            r_squared=nan,
            rmse=nan,
            num_points=n,
            lowest_nats=low,
            highest_nats=high,
            warning=why,
        )
    a = -float(((x - x.mean()) * (reward - reward.mean())).sum()) / spread
    residual = reward - (reward.mean() - a * (x - x.mean()))
    sum_of_squares = float((residual**2).sum())
    total = float(((reward - reward.mean()) ** 2).sum())
    noise = sqrt(sum_of_squares / (n - 2))

    def value(at: float) -> float:
        return float(reward.mean() - a * (at - x.mean()))

    def error(at: float) -> float:
        return noise * sqrt(1 / n + (at - float(x.mean())) ** 2 / spread)

    a_error = noise / sqrt(spread)
    return EntropyLaw(
        a=a,
        b=value(0.0),
        a_error=a_error,
        b_error=error(0.0),
        ceiling=value(1.0),
        ceiling_error=error(1.0),
        r_squared=1 - sum_of_squares / total if total > 0 else nan,
        rmse=sqrt(sum_of_squares / n),
        num_points=n,
        lowest_nats=low,
        highest_nats=high,
        warning=_warning(a, a_error, low, high, float(x.mean())),
    )


def predict_rest(
    entropy_nats: ArrayLike, reward: ArrayLike, early_fraction: float = EARLY_FRACTION
) -> Extrapolation:
    """Fit the first ``early_fraction`` of the points, in the order given, and predict the others."""
    if not 0 < early_fraction < 1:
        raise ValueError(f"early_fraction must be between 0 and 1, got {early_fraction}")
    entropy, reward = _pairs(entropy_nats, reward)
    num_early = max(LEAST_POINTS, round(early_fraction * entropy.size))
    law = fit_entropy_law(entropy[:num_early], reward[:num_early])
    error = law.reward(entropy[num_early:]) - reward[num_early:]
    return Extrapolation(
        law=law,
        rmse=float(np.sqrt(np.mean(error**2))) if error.size else nan,
        final_error=float(error[-1]) if error.size else nan,
        num_points=int(error.size),
    )


def _warning(a: float, a_error: float, low: float, high: float, mean: float) -> str | None:
    relative_range = (exp(high) - exp(low)) / mean
    if relative_range < LEAST_RELATIVE_RANGE:
        return (
            f"H moved too little to identify the law: exp(H) covers {100 * relative_range:.1f} % of its mean, "
            f"{100 * LEAST_RELATIVE_RANGE:.0f} % are needed"
        )
    if a_error >= LARGEST_RELATIVE_ERROR * abs(a):
        return (
            f"a = {a:.3g} ± {a_error:.2g} is not distinguishable from 0: reward does not follow entropy here"
        )
    if a < 0:
        return f"a = {a:.3g} is negative: reward rose with entropy, against the law's exchange"
    return None


def _pairs(entropy_nats: ArrayLike, reward: ArrayLike) -> tuple[Array, Array]:
    """The finite pairs, in order."""
    entropy, reward = np.asarray(entropy_nats, dtype=float), np.asarray(reward, dtype=float)
    if entropy.shape != reward.shape or entropy.ndim != 1:
        raise ValueError(
            f"entropy and reward must be two vectors of one length, got {entropy.shape} and {reward.shape}"
        )
    finite = np.isfinite(entropy) & np.isfinite(reward)
    return entropy[finite], reward[finite]
