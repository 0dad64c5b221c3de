"""Compares every arm with its own start, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from orchestrator.comparison.bootstrap import Interval, mean_interval
from orchestrator.comparison.family import Family, certain
from orchestrator.comparison.summary import Estimate
from orchestrator.comparison.values import final_values, start_value
from orchestrator.storage.run_data import ArmRecords

ABOVE, BELOW = "above its start", "below its start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The end of an arm's runs against their start, over those that have both."""

    arm: str
    start: Estimate
    end: Estimate
    difference: float
    """End minus start."""
    difference_interval: Interval
    p: float
    p_adjusted: float
    """By Holm over all arms."""
    detectable: float
    """The smallest true change that so many seeds find with 80 % power; inf where they can find none."""
    verdict: str

    @property
    def num_pairs(self) -> int:
        return self.start.num

    @property
    def told(self) -> bool:
        """Whether chance does not explain the change."""
        return self.verdict in (ABOVE, BELOW)


def progress(arms: Sequence[ArmRecords], metric: str) -> list[Progress]:
    """Every arm, in the order of the arms, from ended runs.

    There is a verdict only if it is the same with 0 in the evaluations that stopped runs never reached.
    """
    return certain(arms, lambda worst: _progress(arms, metric, worst=worst))


def _progress(arms: Sequence[ArmRecords], metric: str, *, worst: bool) -> list[Progress]:
    ends = iter(final_values([run for arm in arms for run in arm.over], metric, worst=worst))
    of_arm = {}
    for arm in arms:
        both = [(start_value(run, metric), next(ends)) for run in arm.over]
        of_arm[arm.name] = np.array([pair for pair in both if all(map(isfinite, pair))]).reshape(-1, 2)
    family = Family.of({name: pairs[:, 1] - pairs[:, 0] for name, pairs in of_arm.items()})
    rows = []
    for name, pairs in of_arm.items():
        changes = family.differences[name]
        rows.append(
            Progress(
                arm=name,
                start=Estimate(tuple(pairs[:, 0])),
                end=Estimate(tuple(pairs[:, 1])),
                difference=float(changes.mean()) if changes.size else nan,
                difference_interval=mean_interval(changes),
                p=family.p[name],
                p_adjusted=family.adjusted[name],
                detectable=family.detectable(name),
                verdict=family.verdict(name, ABOVE, BELOW) if changes.size else "no ended run has both",
            )
        )
    return rows
