"""What the records of a candidate's seeds come to, simulated or trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from controllers.plants.plant import Plant
from orchestrator.configuration.models import LoopConfig
from orchestrator.tuning.constraints import violations
from orchestrator.tuning.models import ConstraintsConfig
from orchestrator.tuning.objectives import Objective, SeedRecord
from orchestrator.tuning.sensitivity import sensitivity

LARGEST = 1e6
"""Violations stop here: JSON has no infinity, and the dashboard reads JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Values and violations of one candidate."""

    values: tuple[float, ...]
    """One an objective, the mean over seeds; not finite where the records do not tell."""

    violations: Mapping[str, float]
    """By constraint, the worst over seeds; positive is violated."""

    @property
    def is_feasible(self) -> bool:
        """Whether nothing is violated."""
        return all(value <= 0 for value in self.violations.values())

    @property
    def has_values(self) -> bool:
        """Whether every objective could be told."""
        return all(isfinite(value) for value in self.values)


def verdict(
    records: Sequence[SeedRecord], objectives: Sequence[Objective], constraints: ConstraintsConfig
) -> Verdict:
    """Means of the objectives and worst violations over the seeds."""
    with np.errstate(over="ignore", invalid="ignore"):  # an unstable loop may run out of floats
        values = tuple(float(np.mean([each.of(record) for record in records])) for each in objectives)
        found = [violations(record, constraints) for record in records]
    names = found[0].keys() if found else ()
    return Verdict(
        values=values, violations={name: _bounded(max(each[name] for each in found)) for name in names}
    )


def before_training(loop: LoopConfig, plant: Plant | None, bound: float | None) -> dict[str, float]:
    """The violation of the bound on Ms; empty where none is asked for."""
    if bound is None or plant is None:
        return {}
    return {"sensitivity": _bounded(sensitivity(loop, plant) - bound)}


def _bounded(value: float) -> float:
    return min(max(value, -LARGEST), LARGEST)
