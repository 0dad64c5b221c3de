"""How well stage one's ranking foretold stage two's: the reason to believe in the plant, or not to."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from orchestrator.tuning.marks import RANK
from orchestrator.tuning.objectives import Objective
from orchestrator.tuning.ranking import FEWEST, RankCorrelation, rank_correlation
from orchestrator.tuning.study import Study

PREDICTED = "entrostat.predicted"
"""Attribute of a training trial: what stage one says of its parameters, one value an objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A candidate that was simulated and trained."""

    number: int
    predicted: float
    found: float
    was_enqueued: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Stage one's first objective against stage two's, over the trials that trained to their end."""

    predicted: Objective
    found: Objective
    pairs: tuple[Pair, ...]
    every: RankCorrelation
    """Over all of them."""
    enqueued: RankCorrelation
    """Over those that stage one had chosen: alike by choice, which makes a rank correlation small."""
    unpruned: RankCorrelation
    """Over all that trained until the first was pruned, by what they had come to there: what is left after
    pruning is alike too.  Of no pairs where nothing was pruned."""
    first_pruned_at: int
    """Step of that: trained iterations, or of a Wilcoxon test seeds; −1 where nothing was pruned."""


def agreement(study: Study, found: Any) -> Agreement:
    """Compare the two rankings; a correlation of 1 is the same order from best to worst."""
    predicted, objective = study.simulated_objectives[0], study.objectives[0]
    known = [trial for trial in found.get_trials(deepcopy=False) if PREDICTED in trial.user_attrs]
    step = _first_pruned_at(found)
    pairs = tuple(_pair(trial, trial.values[0]) for trial in known if trial.state.name == "COMPLETE")
    before = tuple(
        _pair(trial, trial.intermediate_values[step]) for trial in known if step in trial.intermediate_values
    )

    def correlate(chosen: tuple[Pair, ...]) -> RankCorrelation:
        signs = [1.0 if each.direction == "minimize" else -1.0 for each in (predicted, objective)]
        return rank_correlation(
            [signs[0] * pair.predicted for pair in chosen], [signs[1] * pair.found for pair in chosen]
        )

    return Agreement(
        predicted=predicted,
        found=objective,
        pairs=pairs,
        every=correlate(pairs),
        enqueued=correlate(tuple(pair for pair in pairs if pair.was_enqueued)),
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


def _first_pruned_at(found: Any) -> int:
    """The earliest step at which a trial was pruned by its value; −1 where none was."""
    steps: list[int] = [
        max(trial.intermediate_values)
        for trial in found.get_trials(deepcopy=False)
        if trial.state.name == "PRUNED" and trial.intermediate_values
    ]
    return min(steps, default=-1)


def sentences(result: Agreement) -> list[str]:
    """What to say of it."""
    told = f"Stage one ({result.predicted.name} on the plant) against stage two ({result.found.name} in training)"
    lines = [f"{told}: {_figures(result.every)} of all that trained to their end."]
    if result.enqueued.num not in (0, result.every.num):
        lines.append(
            f"Among the candidates that stage one had chosen, which are alike in what it foretold: "
            f"{_figures(result.enqueued)}."
        )
    if result.unpruned.num:
        lines.append(
            f"By what they had come to at step {result.first_pruned_at}, where the first was pruned: "
            f"{_figures(result.unpruned)}."
        )
    return lines


def _figures(figures: RankCorrelation) -> str:
    if not isfinite(figures.kendall):
        few = figures.num < FEWEST
        why = f"it takes {FEWEST}" if few else "one of the two rankings has no order"
        trials = "1 trial" if figures.num == 1 else f"{figures.num} trials"
        return f"no rank correlation over {trials} ({why})"
    return (
        f"Spearman ρ {figures.spearman:+.2f}, Kendall τ {figures.kendall:+.2f} "
        f"(p {figures.p_value:.2g} that they are unrelated) over {figures.num} trials"
    )
