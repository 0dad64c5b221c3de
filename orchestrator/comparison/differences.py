"""Tests whether one arm is better than another, over seeds.  Pure functions on paired values.

Seeds pair: in both arms a seed has the same initial policy, the same prompts and the same held-out problems,
so what they share cancels in the difference of the two.

The test is the exact sign-flip permutation test (Fisher 1935).  Without an effect each difference might as
well have the other sign, so the test tries all 2ⁿ choices of signs.  It assumes that without an effect the
differences are symmetric about zero.  They are symmetric when two arms do not differ in anything, and then the
test is exact for any number of seeds.  As a test of equal means alone it is not exact: with skewed differences,
as when few seeds collapse, 6 to 10 exponential ones with mean zero give p ≤ 0.05 in 7 to 10 % of cases,
log-normal ones in 11 to 15 %.  Its price is that n seeds can never give a p below 2^(1 − n): 0.25 for three,
0.03 for six.  Wilcoxon's signed-rank test makes the same assumption, has the same bound and ignores the sizes.
The t test has no bound because it assumes normal differences, which three of them cannot show.

`power` computes how large an effect a number of seeds can detect.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite, lgamma, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LARGEST_EXACT = 14  # differences: 16384 choices of signs
NUM_FLIPS = 100_000  # drawn at random beyond
ROUNDING = 1e-12  # two sums of the same numbers in another order are equal up to this share


def permutation_p(differences: ArrayLike, *, seed: int = 0) -> float:
    """Two-sided p of the mean difference under random signs; nan for no difference at all.

    Exact up to 14 differences; beyond, (1 + number as extreme) / (1 + draws), which is valid too
    (Phipson and Smyth 2010).
    """
    sample = _finite(differences)
    num = sample.size
    if num == 0:
        return nan
    bound = abs(float(sample.sum())) - ROUNDING * float(np.abs(sample).sum())
    if num <= LARGEST_EXACT:
        choices = np.arange(2**num)[:, None] >> np.arange(num) & 1
        return float(np.mean(np.abs((1 - 2 * choices) @ sample) >= bound))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(NUM_FLIPS, num))
    extreme = int(np.sum(np.abs(signs @ sample) >= bound))
    return (1 + extreme) / (1 + NUM_FLIPS)


def smallest_p(num_pairs: int) -> float:
    """The smallest p that so many pairs can give: 2^(1 − n)."""
    return min(1.0, 2.0 ** (1 - num_pairs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values (Holm 1979); tests that could not be made (nan) stay out of the family.

    With p in rising order, adjusted p_i = max over j ≤ i of min(1, (m − j) · p_j), j from 0.
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if isfinite(p))
    adjusted, largest = [nan] * len(p_values), 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[index] = largest
    return adjusted


def cohens_dz(differences: ArrayLike) -> float:
    """Mean difference over its standard deviation between pairs; nan for fewer than two, or none between.

    Cohen 1988.  It is of the pairs: the d of two independent groups is smaller where pairs are alike.  With few
    pairs it is too large on average; see `hedges_gz`.
    """
    sample = _finite(differences)
    spread = float(sample.std(ddof=1)) if sample.size > 1 else 0.0
    return float(sample.mean()) / spread if spread > 0 else nan


def hedges_gz(differences: ArrayLike) -> float:
    """Cohen's d_z without its bias in small samples: J(n − 1) · d_z (Hedges 1981); nan for fewer than three.

    J(m) = Γ(m/2) / (√(m/2) · Γ((m − 1)/2)), about 1 − 3/(4m − 1): 0.56 for three pairs, 0.84 for six.  With two
    the mean of d_z does not exist, so there is nothing to correct.
    """
    num = _finite(differences).size
    if num < 3:
        return nan
    half = (num - 1) / 2
    return exp(lgamma(half) - lgamma(half - 0.5)) / sqrt(half) * cohens_dz(differences)


def cliffs_delta(one: ArrayLike, other: ArrayLike) -> float:
    """P(one > other) − P(one < other) over all pairs of a value of each (Cliff 1993); nan without any."""
    first, second = _finite(one), _finite(other)
    if not (first.size and second.size):
        return nan
    return float(np.sign(first[:, None] - second[None, :]).mean())


def _finite(values: ArrayLike) -> Array:
    sample: Array = np.asarray(values, dtype=float)
    finite: Array = sample[np.isfinite(sample)]
    return finite
