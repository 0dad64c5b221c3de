"""Summarises the records of runs as the figures of their arms.

An arm's figures come from its ended runs, one value per run, with the sample standard deviation over
seeds as their spread; the spread of one seed is unknown (nan), not 0.  A run that a guardrail stopped counts
with the values that it has (see `values`).  Every other unfinished run is listed as unfinished.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import Any

import numpy as np

from controllers.parts.moving_references import ScheduledBand
from controllers.plants.plant import Plant
from controllers.quality.entropy_law import predict_rest
from controllers.quality.harris import harris_index
from controllers.quality.quality import hold_error, mean, rmse_nats, settling_iteration, tail
from orchestrator.comparison.values import (
    FINAL_FRACTION,
    START_ITERATIONS,
    final,
    final_values,
    start_value,
)
from orchestrator.storage.run_data import (
    ArmRecords,
    Array,
    RunRecords,
    sensed,
    sensor,
    setpoint,
)

SETTLING_TOLERANCE = 0.1  # of the setpoint
SETTLING_WINDOW = (
    5  # readings in the moving mean that has to settle, so that noise does not count against a loop
)


@dataclass(frozen=True)
class Estimate:
    """A figure over seeds: one value a run, nan where the run has none."""

    values: tuple[float, ...]

    @cached_property
    def finite(self) -> Array:
        values: Array = np.array(self.values, dtype=float)
        return values[np.isfinite(values)]

    @property
    def num(self) -> int:
        return int(self.finite.size)

    @property
    def mean(self) -> float:
        return float(self.finite.mean()) if self.num else nan

    @property
    def std(self) -> float:
        """Sample standard deviation; nan for fewer than two values."""
        return float(self.finite.std(ddof=1)) if self.num > 1 else nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of one arm; every estimate is nan where the arm has nothing to measure."""

    arm: str
    method: str
    num_done: int
    num_stopped: int  # by a guardrail
    num_runs: int
    seeds: tuple[int, ...]  # of the runs that have ended, in the order of every estimate's values
    pass_at_1: Estimate  # greedy, held out, final
    pass_at_k: Estimate  # sampled, held out, final
    k: int  # of pass_at_k; 0 where there is none
    pass_at_1_start: Estimate
    entropy_start: Estimate  # nats/token, first iterations
    entropy_final: Estimate  # nats/token, last tenth
    sensor: str  # that the main loop reads; "" without a loop
    setpoint: Estimate  # in the sensor's unit, last tenth
    rmse: Estimate  # nats/token, sensor against setpoint over the whole run
    hold_error: Estimate  # fraction of the setpoint, root mean square over the last quarter
    settling: Estimate  # iterations until the mean of five readings stays within 10 % of the setpoint
    saturation: Estimate  # share of iterations with the command at a limit of the loop or of its law
    harris: Estimate  # mean square error over the least that noise and delay allow, last half
    dead_time: int | None  # iterations that harris goes by; None: nothing tells them, and 1 was assumed
    band: tuple[float, float] | None  # nats/token, where the reference is a range and no setpoint
    inside: Estimate  # share of the last quarter's readings in the band
    change_correlation: Estimate  # between the predicted and the measured change of entropy, over iterations
    law_error: Estimate  # root mean square, of rewards predicted from entropy by the law of the first 15 %
    seconds: Estimate

    @property
    def num_over(self) -> int:
        """Runs that the figures are of."""
        return self.num_done + self.num_stopped

    @property
    def has_setpoint(self) -> bool:
        return self.setpoint.num > 0


def summarise(arm: ArmRecords) -> Summary:
    """The figures of one arm, from its ended runs."""
    k = max((largest_k(run) for run in arm.over), default=0)

    def over_seeds(figure: Callable[[RunRecords], float]) -> Estimate:
        return Estimate(tuple(figure(run) for run in arm.over))

    return Summary(
        arm=arm.name,
        method=arm.method,
        num_done=len(arm.done),
        num_stopped=sum(run.stopped for run in arm.over),
        num_runs=len(arm.runs),
        seeds=tuple(run.info.seed for run in arm.over),
        pass_at_1=Estimate(final_values(arm.over, "eval/pass_at_1")),
        pass_at_k=Estimate(final_values(arm.over, f"eval/pass_at_{k}")),
        k=k,
        pass_at_1_start=over_seeds(lambda run: start_value(run, "eval/pass_at_1")),
        entropy_start=over_seeds(lambda run: mean(run.train.get("entropy")[:START_ITERATIONS])),
        entropy_final=over_seeds(lambda run: final(run.train.get("entropy"))),
        sensor=sensor(arm.runs[0]) if arm.runs else "",
        setpoint=over_seeds(lambda run: final(setpoint(run))),
        rmse=over_seeds(lambda run: rmse_nats(sensed(run), setpoint(run))),
        hold_error=over_seeds(lambda run: hold_error(sensed(run), setpoint(run))),
        settling=over_seeds(settling),
        saturation=over_seeds(saturation),
        harris=over_seeds(harris),
        dead_time=dead_time(arm.runs[0]) if arm.runs else None,
        band=band(arm.runs[0]) if arm.runs else None,
        inside=over_seeds(inside_band),
        change_correlation=over_seeds(change_correlation),
        law_error=over_seeds(lambda run: predict_rest(*entropy_and_reward([run])).rmse),
        seconds=over_seeds(lambda run: run.seconds),
    )


