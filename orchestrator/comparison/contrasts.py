"""Every arm against a baseline: one figure of each run, paired over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from orchestrator.comparison.bootstrap import Interval, mean_interval
from orchestrator.comparison.differences import (
    cliffs_delta,
    cohens_dz,
    holm,
    pairs_needed,
    permutation_p,
    smallest_p,
)
from orchestrator.comparison.summary import Estimate, final, last
from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.storage.run_data import Arm, Run

DEFAULT_METRIC = "eval/pass_at_1"
LEVEL = 0.05  # of the family of all arms against the baseline
CONTROL_METHOD = "grpo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One arm against the baseline; differences are arm minus baseline, seed by seed."""

    arm: str
    estimate: Estimate
    interval: Interval
    """95 % bootstrap interval of the arm's mean."""
    num_pairs: int
    """Seeds that both have; 0 for the baseline itself."""
    difference: float
    difference_interval: Interval
    p: float
    p_adjusted: float
    """By Holm over all arms that could be tested."""
    effect: float
    """Cohen's d_z, of the paired differences."""
    delta: float
    """Cliff's delta, of the two samples."""
    verdict: str
    """What may be said; where there are too few seeds to say anything, that."""


def final_value(run: Run, metric: str) -> float:
    """An exam's metric after the last iteration; a training metric as the mean over its last tenth."""
    if metric.startswith("eval/"):
        return last(run.evaluation.get(metric))
    return final(run.train.get(metric))


def baseline_of(arms: Sequence[Arm], wanted: str | None = None) -> str:
    """The arm that others are held against: the one asked for, or the plain GRPO one, or the first.

    Raises:
        ConfigError: no arm has the name asked for.
    """
    names = [arm.name for arm in arms]
    if wanted is not None:
        if wanted not in names:
            raise ConfigError(f"no arm {wanted!r} to compare with; {did_you_mean(wanted, names)}")
        return wanted
    plain = [arm.name for arm in arms if CONTROL_METHOD in (arm.name, arm.method)]
    return (plain or names or [""])[0]


def require_metric(arms: Sequence[Arm], metric: str) -> None:
    """Make sure that every arm has the metric in its finished runs, or in those that it has while none is.

    Of an arm that has recorded nothing yet nobody can say whether it is going to.

    Raises:
        ConfigError: with the arms that lack it, or where no run at all has it.
    """
    recorded = {arm.name: [run for run in arm.shown if _metrics(run)] for arm in arms}
    having = [name for name, runs in recorded.items() if any(metric in _metrics(run) for run in runs)]
    lacking = [name for name, runs in recorded.items() if runs and name not in having]
    if having and not lacking:
        return
    who = f"runs of {', '.join(lacking)} lack" if having else "no run has"
    known = {name for arm in arms for run in arm.runs for name in _metrics(run)}
    raise ConfigError(f"{who} the metric {metric!r}; {did_you_mean(metric, known)}")


def contrasts(arms: Sequence[Arm], metric: str, baseline: str) -> list[Contrast]:
    """The baseline and every other arm against it, in the order of the arms, from finished runs."""
    values = {arm.name: {run.info.seed: final_value(run, metric) for run in arm.done} for arm in arms}
    paired = {arm.name: pairs(values[arm.name], values[baseline]) for arm in arms if arm.name != baseline}
    p_values = {
        name: permutation_p(one - other) if one.size > 1 else nan for name, (one, other) in paired.items()
    }
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    num_tests = sum(isfinite(p) for p in p_values.values())
    rows = []
    for arm in arms:
        estimate = Estimate(tuple(values[arm.name].values()))
        one, other = paired.get(arm.name, (np.array([]), np.array([])))
        difference = one - other
        p, p_adjusted = p_values.get(arm.name, nan), adjusted.get(arm.name, nan)
        if arm.name == baseline:
            verdict = "baseline"
        elif difference.size == 0:
            verdict = _unpaired(values[arm.name], values[baseline])
        else:
            verdict = _verdict(difference, p_adjusted, num_tests)
        row = Contrast(
            arm=arm.name,
            estimate=estimate,
            interval=mean_interval(estimate.values),
            num_pairs=int(difference.size),
            difference=float(difference.mean()) if difference.size else nan,
            difference_interval=mean_interval(difference),
            p=p,
            p_adjusted=p_adjusted,
            effect=cohens_dz(difference),
            delta=cliffs_delta(one, other),
            verdict=verdict,
        )
        rows.append(row)
    return rows


def pairs(one: dict[int, float], other: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    """Values of the seeds that both have, in the order of the seeds."""
    common = sorted(
        seed for seed in one.keys() & other.keys() if isfinite(one[seed]) and isfinite(other[seed])
    )
    return np.array([one[seed] for seed in common]), np.array([other[seed] for seed in common])


def _unpaired(own: dict[int, float], baseline: dict[int, float]) -> str:
    """Why there is no pair to say anything of."""
    if not own:
        return "no finished run"
    if not any(map(isfinite, own.values())):
        return "no finished run has the metric"
    if not any(map(isfinite, baseline.values())):
        return "no finished run of the baseline has the metric"
    return "no seed in common"


def _verdict(difference: np.ndarray, p_adjusted: float, num_tests: int) -> str:
    if difference.size == 1:
        return "one seed in common: chance cannot be told from effect"
    if p_adjusted <= LEVEL:
        return "higher" if difference.mean() > 0 else "lower"
    least = num_tests * smallest_p(difference.size)
    if least > LEVEL:
        needed = pairs_needed(LEVEL, num_tests)
        return f"too few seeds: {difference.size} give no p below {min(1.0, least):.3g}, {needed} could"
    return "not told apart"


def _metrics(run: Run) -> set[str]:
    return {*run.train.values, *run.evaluation.values}
