"""How well stage one's ranking predicts stage two's: the reason to believe in the plant, or not to."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from orchestrator.tuning.attempts import PREDICTED, RANK
from orchestrator.tuning.criteria import Criterion
from orchestrator.tuning.ranking import FEWEST, RankCorrelation, rank_correlation
from orchestrator.tuning.study import Study


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


def sentences(result: Agreement) -> list[str]:
    """The sentences of the page and the terminal."""
    stages = f"Stage one ({result.predicted.name} on the plant) against stage two ({result.found.name} in training)"
    lines = [f"{stages}: {_figures(result.every)} that trained to their end."]
    if result.enqueued.num not in (0, result.every.num):
        lines.append(
            f"Among the candidates that stage one had chosen, whose predictions are alike: {_figures(result.enqueued)}."
        )
    if result.unpruned.num:
        lines.append(
            f"By their values at step {result.first_pruned_at}, where the first was pruned: {_figures(result.unpruned)}."
        )
    return lines


def _pair(trial: Any, found: float) -> Pair:
    predicted = trial.user_attrs[PREDICTED][0]
    return Pair(
        number=trial.number,
        predicted=nan if predicted is None else float(predicted),
        found=float(found),
        was_enqueued=RANK in trial.user_attrs,
    )


def _figures(figures: RankCorrelation) -> str:
    trials = "1 trial" if figures.num == 1 else f"{figures.num} trials"
    if not isfinite(figures.kendall):
        few = figures.num < FEWEST
        return f"no rank correlation over {trials} ({f'it takes {FEWEST}' if few else 'one of the two rankings has no order'})"
    return (
        f"Spearman ρ {figures.spearman:+.2f}, Kendall τ {figures.kendall:+.2f} "
        f"(p {figures.p_value:.2g} that they are unrelated) over {trials}"
    )
