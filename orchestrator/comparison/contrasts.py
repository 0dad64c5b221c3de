"""Compares every arm with a baseline: one figure per run, paired over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from orchestrator.comparison.bootstrap import Interval, mean_interval
from orchestrator.comparison.differences import cliffs_delta, hedges_gz
from orchestrator.comparison.family import Family, certain
from orchestrator.comparison.summary import Estimate
from orchestrator.comparison.values import final_values, start_value
from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.storage.run_data import ArmRecords, RunRecords

DEFAULT_METRIC = "eval/pass_at_1"
HIGHER, LOWER, BASELINE = "higher", "lower", "baseline"
CONTROL_METHOD = "grpo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One arm against the baseline; differences are arm minus baseline, seed by seed."""

    arm: str
    start: Estimate
    """The start of its runs."""
    estimate: Estimate
    interval: Interval
    """95 % interval of the arm's mean."""
    num_pairs: int
    """Seeds that both have; 0 for the baseline itself."""
    difference: float
    difference_interval: Interval
    p: float
    p_adjusted: float
    """By Holm over all arms that could be tested."""
    effect: float
    """Cohen's d_z of the paired differences, corrected for few pairs."""
    detectable: float
    """The smallest true difference that so many pairs find with 80 % power; inf where they can find none."""
    delta: float
    """Cliff's delta, of the two samples."""
    verdict: str
    """What may be said; where there are too few seeds to say anything, that."""

    @property
    def told(self) -> bool:
        """Whether chance does not explain the difference."""
        return self.verdict in (HIGHER, LOWER)


def baseline_of(arms: Sequence[ArmRecords], wanted: str | None = None) -> str:
    """The arm that others are compared with: the requested one, else plain GRPO, else the first.

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


def require_metric(arms: Sequence[ArmRecords], metric: str) -> None:
    """Make sure that every arm has the metric in its finished runs, or in those that it has while none is.

    An arm that has recorded nothing yet may still record it, so it passes.

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


def contrasts(arms: Sequence[ArmRecords], metric: str, baseline: str) -> list[Contrast]:
    """The baseline and every other arm against it, in the order of the arms, from ended runs.

    The value of a run that a guardrail stopped is uncertain (see `values`), so there is a verdict only if it is
    the same with 0 in the evaluations that the run never reached.
    """
    return certain(arms, lambda worst: _contrasts(arms, metric, baseline, worst=worst))


def _contrasts(arms: Sequence[ArmRecords], metric: str, baseline: str, *, worst: bool) -> list[Contrast]:
    ends = iter(final_values([run for arm in arms for run in arm.over], metric, worst=worst))
    values = {arm.name: {run.info.seed: next(ends) for run in arm.over} for arm in arms}
    paired = {arm.name: pairs(values[arm.name], values[baseline]) for arm in arms if arm.name != baseline}
    family = Family.of({name: one - other for name, (one, other) in paired.items()})
    rows = []
    for arm in arms:
        estimate = Estimate(tuple(values[arm.name].values()))
        one, other = paired.get(arm.name, (np.array([]), np.array([])))
        difference = one - other
        if arm.name == baseline:
            verdict = BASELINE
        elif difference.size == 0:
            verdict = _unpaired(values[arm.name], values[baseline])
        else:
            verdict = family.verdict(arm.name, HIGHER, LOWER)
        row = Contrast(
            arm=arm.name,
            start=Estimate(tuple(start_value(run, metric) for run in arm.over)),
            estimate=estimate,
            interval=mean_interval(estimate.values),
            num_pairs=int(difference.size),
            difference=float(difference.mean()) if difference.size else nan,
            difference_interval=mean_interval(difference),
            p=family.p.get(arm.name, nan),
            p_adjusted=family.adjusted.get(arm.name, nan),
            effect=hedges_gz(difference),
            detectable=family.detectable(arm.name) if difference.size else nan,
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


def _metrics(run: RunRecords) -> set[str]:
    return {*run.train.values, *run.evaluation.values}
