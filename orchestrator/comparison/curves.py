"""A metric of several seeds over steps, with the interval of its mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.comparison.bootstrap import mean_bands
from orchestrator.storage.metrics_log import Kind
from orchestrator.storage.run_data import Array, RunRecords

MOST_POINTS = 400
"""Points of a curve that a page is given: more than it has pixels to tell apart."""

NUM_RESAMPLES = 1000
"""For bands, whose ends are looked at rather than read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A metric over steps: mean over seeds and its 95 % interval.

    It is Student's t below eight seeds and the bootstrap from there on (see `bootstrap`); where only one seed
    has the step, low and high are the value itself.
    """

    steps: NDArray[np.int64]
    mean: Array
    low: Array
    high: Array
    num_seeds: int


def curve(
    runs: Sequence[RunRecords],
    metric: str | Callable[[RunRecords], Array],
    kind: Kind = "train",
    *,
    band: bool = True,
) -> Curve:
    """A metric of several seeds over the union of their steps; steps that no seed measured are left out.

    Without ``band``, low and high are the mean: an interval takes a hundred times as long.
    Longer ones than `MOST_POINTS` are thinned to steps that were measured, the extremes among them.
    """
    steps, table = table_of(runs, metric, kind)
    counts = np.isfinite(table).sum(axis=0)
    mean = np.nansum(table, axis=0) / np.maximum(counts, 1)
    kept = extremes(mean, MOST_POINTS)
    steps, mean, table = steps[kept], mean[kept], table[:, kept]
    low, high = mean_bands(table, num_resamples=NUM_RESAMPLES) if band else (mean, mean)
    single = counts[kept] == 1
    return Curve(
        steps=steps,
        mean=mean,
        low=np.where(single, mean, low),
        high=np.where(single, mean, high),
        num_seeds=table.shape[0],
    )


def table_of(
    runs: Sequence[RunRecords], metric: str | Callable[[RunRecords], Array], kind: Kind = "train"
) -> tuple[NDArray[np.int64], Array]:
    """Steps [T] that any run measured, and values [runs that measured any, T], nan where one did not.

    In evaluations a run that a guardrail stopped keeps its last value, as in the tables: otherwise the mean of the
    others would rise at its end.  Training metrics are not kept.
    """
    columns, stays = [], []
    for run in runs:
        series = run.train if kind == "train" else run.evaluation
        values = series.get(metric) if isinstance(metric, str) else metric(run)
        known = np.isfinite(values)
        if known.any():
            columns.append((series.steps[known], values[known]))
            stays.append(kind == "eval" and run.stopped)
    if not columns:
        return np.array([], dtype=np.int64), np.empty((0, 0))
    first = columns[0][0]
    if all(np.array_equal(own, first) for own, _ in columns):  # as seeds of one arm have, ten times as fast
        return first, np.stack([values for _, values in columns])
    steps = np.unique(np.concatenate([own for own, _ in columns]))
    table = np.full((len(columns), steps.size), np.nan)
    for row, (own, values), stay in zip(table, columns, stays, strict=True):
        row[np.searchsorted(steps, own)] = values
        if stay:
            row[steps > own[-1]] = values[-1]
    return steps, table


def extremes(values: Array, most: int) -> NDArray[np.int64]:
    """Indices of at most ``most`` values, rising: the ends, and of each stretch the smallest and largest.

    A spike survives, which an average or every n-th value would lose.
    """
    size = values.size
    if size <= most:
        return np.arange(size)
    width = -(-(size - 2) // ((most - 2) // 2))
    inner = np.arange(1, size - 1)
    padded = np.full((-(-inner.size // width), width), np.nan)
    padded.flat[: inner.size] = values[1:-1]
    starts = 1 + width * np.arange(padded.shape[0])
    kept = np.concatenate(
        [[0, size - 1], starts + np.nanargmin(padded, axis=1), starts + np.nanargmax(padded, axis=1)]
    )
    return np.unique(kept)
