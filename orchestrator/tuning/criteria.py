"""Criteria that trials are judged by: pure functions from the record of one seed to a number.

The record may be that of a run that still trains.  Then the number is of what there is so far, and comparable to that
of another run of the same length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from controllers.quality.harris import harris_index
from controllers.quality.quality import effort, hold_error, iae_nats, mean, relative_rmse, rmse_nats
from orchestrator.errors import did_you_mean

Array = NDArray[np.float64]
Direction = Literal["minimize", "maximize"]

_PASS_AT = re.compile(r"pass_at_(\d+)(_area)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRecord:
    """The record of one run, trained or simulated; the first three have one entry an iteration."""

    reading: Array
    """The loop's sensor before its filter [nats/token]: a filter must not flatter the tracking error."""
    r: Array
    """Setpoint [nats/token]."""
    u: Array
    """Command [actuator's unit]."""
    dead_time: int = 1
    """Iterations from a command to its first effect, of the plant that the loop names; 1 without one."""
    reward: Array = field(default_factory=lambda: np.array([]))
    """Mean reward of the training responses; empty for a simulated run."""
    evaluations: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    """Held-out metrics by name, each its iterations and its values; empty for a simulated run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A figure of merit of a run, named by the YAML key ``objective`` of a study."""

    name: str
    direction: Direction
    unit: str
    meaning: str
    """One line, for `entrostat list study_objectives`."""
    of: Callable[[SeedRecord], float]
    """The figure of a record; nan where the record does not tell."""
    simulable: bool
    """Whether a plant tells it: the figure needs nothing but reading, setpoint and command."""
    needs_setpoint: bool = False
    k: int | None = None
    """Samples of each problem, of pass@k."""


def criterion(name: str) -> Criterion:
    """A criterion by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name in _FIXED:
        return _FIXED[name]
    match = _PASS_AT.fullmatch(name)
    if match is None or int(match[1]) < 1:
        known = [*_FIXED, "pass_at_1", "pass_at_1_area", "pass_at_<k>", "pass_at_<k>_area"]
        raise ValueError(f"unknown criterion {name!r}; {did_you_mean(name, known)}")
    return _pass_at(name, int(match[1]), over_training=bool(match[2]))


def described() -> dict[str, Criterion]:
    """Every criterion by its name; ``<k>`` in a name stands for a number."""
    return _FIXED | {
        name: _pass_at(name, k, over_training=name.endswith("_area"))
        for k, number in ((1, "1"), (2, "<k>"))
        for name in (f"pass_at_{number}", f"pass_at_{number}_area")
    }


def _pass_at(name: str, k: int, *, over_training: bool) -> Criterion:
    metric, of = f"eval/pass_at_{k}", area if over_training else last

    def figure(record: SeedRecord) -> float:
        return of(*record.evaluations.get(metric, (np.array([]), np.array([]))))

    share = "solved by the greedy response" if k == 1 else "solved by at least one of k samples"
    when = "mean height of its curve over training" if over_training else "in the last evaluation"
    return Criterion(
        name=name,
        direction="maximize",
        unit="fraction",
        meaning=f"held-out problems {share}, {when}",
        of=figure,
        simulable=False,
        k=k,
    )


def last(steps: Array, values: Array) -> float:
    """The last value; nan without any."""
    return float(values[-1]) if steps.size else nan


def area(steps: Array, values: Array) -> float:
    """Mean height of the curve through the points: its area over its length; a point alone is its height."""
    if steps.size < 2:
        return last(steps, values)
    return float(np.trapezoid(values, steps) / (steps[-1] - steps[0]))


def _of_error(name: str, unit: str, meaning: str, of: Callable[[SeedRecord], float]) -> Criterion:
    return Criterion(
        name=name,
        direction="minimize",
        unit=unit,
        meaning=meaning,
        of=of,
        simulable=True,
        needs_setpoint=True,
    )


_FIXED: dict[str, Criterion] = {
    each.name: each
    for each in (
        _of_error(
            "iae",
            "nats/token · iterations",
            "sum of absolute errors: how far from the setpoint for how long",
            lambda record: iae_nats(record.reading, record.r),
        ),
        _of_error(
            "rmse",
            "nats/token",
            "root of the mean squared error: large errors count more than small ones",
            lambda record: rmse_nats(record.reading, record.r),
        ),
        _of_error(
            "relative_rmse",
            "share of the setpoint",
            "rmse of the error over the setpoint, for setpoints that move",
            lambda record: relative_rmse(record.reading, record.r),
        ),
        _of_error(
            "hold_error",
            "share of the setpoint",
            "relative_rmse of the last quarter: how well it holds, however it got there",
            lambda record: hold_error(record.reading, record.r),
        ),
        _of_error(
            "harris_index",
            "–",
            "mean squared error of the last half over the least that noise and the plant's delay allow (delay 1 where "
            "the loop names no plant); 1 is best",
            lambda record: harris_index(record.reading, record.r, record.dead_time),
        ),
        Criterion(
            name="effort",
            direction="minimize",
            unit="the actuator's",
            meaning="sum of absolute changes of the command from one iteration to the next",
            of=lambda record: effort(record.u),
            simulable=True,
        ),
        Criterion(
            name="reward_area",
            direction="maximize",
            unit="reward",
            meaning="mean training reward over all iterations: fast and high learning",
            of=lambda record: mean(record.reward),
            simulable=False,
        ),
    )
}