def settling(run: RunRecords) -> float:
    """Iterations until the mean of five readings stays within 10 % of r; nan where that did not last the last tenth."""
    return settling_iteration(sensed(run), setpoint(run), SETTLING_TOLERANCE, SETTLING_WINDOW, FINAL_FRACTION)


def saturation(run: RunRecords) -> float:
    """Share of iterations with the command at a limit, or at the limit that its law's own memory has.

    A law with a memory of its own between limits asks for no more than they allow, so nothing is ever cut
    off its command; it is at its limit where the error pulls further and the command cannot follow.
    """
    loop, law = run.main_loop, _main_settings(run).get("law") or {}
    flags = run.train.get(f"loop/{loop}/saturated")
    if law.get("kind") != "increment":
        return mean(flags)
    u, e = run.train.get(f"loop/{loop}/u"), run.train.get(f"loop/{loop}/e")
    stuck = ((u >= law["high"]) & (e > 0)) | ((u <= law["low"]) & (e < 0))
    return mean(np.where(np.isfinite(flags), np.maximum(flags, stuck), nan))


def harris(run: RunRecords) -> float:
    """Harris index about the setpoint, with the dead time that is known, else 1."""
    if band(run) is not None or not np.isfinite(setpoint(run)).any():
        return nan
    return harris_index(sensed(run), setpoint(run), dead_time(run) or 1)


def dead_time(run: RunRecords) -> int | None:
    """Iterations from a command to its first effect, by the main loop's plant and the wait that its trace tells."""
    waits = run.train.get(f"loop/{run.main_loop}/dead_time")
    known = waits[np.isfinite(waits)]
    wait, plant = int(known[-1]) if known.size else 0, _main_settings(run).get("plant")
    if plant:
        return Plant(**plant).in_run(wait).dead_time
    return 1 + wait if wait else None


def band(run: RunRecords) -> tuple[float, float] | None:
    """The range that the main loop's reference is, where it is one: inside, nothing is asked of the loop.

    A band whose edges move has those of the last iteration.
    """
    edges = _edges(run)
    return None if edges is None else (float(edges[0][-1]), float(edges[1][-1]))


def inside_band(run: RunRecords) -> float:
    """Share of the last quarter's readings in the band; nan without one."""
    edges, y = _edges(run), sensed(run)
    if edges is None:
        return nan
    inside = np.where(np.isfinite(y), (y >= edges[0]) & (y <= edges[1]), nan)
    return mean(tail(inside))


def _edges(run: RunRecords) -> tuple[Array, Array] | None:
    """Lower and upper edge at each iteration, of one at the least; None where the reference is no range."""
    reference = dict(_main_settings(run).get("reference") or {})
    steps = run.train.steps if run.train.steps.size else np.zeros(1, dtype=np.int64)
    kind = reference.pop("kind", None)
    if kind == "band":
        low, high = float(reference["low_nats"]), float(reference["high_nats"])
        return np.full(steps.size, low), np.full(steps.size, high)
    if kind != "scheduled_band":
        return None
    moving = ScheduledBand(**reference)
    lows, highs = zip(*(moving.edges(int(t)) for t in steps), strict=True)
    return np.array(lows), np.array(highs)


def _main_settings(run: RunRecords) -> Mapping[str, Any]:
    """The main loop as it was configured."""
    settings: Mapping[str, Any] = (run.info.config.get("loops") or {}).get(run.main_loop) or {}
    return settings


def changes(run: RunRecords) -> tuple[Array, Array]:
    """Predicted change of entropy by each iteration's update, and the measured one: the next reading minus this.

    The prediction is in nats for a step of unit size and leaves out any actuator's push (see
    `policies.statistics.entropy_dynamics`), so only its sign and its shape over time can be compared.
    """
    predicted, entropy = run.train.get("entropy/predicted_change"), run.train.get("entropy")
    followed = np.diff(run.train.steps) == 1
    measured_change = np.diff(entropy)
    known = followed & np.isfinite(predicted[:-1]) & np.isfinite(measured_change)
    return predicted[:-1][known], measured_change[known]


def change_correlation(run: RunRecords) -> float:
    """Pearson correlation of the two over iterations; nan for fewer than three, or where one never changes."""
    predicted, measured_change = changes(run)
    if predicted.size < 3 or not (np.ptp(predicted) and np.ptp(measured_change)):
        return nan
    return float(np.corrcoef(predicted, measured_change)[0, 1])


def entropy_and_reward(runs: Sequence[RunRecords]) -> tuple[Array, Array]:
    """Both at every iteration of some runs that has both.

    The reward is the mean over training responses.  The entropy law's paper takes held-out performance;
    this one is there at every iteration, and of the very batch whose entropy was measured.
    """
    pairs = [(run.train.get("entropy"), run.train.get("reward")) for run in runs]
    entropy, reward = (np.concatenate([np.array([]), *(pair[i] for pair in pairs)]) for i in range(2))
    known = np.isfinite(entropy) & np.isfinite(reward)
    return entropy[known], reward[known]


def largest_k(run: RunRecords) -> int:
    """The largest k > 1 of the sampled held-out pass@k; 0 where there is none."""
    matches = [re.fullmatch(r"eval/pass_at_(\d+)", name) for name in run.evaluation.values]
    return max((k for match in matches if match and (k := int(match[1])) > 1), default=0)
