"""Aggregates over runs and parts of the evaluation.  Agarwal et al. 2021, arXiv 2108.13264 (rliable).

Scores are [n, S]: one row per run, one column per stratum of the evaluation (a domain or a difficulty).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def interquartile_mean(scores: ArrayLike) -> Array:
    """Mean of the middle half of all scores: a quarter of them, rounded down, is cut at each end.

    As rliable has it, `scipy.stats.trim_mean(scores, 0.25, axis=None)`; [..., n, S] gives [...].
    """
    table = np.asarray(scores, dtype=float)
    ordered = np.sort(table.reshape(*table.shape[:-2], -1), axis=-1)
    cut = ordered.shape[-1] // 4
    return np.asarray(ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1))


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Array:
    """Share of the scores above each of T thresholds: rliable's run-score distribution.

    [..., n, S] gives [..., T].
    """
    table = np.asarray(scores, dtype=float)[..., None]
    return np.asarray((table > np.asarray(thresholds, dtype=float)).mean(axis=(-3, -2)))
