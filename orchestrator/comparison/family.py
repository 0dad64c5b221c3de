"""Tests several arms at once: one paired sign-flip test per arm, Holm's correction over them, one verdict each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any, TypeVar

import numpy as np

from orchestrator.comparison.differences import Array, holm, permutation_p, smallest_p
from orchestrator.comparison.power import USUAL_EFFECT, detectable_effect, pairs_for
from orchestrator.storage.run_data import ArmRecords

LEVEL = 0.05  # of the family of all arms together
NOT_TOLD = "no difference detected"

Row = TypeVar("Row", bound=Any)
"""A frozen dataclass with a ``verdict``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The tests of some arms, by arm; an arm with fewer than two differences is in no test."""

    differences: Mapping[str, Array]
    p: Mapping[str, float]
    adjusted: Mapping[str, float]
    """By Holm."""

    @classmethod
    def of(cls, differences: Mapping[str, Array]) -> Family:
        """Test the differences of each arm."""
        p = {name: permutation_p(each) if each.size > 1 else nan for name, each in differences.items()}
        return cls(differences=differences, p=p, adjusted=dict(zip(p, holm(list(p.values())), strict=True)))

    @property
    def num_tests(self) -> int:
        return sum(map(isfinite, self.p.values()))

    @property
    def first_level(self) -> float:
        """What p of one arm has to be below whatever that of the others is: the first step of Holm's."""
        return LEVEL / max(1, self.num_tests)

    def detectable(self, arm: str) -> float:
        """The smallest true difference that the seeds of an arm find with 80 % power, given its spread.

        In the unit of the differences; inf where so few seeds find none, nan without a spread.
        """
        own = self.differences[arm]
        spread = float(own.std(ddof=1)) if own.size > 1 else nan
        return detectable_effect(own.size, self.first_level) * spread if spread > 0 else nan

    def verdict(self, arm: str, up: str, down: str) -> str:
        """What may be said of an arm, ``up`` or ``down`` where chance does not explain its difference."""
        own = self.differences[arm]
        if own.size == 1:
            return "one seed: chance cannot be ruled out"
        if self.adjusted[arm] <= LEVEL:
            return up if np.mean(own) > 0 else down
        least = self.num_tests * smallest_p(own.size)
        if least > LEVEL:
            return f"too few seeds: {own.size} give no p below {min(1.0, least):.3g}; {self._plan()}"
        return NOT_TOLD

    def _plan(self) -> str:
        """How many seeds it takes, for an effect of one standard deviation."""
        num = pairs_for(USUAL_EFFECT, self.first_level)
        return f"{num} find an effect of d_z = {USUAL_EFFECT:g} in 80 % of cases"


def certain(arms: Sequence[ArmRecords], rows_of: Callable[[bool], list[Row]]) -> list[Row]:
    """The rows of a table of arms, each with its verdict only if that does not rest on the values of stopped runs.

    ``rows_of`` computes them, given whether the evaluations that such runs never reached count as 0 (see `values`).
    """
    rows = rows_of(False)
    if not any(run.stopped for arm in arms for run in arm.over):
        return rows
    return [
        replace(row, verdict=_agreed(row.verdict, worst.verdict))
        for row, worst in zip(rows, rows_of(True), strict=True)
    ]


def _agreed(verdict: str, worst: str) -> str:
    if verdict == worst:
        return verdict
    return f"no verdict: {verdict}, but {worst} with 0 in the evaluations that stopped runs never reached"
