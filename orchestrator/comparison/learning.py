"""Speed and breadth of learning: iterations to a pass rate, pass@k over k, shares of the held-out problems."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, inf, isfinite, nan

import numpy as np

from controllers.quality.asymptote import Asymptote, fit_asymptote
from orchestrator.comparison.bootstrap import (
    BOOTSTRAP,
    FEWEST_RESAMPLED,
    Interval,
    mean_bands,
    mean_interval,
    stratified_interval,
)
from orchestrator.comparison.profiles import interquartile_mean, performance_profile
from orchestrator.comparison.summary import Estimate
from orchestrator.comparison.values import final_values, start_value
from orchestrator.storage.run_data import ArmRecords, Array, RunRecords

SMOOTHING = 5  # iterations: a training batch is small, so one of them reaches by luck
TARGETS_IN_ONE = 20  # targets are read, so they are round
THRESHOLDS = np.linspace(0.0, 1.0, 101)
STRATA = ("domain", "difficulty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """How soon an arm reaches a held-out pass rate."""

    arm: str
    iterations: tuple[float, ...]
    """One a run; inf where it never did, nan where it was never evaluated."""
    area: Estimate
    """Mean of the metric over training, weighted by iterations: what reaching early is worth in all."""

    @property
    def num_reached(self) -> int:
        return sum(isfinite(value) for value in self.iterations)

    @property
    def median(self) -> float:
        """Over runs, those that never did as the longest; inf where that is the middle."""
        known = sorted(value for value in self.iterations if value == value)
        if not known:
            return nan
        low, high = known[(len(known) - 1) // 2], known[len(known) // 2]
        return (low + high) / 2 if isfinite(high) else inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """All parts of the evaluation in one picture: share of (run, part) that score above each threshold."""

    arm: str
    share: Array
    low: Array
    high: Array
    middle: float
    """Interquartile mean over runs and parts."""
    middle_interval: Interval
    """By the bootstrap; nan for fewer than eight runs, of which it would be too narrow."""
    num_parts: int


def iterations_to(run: RunRecords, metric: str, target: float) -> float:
    """The first iteration with the metric at the target; inf if there is none, nan without the metric.

    A run that a guardrail stopped before it was ever measured did not get there.
    """
    steps, values = _course(run, metric)
    reached = values >= target
    if not values.size:
        return inf if run.stopped else nan
    return float(steps[np.argmax(reached)]) if reached.any() else inf


def area_under_curve(run: RunRecords, metric: str) -> float:
    """Mean of the metric over the iterations, by trapezia; nan for fewer than two of its values.

    A run that a guardrail stopped keeps its last value for the iterations that it did not have.
    """
    steps, values = _course(run, metric)
    if run.stopped and steps.size and steps[-1] < run.status.num_iterations:
        steps, values = np.append(steps, run.status.num_iterations), np.append(values, values[-1])
    if steps.size < 2:
        return nan
    return float(np.trapezoid(values, steps) / (steps[-1] - steps[0]))


def default_target(arms: Sequence[ArmRecords], baseline: str, metric: str) -> float:
    """The final value of the baseline, rounded down to a twentieth; nan if it was not evaluated."""
    runs = [run for arm in arms if arm.name == baseline for run in arm.over]
    mean = Estimate(final_values(runs, metric)).mean
    # Divided, for 12 · 0.05 is above 0.6, which the baseline itself would never reach.
    return floor(mean * TARGETS_IN_ONE + 1e-9) / TARGETS_IN_ONE if isfinite(mean) else nan


def efficiency(arm: ArmRecords, metric: str, target: float) -> Efficiency:
    """How soon an arm's ended runs reached the target."""
    return Efficiency(
        arm=arm.name,
        iterations=tuple(iterations_to(run, metric, target) for run in arm.over),
        area=Estimate(tuple(area_under_curve(run, metric) for run in arm.over)),
    )


def asymptote(arm: ArmRecords) -> Asymptote:
    """The sigmoid of training reward over iterations, all runs of an arm together."""
    rewards = [run.train.get("reward") for run in arm.shown]
    iterations = [run.train.steps + 1.0 for run in arm.shown]
    start = Estimate(tuple(start_value(run, "reward") for run in arm.shown)).mean
    return fit_asymptote(
        np.concatenate([np.array([]), *iterations]), np.concatenate([np.array([]), *rewards]), start
    )


def pass_at_k(arm: ArmRecords) -> dict[int, tuple[Estimate, Interval]]:
    """The final sampled pass@k for every k that was evaluated, 1 included, each with its interval.

    k = 1 is the mean over samples at the rollout temperature, not the greedy `eval/pass_at_1`.
    """
    names = {1: "eval/pass_rate"}
    for run in arm.over:
        for name in run.evaluation.values:
            match = re.fullmatch(r"eval/pass_at_(\d+)", name)
            if match and int(match[1]) > 1:
                names[int(match[1])] = name
    curve = {}
    for k, name in sorted(names.items()):
        estimate = Estimate(final_values(arm.over, name))
        if estimate.num:
            curve[k] = (estimate, mean_interval(estimate.values))
    return curve


def strata(arms: Sequence[ArmRecords], metric: str) -> list[str]:
    """Names of the metric on parts of the evaluation that every arm has: its domains if several, or difficulties.

    Empty if the evaluation has only one part, or runs were evaluated on different ones.
    """
    _, _, stem = metric.rpartition("/")
    for family in STRATA:
        pattern = re.compile(rf"eval/{family}/[^/]+/{re.escape(stem)}")
        of_arms = [
            {name for run in arm.over for name in run.evaluation.values if pattern.fullmatch(name)}
            for arm in arms
            if arm.over
        ]
        common = set.intersection(*of_arms) if of_arms else set()
        if len(common) > 1:
            return sorted(common)
    return []


def profile(arm: ArmRecords, names: Sequence[str]) -> Profile | None:
    """The profile of an arm over parts of the evaluation; None if none of its runs has all of them."""
    rows = np.column_stack([np.empty((len(arm.over), 0)), *(final_values(arm.over, name) for name in names)])
    scores = rows[np.isfinite(rows).all(axis=1)]
    if not scores.size:
        return None
    shares = performance_profile(scores[:, None, :], THRESHOLDS)  # of each run: [n, T]
    low, high = mean_bands(shares)
    middle = Interval()
    if scores.shape[0] >= FEWEST_RESAMPLED:
        ends = stratified_interval(scores, interquartile_mean, joint=True)
        middle = Interval(float(ends[0]), float(ends[1]), BOOTSTRAP)
    return Profile(
        arm=arm.name,
        share=performance_profile(scores, THRESHOLDS),
        low=np.clip(low, 0.0, 1.0),
        high=np.clip(high, 0.0, 1.0),
        middle=float(interquartile_mean(scores)),
        middle_interval=middle,
        num_parts=len(names),
    )


def _course(run: RunRecords, metric: str) -> tuple[Array, Array]:
    """Steps and finite values: unchanged for an evaluation, the mean of the last five for a training metric."""
    series = run.evaluation if metric.startswith("eval/") else run.train
    values = series.get(metric)
    known = np.isfinite(values)
    steps, values = series.steps[known].astype(float), values[known]
    if series is run.train and values.size:
        window = min(SMOOTHING, values.size)
        values = np.convolve(values, np.full(window, 1 / window), "valid")
        steps = steps[window - 1 :]
    return steps, values
