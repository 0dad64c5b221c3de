"""Stage one: candidates on an identified plant, a thousand in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from controllers.base import State, Trace
from controllers.loop import FeedbackLoop
from controllers.parts.filters import Hold
from controllers.plants.simulation import simulate_many
from orchestrator.tuning.objectives import SeedRecord
from orchestrator.tuning.search import quiet, simulation_sampler
from orchestrator.tuning.space import Params, suggest
from orchestrator.tuning.study import Study
from orchestrator.tuning.verdict import Verdict, before_training, verdict

BATCH = 64
"""Candidates that are simulated together: their loops are stepped one by one, their plants at once."""


def judge(study: Study, candidates: Sequence[Params], seeds: Sequence[int] | None = None) -> list[Verdict]:
    """Simulate candidates on the plant of stage one, all with the same noise: stage one's, or that of ``seeds``."""
    settings, start = study.config.simulation, study.start
    assert settings is not None
    assert start is not None
    seeds = range(settings.seeds) if seeds is None else seeds
    loops = [study.simulated_loop(params) for params in candidates]
    simulated = simulate_many(
        [_unfiltered(loop.build()) for loop in loops],
        start.plant,
        settings.iterations or study.num_iterations,
        seeds,
        initial_nats=start.initial_nats,
        telemetry=study.telemetry,
    )
    constraints = study.config.constraints
    verdicts = []
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
        found = verdict(records, study.simulated_objectives, constraints)
        known = before_training(loop, start.plant, constraints.sensitivity)
        verdicts.append(replace(found, violations={**found.violations, **known}))
    return verdicts


def search(study: Study) -> Any:
    """Search the space on the plant; gives an Optuna study in memory, complete.

    The same study file gives the same trials: the sampler and the plant's noise have fixed seeds.
    """
    import optuna

    settings = study.config.simulation
    assert settings is not None
    quiet()
    found = optuna.create_study(
        directions=[each.direction for each in study.simulated_objectives],
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
