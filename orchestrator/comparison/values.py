"""One value per run: the start and the end of a metric, also for runs that a guardrail stopped.

A stopped run has ended, and an arm must not look better because it lost runs.  A stopped run counts with the last
value that it reached, and with 0 in an evaluation that it never reached while other runs did.  An evaluation before
the failure flatters the run, so each verdict is also computed with 0 in the final evaluation, which the run never
reached (``worst``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan

import numpy as np

from controllers.quality.quality import mean, tail
from orchestrator.storage.run_data import Array, RunRecords

START_ITERATIONS = 3  # the first ones, whose mean is where a signal started
FINAL_FRACTION = 0.1  # of the iterations, whose mean is where a signal ended


def is_evaluation(metric: str) -> bool:
    """Whether the metric is of held-out evaluation, where 0 is to solve none; else it is of training."""
    return metric.startswith("eval/")


def final_value(run: RunRecords, metric: str) -> float:
    """The metric in the last evaluation; a training metric as the mean over the last tenth.  nan without any."""
    return last(run.evaluation.get(metric)) if is_evaluation(metric) else final(run.train.get(metric))


def start_value(run: RunRecords, metric: str) -> float:
    """The metric in the first evaluation, before any update; a training metric as the mean of the first three.

    nan if the only evaluation was the one at the end.
    """
    if not is_evaluation(metric):
        return mean(run.train.get(metric)[:START_ITERATIONS])
    values = run.evaluation.get(metric)
    is_end_too = np.isfinite(values).sum() < 2 and not run.stopped
    return nan if is_end_too else first(values)


def final_values(runs: Sequence[RunRecords], metric: str, *, worst: bool = False) -> tuple[float, ...]:
    """`final_value` of compared runs, one per run; with ``worst``, evaluations that were never reached are 0."""
    values = [final_value(run, metric) for run in runs]
    unreached = 0.0 if is_evaluation(metric) and any(map(isfinite, values)) else nan

    def counted(run: RunRecords, value: float) -> float:
        is_unreached = run.stopped and (not isfinite(value) or (worst and is_evaluation(metric)))
        return unreached if is_unreached else value

    return tuple(map(counted, runs, values))


def final(values: Array) -> float:
    """Mean over the last tenth."""
    return mean(tail(values, FINAL_FRACTION))


def first(values: Array) -> float:
    """The first finite value; nan without any."""
    finite = values[np.isfinite(values)]
    return float(finite[0]) if finite.size else nan


def last(values: Array) -> float:
    """The last finite value; nan without any."""
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else nan
