"""How far a trial is from what it must not do: positive is a violation, as Optuna has it."""

from __future__ import annotations

from math import inf, nan

import numpy as np
from numpy.typing import NDArray

from orchestrator.tuning.models import ConstraintsConfig, LevelBound
from orchestrator.tuning.objectives import SeedRecord

Array = NDArray[np.float64]


def violations(record: SeedRecord, settings: ConstraintsConfig) -> dict[str, float]:
    """Worst excess over each bound on entropy so far [nats/token]; −inf while there is too little record."""
    found: dict[str, float] = {}
    if settings.collapse is not None:
        found["collapse"] = collapse(record, settings.collapse)
    if settings.explosion is not None:
        found["explosion"] = explosion(record, settings.explosion)
    return found


def collapse(record: SeedRecord, bound: LevelBound) -> float:
    """Largest fall of the averaged reading below the bound."""
    return _largest(_level(record, bound) - moving_mean(record.reading, bound.window))


def explosion(record: SeedRecord, bound: LevelBound) -> float:
    """Largest rise of the averaged reading above the bound, or above the first one where that is higher.

    A run that starts above its setpoint is not exploding; one that rises from there is.
    """
    averaged = moving_mean(record.reading, bound.window)
    finite = averaged[np.isfinite(averaged)]
    start = finite[0] if finite.size else nan
    return _largest(averaged - np.fmax(_level(record, bound), start))


def moving_mean(values: Array, window: int) -> Array:
    """Mean of the last ``window`` finite values at each iteration; nan before there are so many."""
    finite = np.isfinite(values)
    known = values[finite]
    averaged = np.full(values.shape, nan)
    if known.size >= window:
        means = np.convolve(known, np.ones(window) / window, "valid")
        averaged[np.flatnonzero(finite)[window - 1 :]] = means
    return averaged


def _level(record: SeedRecord, bound: LevelBound) -> Array:
    if bound.nats is not None:
        return np.full(record.reading.shape, bound.nats)
    assert bound.fraction is not None
    return bound.fraction * record.r


def _largest(excess: Array) -> float:
    finite = excess[np.isfinite(excess)]
    return float(finite.max()) if finite.size else -inf
