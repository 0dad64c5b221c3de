"""Intervals over few seeds: Student's t below eight, the bootstrap from there on.

A bootstrap cannot see beyond its values: a 95 % interval of three normal values covers the true mean in
75 % of cases, one of seven values in 94 %.  Student's t covers 95 % with any number of normal values.
Skewed values cost every interval coverage: with three exponential values t covers 88 %, the bootstrap 70 %.

From eight values on this is the percentile interval with outer percentiles (Hesterberg 2015, arXiv
1411.5279, section 5.3): α/2 becomes Φ(−√(n/(n − 1)) · t_{α/2, n−1}), since a bootstrap resamples the
deviations from the sample mean, which are smaller than those from the true one.  It follows the skew of
the values, and t does not.  `docs/comparison.md` has the measured coverage of both.

Pure functions; every random draw comes from the seed given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

CONFIDENCE = 0.95
FEWEST_RESAMPLED = 8  # values, from which on the bootstrap covers what it claims
STUDENT, BOOTSTRAP = "Student’s t", "bootstrap"
NUM_RESAMPLES = 10_000
CHUNK = 250  # resamples at a time, which bounds the memory


@dataclass(frozen=True, slots=True)
class Interval:
    """Ends of a confidence interval; nan where there are fewer than two values."""

    low: float = nan
    high: float = nan
    kind: str = field(default="", compare=False)
    """Kind of the interval: `STUDENT` or `BOOTSTRAP`."""


def kind_of(num: int) -> str:
    """The kind of interval for the mean of so many values; "" for fewer than two, which have none."""
    if num < 2:
        return ""
    return STUDENT if num < FEWEST_RESAMPLED else BOOTSTRAP


def mean_interval(
    values: ArrayLike, *, confidence: float = CONFIDENCE, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval:
    """Interval of the mean of the finite values: t below eight of them, expanded percentiles from there on."""
    sample = np.asarray(values, dtype=float)
    sample = sample[np.isfinite(sample)]
    low, high = mean_bands(sample[:, None], confidence=confidence, num_resamples=num_resamples, seed=seed)
    return Interval(float(low[0]), float(high[0]), kind_of(sample.size))


def mean_bands(
    table: Array, *, confidence: float = CONFIDENCE, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> tuple[Array, Array]:
    """The interval of each column's mean, of the rows that have a finite value there.

    Args:
        table: [n, T], a row a seed.

    Returns:
        Lower and upper ends [T]; nan where a column has fewer than two values.
    """
    known = np.isfinite(table)
    counts = known.sum(axis=0)
    low, high = np.full(table.shape[1], nan), np.full(table.shape[1], nan)
    for num in np.unique(counts[counts > 1]):
        columns = np.flatnonzero(counts == num)
        # the values of each column, gaps closed: [num, columns]
        closed = np.sort(np.where(known[:, columns], table[:, columns], np.inf), axis=0)[:num]
        if num < FEWEST_RESAMPLED:
            low[columns], high[columns] = student_bands(closed, confidence=confidence)
        else:
            low[columns], high[columns] = resampled_bands(
                closed, confidence=confidence, num_resamples=num_resamples, seed=seed
            )
    return low, high


def student_bands(table: Array, *, confidence: float = CONFIDENCE) -> tuple[Array, Array]:
    """Mean ± t_{α/2, n−1} · s/√n of each column of an [n, T] table without gaps (Student 1908)."""
    from scipy.special import stdtrit

    num = table.shape[0]
    quantile = float(stdtrit(num - 1, 1 - (1 - confidence) / 2))
    half = quantile * table.std(axis=0, ddof=1) / sqrt(num)
    middle = table.mean(axis=0)
    return middle - half, middle + half


def tail_level(num: int, confidence: float = CONFIDENCE) -> float:
    """Level of the lower percentile for ``num`` values: Φ(−√(n/(n − 1)) · t_{α/2, n−1}), below α/2."""
    from scipy.special import ndtr, stdtrit

    quantile = float(stdtrit(num - 1, 1 - (1 - confidence) / 2))
    return float(ndtr(-sqrt(num / (num - 1)) * quantile))


def stratified_interval(
    scores: Array,
    statistic: Callable[[Array], Array],
    *,
    joint: bool,
    confidence: float = CONFIDENCE,
    num_resamples: int = 1000,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Expanded percentile interval of a statistic of [runs, strata] scores, resampled over runs.

    Agarwal et al. 2021, whose percentiles are the plain ones.  With fewer than eight runs it covers less than it
    claims, as every bootstrap does.

    Args:
        scores: [n, S], one row per run, one column per task or other part of the evaluation.
        statistic: maps scores [B, n, S] to a vector or a number each: [B, ...].
        joint: draw whole runs.  rliable draws the runs of each stratum by themselves, since there every
            (run, task) is a training of its own.  Our strata are parts of one evaluation, which a
            run completes as a whole: separate draws would treat one lucky run as several, and narrow the interval.
    """
    rng = np.random.default_rng(seed)
    num_runs, num_strata = scores.shape
    drawn = []
    for start in range(0, num_resamples, CHUNK):
        size = (min(CHUNK, num_resamples - start), num_runs, 1 if joint else num_strata)
        rows = np.broadcast_to(rng.integers(num_runs, size=size), (*size[:2], num_strata))
        drawn.append(statistic(np.take_along_axis(scores[None], rows, axis=1)))
    tail = tail_level(num_runs, confidence)
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail], axis=0)
    return low, high


def resampled_bands(
    table: Array, *, confidence: float = CONFIDENCE, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> tuple[Array, Array]:
    """Expanded percentile interval of the mean of each column of an [n, T] table without gaps.

    With four values or fewer it spans the smallest to the largest: no resample goes beyond.
    """
    num = table.shape[0]
    tail = tail_level(num, confidence)
    if tail <= float(num) ** -num:  # less than the chance to draw one value n times
        return table.min(axis=0), table.max(axis=0)
    means = table.T @ _weights(num, num_resamples, seed).T
    means.sort(axis=1)  # twice as fast as a partition
    return _quantile(means, tail), _quantile(means, 1 - tail)


def _quantile(ordered: Array, level: float) -> Array:
    """Quantile of each row in rising order, linear between neighbours, as `numpy.quantile`."""
    at = level * (ordered.shape[1] - 1)
    below = min(int(at), ordered.shape[1] - 2)
    low, high = ordered[:, below], ordered[:, below + 1]
    between: Array = low + (at - below) * (high - low)
    return between


@lru_cache(maxsize=32)
def _weights(num: int, num_resamples: int, seed: int) -> Array:
    """Share of each value in each resample [B, n]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(num, np.full(num, 1 / num), size=num_resamples) / num
