"""Effect that a number of seeds can detect: the power of the sign-flip test on normal differences.

An effect is d_z, the mean difference over the standard deviation between pairs.  Up to ten pairs the power
is counted in simulated experiments, because the test has too few values of p for a formula: with six
pairs it finds an effect only if all six signs agree.  Above ten pairs it is the power of the two-sided paired
t test by the noncentral t distribution, at the largest level that the test can attain below the requested one.

    power = P(T > c) + P(T < −c),  T noncentral t with n − 1 degrees of freedom and noncentrality d_z·√n

80 % power at the 5 % level takes 7, 11, 15 and 34 pairs for a d_z of 1.5, 1, 0.8 and 0.5; the t test would do
with 6, 10, 15 and 34.
"""

from __future__ import annotations

from functools import lru_cache
from math import floor, inf, sqrt

import numpy as np
from numpy.typing import NDArray

from orchestrator.comparison.differences import ROUNDING, smallest_p

Array = NDArray[np.float64]

POWER = 0.8  # the usual one (Cohen 1988): four of five true effects of that size are found
USUAL_EFFECT = 1.0  # d_z that plans are made for unless another is named: the mean is one standard deviation
MOST_SIMULATED = 10  # pairs
NUM_EXPERIMENTS = 4000
PRECISION = 1e-3  # of a d_z


def power(num_pairs: int, effect: float, level: float) -> float:
    """Chance that so many normal differences of a d_z give p ≤ ``level``."""
    if smallest_p(num_pairs) > level:
        return 0.0
    if num_pairs > MOST_SIMULATED:
        return student_power(num_pairs, effect, _attained(num_pairs, level))
    noise, signs = _experiments(num_pairs)
    differences = noise + effect
    sums = np.abs(differences @ signs)
    observed = np.abs(differences.sum(axis=1))[:, None] * (1 - ROUNDING)
    return float(np.mean(np.mean(sums >= observed, axis=1) <= level))


def student_power(num_pairs: int, effect: float, level: float) -> float:
    """Chance that the two-sided paired t test finds a d_z (Cohen 1988)."""
    from scipy.special import nctdtr, stdtrit

    critical = float(stdtrit(num_pairs - 1, 1 - level / 2))
    shift = effect * sqrt(num_pairs)
    wrong_side = float(np.nan_to_num(nctdtr(num_pairs - 1, shift, -critical)))  # nan where it is below 1e-16
    return 1 - float(nctdtr(num_pairs - 1, shift, critical)) + wrong_side


@lru_cache(maxsize=256)
def detectable_effect(num_pairs: int, level: float, wanted: float = POWER) -> float:
    """The smallest d_z that so many pairs find with the power wanted; inf where they can find none."""
    if smallest_p(num_pairs) > level:
        return inf
    low, high = 0.0, 0.5
    while power(num_pairs, high, level) < wanted:
        high *= 2
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if power(num_pairs, middle, level) >= wanted else (middle, high)
    return high


@lru_cache(maxsize=256)
def pairs_for(effect: float, level: float, wanted: float = POWER) -> int:
    """The fewest pairs that find a d_z > 0 with the power wanted."""
    num = 2
    while power(num, effect, level) < wanted:
        num += 1
    return num


def _attained(num_pairs: int, level: float) -> float:
    """The largest p that the exact test can have up to a level."""
    least = smallest_p(num_pairs)
    return floor(level / least + ROUNDING) * least


@lru_cache(maxsize=MOST_SIMULATED)
def _experiments(num_pairs: int) -> tuple[Array, Array]:
    """Normal differences [experiments, n] of mean zero, and half of all choices of signs [n, 2^(n − 1)]."""
    noise = np.random.default_rng(num_pairs).standard_normal((NUM_EXPERIMENTS, num_pairs))
    choices = np.arange(2 ** (num_pairs - 1))[None, :] >> np.arange(num_pairs)[:, None] & 1
    return noise, (1 - 2 * choices).astype(np.float64)
