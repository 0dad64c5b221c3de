"""The score of a candidate from its records, trained or simulated, and the search on a plant.

A violation is positive where a bound is exceeded, as Optuna has it.  Collapse and explosion are those of the
guardrails (`controllers.guardrails`), with the bounds of the study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, cast

import numpy as np

from controllers.base import State, Trace
from controllers.guardrails.collapse import Collapse
from controllers.guardrails.explosion import Explosion
from controllers.laws.pid import PID
from controllers.loop import FeedbackLoop
from controllers.parts.filters import Hold
from controllers.plants.plant import Plant
from controllers.plants.simulation import simulate_many
from orchestrator.configuration.loops import LoopConfig
from orchestrator.tuning.addressed_sampling import quiet, simulation_sampler
from orchestrator.tuning.criteria import Criterion, SeedRecord
from orchestrator.tuning.models import ConstraintsConfig
from orchestrator.tuning.space import Params, suggest
from orchestrator.tuning.study import Study

BATCH = 64
"""Candidates that are simulated together: their loops are stepped one by one, their plants at once."""
LARGEST = 1e6
"""Violations stop here: JSON has no infinity, and the dashboard reads JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Values and violations of one candidate."""

    values: tuple[float, ...]
    """One a criterion, the mean over seeds; not finite where the records do not tell."""
    violations: Mapping[str, float]
    """By constraint, the worst over seeds; positive is violated."""

    @property
    def is_feasible(self) -> bool:
        """Whether nothing is violated."""
        return all(value <= 0 for value in self.violations.values())

    @property
    def has_values(self) -> bool:
        """Whether the records tell every criterion."""
        return all(isfinite(value) for value in self.values)


def score(
    records: Sequence[SeedRecord], criteria: Sequence[Criterion], constraints: ConstraintsConfig
) -> Score:
    """Means of the criteria and worst violations over the seeds."""
    with np.errstate(over="ignore", invalid="ignore"):  # an unstable loop may run out of floats
        values = tuple(float(np.mean([each.of(record) for record in records])) for each in criteria)
        found = [violations(record, constraints) for record in records]
    names = found[0].keys() if found else ()
    worst = {name: _bounded(max(each[name] for each in found)) for name in names}
    return Score(values=values, violations=worst)


def violations(record: SeedRecord, settings: ConstraintsConfig) -> dict[str, float]:
    """Worst excess over each bound on entropy so far [nats/token]; −inf while there is too little record."""
    found: dict[str, float] = {}
    if settings.collapse is not None:
        found["collapse"] = settings.collapse.detector(Collapse).worst(record.reading, record.r)
    if settings.explosion is not None:
        found["explosion"] = settings.explosion.detector(Explosion).worst(record.reading, record.r)
    return found


def before_training(loop: LoopConfig, plant: Plant | None, bound: float | None) -> dict[str, float]:
    """The violation of the bound on Ms; empty where there is no bound."""
    if bound is None or plant is None:
        return {}
    return {"sensitivity": _bounded(sensitivity(loop, plant) - bound)}


def sensitivity(loop: LoopConfig, plant: Plant) -> float:
    """The sensitivity peak Ms = max over frequency of |1 / (1 + L)|; inf where the loop is unstable."""
    from controllers.design.frequency import sensitivity_peak
    from controllers.design.transfer import close_law

    assert isinstance(loop.law, PID)
    plant = replace(plant, b=tuple(b * loop.unit for b in plant.b))  # per what the law counts as 1
    return float(sensitivity_peak(close_law(plant, loop.law, loop.filter)).max())


def why_no_sensitivity(loop: LoopConfig) -> str | None:
    """Why linear theory says nothing about a loop; None where it does."""
    if not isinstance(loop.law, PID):
        return f"is known of 'pid' laws only, and the space has {loop.law.kind!r}; leave it out"
    if loop.period != 1:
        return f"is known of loops with period 1 only, got {loop.period}; leave it out"
    return None


def judge(study: Study, candidates: Sequence[Params], seeds: Sequence[int] | None = None) -> list[Score]:
    """Simulate candidates on the plant of stage one, all with the same noise: stage one's, or that of ``seeds``."""
    settings, start = study.config.simulation, study.start
    assert settings is not None
    assert start is not None
    seeds = range(settings.seeds) if seeds is None else seeds
    loops = [study.simulated_loop(params) for params in candidates]
    simulated = simulate_many(
        [_unfiltered(loop.build(**study.arm.config.timing)) for loop in loops],
        start.plant,
        settings.iterations or study.num_iterations,
        seeds,
        initial_nats=start.initial_nats,
        telemetry=study.telemetry,
    )
    constraints, scores = study.config.constraints, []
    for c, loop in enumerate(loops):
        records = [
            SeedRecord(
                reading=simulated.y[c, s],
                r=simulated.r[c, s],
                u=simulated.u[c, s],
                dead_time=start.plant.dead_time,
            )
            for s in range(len(seeds))
        ]
        found = score(records, study.simulated_criteria, constraints)
        known = before_training(loop, start.plant, constraints.sensitivity)
        scores.append(replace(found, violations={**found.violations, **known}))
    return scores


def search(study: Study) -> Any:
    """Search the space on the plant; gives an Optuna study in memory, complete.

    The same study file gives the same trials: the sampler and the plant's noise have fixed seeds.
    """
    import optuna

    settings = study.config.simulation
    assert settings is not None
    quiet()
    found = optuna.create_study(
        directions=[each.direction for each in study.simulated_criteria],
        sampler=simulation_sampler(settings.sampler, study.config.sampler.seed),
    )
    left = settings.trials
    while left:
        trials = [found.ask() for _ in range(min(BATCH, left))]
        candidates = [suggest(trial, study.config.space) for trial in trials]
        for trial, result in zip(trials, judge(study, candidates), strict=True):
            for name, violation in result.violations.items():
                trial.set_constraint(name, violation)
            if result.has_values:
                found.tell(trial, list(result.values))
            else:
                found.tell(trial, state=optuna.trial.TrialState.FAIL)
        left -= len(trials)
    return found


@dataclass(frozen=True)
class _Unfiltered:
    """A loop whose trace has the sensor's own reading for ``y``: a filter must not flatter the error."""

    loop: FeedbackLoop

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)

    def step(self, state: State, telemetry: Mapping[str, float], t: int) -> tuple[State, Trace]:
        state, trace = self.loop.step(state, telemetry, t)
        return state, replace(trace, y=telemetry[self.loop.sensor])


def _unfiltered(loop: FeedbackLoop) -> FeedbackLoop:
    return loop if isinstance(loop.filter, Hold) else cast("FeedbackLoop", _Unfiltered(loop))


def _bounded(value: float) -> float:
    return min(max(value, -LARGEST), LARGEST)
