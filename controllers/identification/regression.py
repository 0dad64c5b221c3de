"""The regression behind an identification: rows of past readings and commands, and their least squares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from controllers.identification.recordings import Array, Recording
from controllers.parts.coordinates import Coordinates


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """A regression: one row for each target whose whole past is there, all recordings below each other."""

    slopes: Array
    """Past z by age, then past u by age, shape (rows, slopes)."""

    target: Array
    """z, shape (rows,)."""

    recording: NDArray[np.int64]
    """Index of the recording that a row is from, shape (rows,)."""

    place: NDArray[np.int64]
    """Entry of that recording that is the target, shape (rows,)."""

    def chosen(self, rows: NDArray[np.int64]) -> Rows:
        """Some of the rows."""
        return Rows(
            slopes=self.slopes[rows],
            target=self.target[rows],
            recording=self.recording[rows],
            place=self.place[rows],
        )

    def design(self, own_drift: bool = False) -> Array:
        """The matrix Φ: the slopes, then a column of ones, or one column for each recording that has rows."""
        if not own_drift:
            return np.column_stack([self.slopes, np.ones(self.target.size)])
        return np.column_stack([self.slopes, self.recording[:, None] == np.unique(self.recording)]).astype(
            float
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LeastSquares:
    """A solved regression."""

    parameters: Array
    """One a column of Φ; of smallest norm where columns are collinear."""

    covariance: Array
    """s² (ΦᵀΦ)⁻¹; nan where columns are collinear or rows are too few."""

    residuals: Array
    """Target less what the parameters make of Φ."""

    rank: int
    """Columns of Φ that are not collinear."""

    @property
    def sum_of_squares(self) -> float:
        """Sum of squares of the residuals."""
        return float(self.residuals @ self.residuals)


def rows_of(
    recordings: Sequence[Recording],
    *,
    z_lags: Iterable[int],
    u_lags: Iterable[int],
    coordinates: Coordinates,
    level_nats: float,
) -> Rows:
    """All rows whose target and regressors are there; none reaches over a gap or into another recording."""
    z_lags, u_lags = list(z_lags), list(u_lags)
    oldest = max([0, *z_lags, *u_lags])
    slopes, targets, sources, places = [], [], [], []
    for index, recording in enumerate(recordings):
        z = recording.z(coordinates, level_nats)
        place = np.arange(oldest, z.size)
        columns = [z[place - lag] for lag in z_lags] + [recording.u[place - lag] for lag in u_lags]
        block = np.column_stack(columns) if columns else np.zeros((place.size, 0))
        there = np.isfinite(block).all(axis=1) & np.isfinite(z[place])
        slopes.append(block[there])
        targets.append(z[place[there]])
        places.append(place[there])
        sources.append(np.full(int(there.sum()), index))
    return Rows(
        slopes=np.concatenate(slopes),
        target=np.concatenate(targets),
        recording=np.concatenate(sources),
        place=np.concatenate(places),
    )


def solve(phi: Array, target: Array) -> LeastSquares:
    """Least squares with s² (ΦᵀΦ)⁻¹ as the covariance."""
    solution, _, rank, _ = np.linalg.lstsq(phi, target, rcond=None)
    parameters = solution.astype(np.float64)
    residuals = target - phi @ parameters
    n, p = phi.shape
    covariance: Array = np.full((p, p), np.nan)
    if rank == p and n > p:
        covariance = float(residuals @ residuals) / (n - p) * np.linalg.inv(phi.T @ phi)
    return LeastSquares(parameters=parameters, covariance=covariance, residuals=residuals, rank=int(rank))


def condition_number(rows: Rows) -> float:
    """Largest over smallest singular value of the slopes' columns, centred by recording, of one size each."""
    centred = rows.slopes - _record_means(rows)
    size = np.linalg.norm(centred, axis=0)
    if not np.all(size > 1e-12 * np.linalg.norm(rows.slopes, axis=0)):
        return inf
    values = np.linalg.svd(centred / size, compute_uv=False)
    return float(values[0] / values[-1]) if values[-1] > 0 else inf


def _record_means(rows: Rows) -> Array:
    """For each row, the mean of its recording's regressors."""
    means = np.zeros_like(rows.slopes)
    for index in np.unique(rows.recording):
        own = rows.recording == index
        means[own] = rows.slopes[own].mean(axis=0)
    return means
