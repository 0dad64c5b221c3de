"""Trials of an Optuna study from best to worst, and which of stage one's are worth training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.tuning.marks import RANK
from orchestrator.tuning.objectives import Objective
from orchestrator.tuning.ranking import as_costs, best_first, dominated, spread_out
from orchestrator.tuning.space import distance
from orchestrator.tuning.study import Study


def enqueue(study: Study, found: Any, simulated: Any) -> None:
    """Hand stage one's best to training, once."""
    if simulated is None:
        return
    queued = {trial.user_attrs.get(RANK) for trial in found.get_trials(deepcopy=False)}
    for rank, trial in enumerate(best_of_simulation(study, simulated), 1):
        if rank not in queued:
            found.enqueue_trial(trial.params, user_attrs={RANK: rank})


def best_of_simulation(study: Study, simulated: Any) -> list[Any]:
    """The best simulated candidates that differ from each other, best first; feasible ones where there are any."""
    settings = study.config.simulation
    assert settings is not None
    every = ranked_trials(simulated, study.simulated_objectives)
    ranked = [trial for trial in every if is_feasible(trial)] or every
    space = study.config.space
    return spread_out(
        ranked,
        settings.enqueue,
        settings.spread,
        lambda one, other: distance(one.params, other.params, space),
    )


def is_feasible(trial: Any) -> bool:
    """Whether nothing is violated."""
    return all(value <= 0 for value in trial.constraints.values())


def ranked_trials(found: Any, objectives: Sequence[Objective]) -> list[Any]:
    """Complete trials of an Optuna study from best to worst."""
    from optuna.trial import TrialState

    trials = found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not trials:
        return []
    violated = [sum(max(0.0, value) for value in trial.constraints.values()) for trial in trials]
    order = best_first([trial.values for trial in trials], [each.direction for each in objectives], violated)
    return [trials[index] for index in order]


def front(found: Any, objectives: Sequence[Objective]) -> list[Any]:
    """The feasible trials that no other is better than, by the first objective; of one objective the best."""
    feasible = [trial for trial in ranked_trials(found, objectives) if is_feasible(trial)]
    if not feasible:
        return []
    costs = as_costs([trial.values for trial in feasible], [each.direction for each in objectives])
    return [trial for trial, is_worse in zip(feasible, dominated(costs), strict=True) if not is_worse]
