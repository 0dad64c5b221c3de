"""Rankings: trials from best to worst, which of stage one's are worth training, and how well two rankings agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orchestrator.tuning.attempts import PREDICTED, RANK
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A candidate that was simulated and trained."""

    number: int
    predicted: float
    found: float
    was_enqueued: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Stage one's first criterion against stage two's, over the trials that trained to their end."""

    predicted: Criterion
    found: Criterion
    pairs: tuple[Pair, ...]
    every: RankCorrelation
    """Over all pairs."""
    enqueued: RankCorrelation
    """Over those that stage one had chosen: alike by choice, which makes a rank correlation small."""
    unpruned: RankCorrelation
    """Over all that trained until the first was pruned, by their values there: trials that are left after pruning are
    alike too.  It has no pairs where nothing was pruned."""
    first_pruned_at: int
    """Step at which the first was pruned: trained iterations, or seeds for a Wilcoxon test; −1 where none was."""


def agreement(study: Study, found: Any) -> Agreement:
    """Compare the two rankings; a correlation of 1 is the same order from best to worst."""
    predicted, criterion = study.simulated_criteria[0], study.criteria[0]
    trials = found.get_trials(deepcopy=False)
    known = [trial for trial in trials if PREDICTED in trial.user_attrs]
    pruned_at: list[int] = [
        max(trial.intermediate_values)
        for trial in trials
        if trial.state.name == "PRUNED" and trial.intermediate_values
    ]
    step = min(pruned_at, default=-1)
    pairs = [_pair(trial, trial.values[0]) for trial in known if trial.state.name == "COMPLETE"]
    before = [
        _pair(trial, trial.intermediate_values[step]) for trial in known if step in trial.intermediate_values
    ]

    def correlate(chosen: list[Pair]) -> RankCorrelation:
        signs = [1.0 if each.direction == "minimize" else -1.0 for each in (predicted, criterion)]
        return rank_correlation(
            [signs[0] * pair.predicted for pair in chosen], [signs[1] * pair.found for pair in chosen]
        )

    return Agreement(
        predicted=predicted,
        found=criterion,
        pairs=tuple(pairs),
        every=correlate(pairs),
        enqueued=correlate([pair for pair in pairs if pair.was_enqueued]),
        unpruned=correlate(before),
        first_pruned_at=step,
    )


def _pair(trial: Any, found: float) -> Pair:
    predicted = trial.user_attrs[PREDICTED][0]
    return Pair(
        number=trial.number,
        predicted=nan if predicted is None else float(predicted),
        found=float(found),
        was_enqueued=RANK in trial.user_attrs,
    )
