"""Rankings: trials from best to worst, which of stage one's are worth training, and how well two rankings agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orchestrator.tuning.criteria import Criterion, Direction
from orchestrator.tuning.space import distance
from orchestrator.tuning.study import Study

Item = TypeVar("Item")

FEWEST = 4
"""Pairs below which a rank correlation means nothing: three fall in order by chance one time in six."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCorrelation:
    """How well one ranking predicts another: 1 entirely, 0 not at all, −1 the wrong way round."""

    spearman: float
    kendall: float
    p_value: float
    """Chance of a Kendall τ at least this far from 0 were the rankings unrelated."""
    num: int


def best_first(
    values: ArrayLike, directions: Sequence[Direction], violation: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Indices from best to worst.

    Feasible ones come first, and the least violation comes first among the others.  Feasible ones are ordered by
    fronts (those that nothing dominates, then those that only the first front dominates, …), within a front by the
    first criterion.

    Args:
        values: [N, M], finite.
        directions: [M].
        violation: [N], 0 where feasible.
    """
    costs = as_costs(values, directions)
    violation = np.zeros(len(costs)) if violation is None else np.asarray(violation, dtype=float)
    front = np.zeros(len(costs), dtype=np.int64)
    left, number = np.flatnonzero(violation <= 0), 0
    while left.size:
        worse = dominated(costs[left])
        front[left[~worse]] = number
        left, number = left[worse], number + 1
    order: NDArray[np.int64] = np.lexsort((costs[:, 0], front, np.maximum(violation, 0)))
    return order


def as_costs(values: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.float64]:
    """Values [N, M] of which less is better, whatever the directions [M]."""
    signs = [1.0 if direction == "minimize" else -1.0 for direction in directions]
    costs: NDArray[np.float64] = np.asarray(values, dtype=float) * signs
    return costs


def dominated(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows of costs [N, M] to which another is nowhere worse and somewhere better."""
    worse = (costs[:, None, :] >= costs[None]).all(-1) & (costs[:, None, :] > costs[None]).any(-1)
    found: NDArray[np.bool_] = np.any(worse, axis=1)
    return found


def spread_out(
    ranked: Sequence[Item], num: int, apart: float, distance: Callable[[Item, Item], float]
) -> list[Item]:
    """The first ``num`` of a ranking that are at least ``apart`` from every better one that was taken."""
    taken: list[Item] = []
    for item in ranked:
        if len(taken) == num:
            break
        if all(distance(item, other) >= apart for other in taken):
            taken.append(item)
    return taken


def rank_correlation(predicted: ArrayLike, found: ArrayLike) -> RankCorrelation:
    """Spearman's ρ and Kendall's τ-b over the pairs that are finite.

    nan with fewer than ``FEWEST`` pairs, or where one side is all the same.
    """
    x, y = (np.asarray(values, dtype=float) for values in (predicted, found))
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if x.size < FEWEST or not (np.ptp(x) and np.ptp(y)):
        return RankCorrelation(spearman=nan, kendall=nan, p_value=nan, num=int(x.size))
    from scipy import stats  # half a second to import

    tau = stats.kendalltau(x, y)
    return RankCorrelation(
        spearman=float(stats.spearmanr(x, y).statistic),
        kendall=float(tau.statistic),
        p_value=float(tau.pvalue),
        num=int(x.size),
    )


def best_of_simulation(study: Study, simulated: Any) -> list[Any]:
    """The best simulated candidates that differ from each other, best first; feasible ones where there are any."""
    settings = study.config.simulation
    assert settings is not None
    every = ranked_trials(simulated, study.simulated_criteria)
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


def ranked_trials(found: Any, criteria: Sequence[Criterion]) -> list[Any]:
    """Complete trials of an Optuna study from best to worst."""
    from optuna.trial import TrialState

    trials = found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not trials:
        return []
    violated = [sum(max(0.0, value) for value in trial.constraints.values()) for trial in trials]
    order = best_first([trial.values for trial in trials], [each.direction for each in criteria], violated)
    return [trials[index] for index in order]


def front(found: Any, criteria: Sequence[Criterion]) -> list[Any]:
    """The feasible trials that no other is better than, by the first criterion; with one criterion the best."""
    feasible = [trial for trial in ranked_trials(found, criteria) if is_feasible(trial)]
    if not feasible:
        return []
    costs = as_costs([trial.values for trial in feasible], [each.direction for each in criteria])
    return [trial for trial, is_worse in zip(feasible, dominated(costs), strict=True) if not is_worse]
