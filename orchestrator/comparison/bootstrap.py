"""Bootstrap intervals over few seeds.  Pure functions; every random draw comes from the seed given.

The percentile interval is too narrow with few values: it resamples the deviations from the sample mean,
which are smaller than those from the true one.  Hesterberg (2015, arXiv 1411.5279, section 5.3)
therefore takes outer percentiles: α/2 becomes Φ(−√(n/(n − 1)) · t_{α/2, n−1}).  Ours is that one.  With four
values or fewer its ends are the smallest and the largest value, beyond which no bootstrap can see; what
that covers is measured in `docs/comparison.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
CHUNK = 250  # resamples at a time, which bounds the memory


@dataclass(frozen=True, slots=True)
class Interval:
    """Ends of a confidence interval; nan where there are fewer than two values."""

    low: float = nan
    high: float = nan


def mean_interval(
    values: ArrayLike, *, confidence: float = CONFIDENCE, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval:
    """Expanded percentile interval of the mean of the finite values."""
    sample = np.asarray(values, dtype=float)
    sample = sample[np.isfinite(sample)]
    low, high = mean_bands(sample[:, None], confidence=confidence, num_resamples=num_resamples, seed=seed)
    return Interval(float(low[0]), float(high[0]))


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
        low[columns], high[columns] = _bands(closed, confidence, num_resamples, seed)
    return low, high


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
    """Percentile interval of a statistic of [runs, strata] scores, resampled over runs.  Agarwal et al. 2021.

    Args:
        scores: [n, S], a row a run, a column a task or another part of the exam.
        statistic: maps scores [B, n, S] to a vector or a number each: [B, ...].
        joint: draw whole runs.  rliable draws the runs of each stratum by themselves, since there every
            (run, task) is a training of its own.  Our strata are parts of one exam, which a run sits as
            a whole: drawing them apart would treat one lucky run as several, and give too narrow an interval.
    """
    rng = np.random.default_rng(seed)
    num_runs, num_strata = scores.shape
    drawn = []
    for start in range(0, num_resamples, CHUNK):
        size = (min(CHUNK, num_resamples - start), num_runs, 1 if joint else num_strata)
        rows = np.broadcast_to(rng.integers(num_runs, size=size), (*size[:2], num_strata))
        drawn.append(statistic(np.take_along_axis(scores[None], rows, axis=1)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail], axis=0)
    return low, high


def _bands(sample: Array, confidence: float, num_resamples: int, seed: int) -> tuple[Array, Array]:
    """Of a sorted [n, T] table without gaps."""
    num = sample.shape[0]
    tail = tail_level(num, confidence)
    if tail <= float(num) ** -num:  # less than the chance to draw one value n times
        return sample[0], sample[-1]
    means = sample.T @ _weights(num, num_resamples, seed).T
    means.sort(axis=1)  # twice as fast as a partition
    return _quantile(means, tail), _quantile(means, 1 - tail)


def _quantile(ordered: Array, level: float) -> Array:
    """Of each row that is in rising order, linear between neighbours, as `numpy.quantile`."""
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
