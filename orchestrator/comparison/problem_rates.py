"""Pass rates over held-out problems, with intervals for the chance of the problems that were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.comparison.bootstrap import CONFIDENCE, mean_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A mean over problems and its 95 % interval."""

    value: float
    low: float
    high: float


def rate(values: Sequence[float]) -> Rate:
    """The mean of a share in [0, 1] of each problem.

    It has Wilson's interval (Wilson 1927) where each problem is wholly right or wholly wrong, which stays open where all
    are the same; elsewhere the interval of a mean as over seeds (`bootstrap`), within [0, 1], which is all of that for
    one problem.
    """
    mean = sum(values) / len(values)
    if set(values) <= {0.0, 1.0}:
        from scipy.stats import binomtest

        wilson = binomtest(round(sum(values)), len(values)).proportion_ci(CONFIDENCE, method="wilson")
        return Rate(value=mean, low=float(wilson.low), high=float(wilson.high))
    if len(values) == 1:
        return Rate(value=mean, low=0.0, high=1.0)
    ends = mean_interval(values)
    return Rate(value=mean, low=max(0.0, ends.low), high=min(1.0, ends.high))
