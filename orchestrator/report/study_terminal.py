"""The lines that a study prints on the terminal when a stage has ended, and their tables and sentences for its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from rich.console import Console
from rich.table import Table

from orchestrator.tuning.attempts import OUTCOME, PREDICTED, UNTRAINED
from orchestrator.tuning.confirmation import Confirmation
from orchestrator.tuning.ranking import (
    FEWEST,
    Agreement,
    RankCorrelation,
    agreement,
    front,
    is_feasible,
    ranked_trials,
)
from orchestrator.tuning.space import short, written
from orchestrator.tuning.study import Study
from orchestrator.tuning.winner import Standing, figures, headline, standing

SHOWN = 8
"""Rows of the table of the best."""
Cells = Callable[[Any], list[str]]


def print_simulation(study: Study, simulated: Any, seconds: float | None, console: Console) -> None:
    """Print how stage one went."""
    trials = simulated.get_trials(deepcopy=False)
    ranked = ranked_trials(simulated, study.simulated_criteria)
    took = "from before" if seconds is None else f"in {seconds:.1f} s"
    feasible = sum(is_feasible(trial) for trial in ranked)
    settings = study.config.simulation
    assert settings is not None
    line = f"stage one: {len(trials)} candidates × {settings.seeds} seeds on the plant {took}, {feasible} of them feasible"
    if ranked and len(study.simulated_criteria) > 1:
        line += f", {len(front(simulated, study.simulated_criteria))} of those on the front"
    elif ranked:
        values = figures(study.simulated_criteria, ranked[0].values)
        line += f"; best: {values}  {written(ranked[0].params, study.config.space)}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_summary(
    study: Study, found: Any, simulated: Any, console: Console, confirmations: Any = None
) -> None:
    """Print the best of the last stage, their values on fresh seeds, and how well stage one predicted them."""
    now = standing(study, found, None if study.config.budget.trials else simulated, confirmations)
    if not now.ranked:
        console.print("no trial has finished")
        return
    heads, cells = best_columns(now)
    rows = [(*cells(trial), written(trial.params, study.config.space)) for trial in now.ranked[:SHOWN]]
    console.print(_table([*heads, "parameters"], now.ranked, rows))
    if (known := now.confirmation) is not None:
        heads, cells = confirmed_columns(now, known)
        trials = [row.trial for row in known.rows]
        heads = [*heads[:-1], f"confirmed over {known.fresh}"]
        console.print(_table(heads, trials, [cells(trial) for trial in trials]))
    console.print(headline(now), highlight=False, soft_wrap=True, markup=False)
    outcomes = [trial.user_attrs.get(OUTCOME) for trial in found.get_trials(deepcopy=False)]
    if untrained := outcomes.count(UNTRAINED):
        console.print(f"{untrained} suggestions were not trained: Ms is above its bound", highlight=False)
    if simulated is not None and study.config.budget.trials:
        for sentence in sentences(agreement(study, found)):
            console.print(sentence, highlight=False, soft_wrap=True)


def sentences(result: Agreement) -> list[str]:
    """The sentences of the page and the terminal."""
    stages = f"Stage one ({result.predicted.name} on the plant) against stage two ({result.found.name} in training)"
    lines = [f"{stages}: {_correlated(result.every)} that trained to their end."]
    if result.enqueued.num not in (0, result.every.num):
        lines.append(
            f"Among the candidates that stage one had chosen, whose predictions are alike: {_correlated(result.enqueued)}."
        )
    if result.unpruned.num:
        lines.append(
            f"By their values at step {result.first_pruned_at}, where the first was pruned: {_correlated(result.unpruned)}."
        )
    return lines


def best_columns(now: Standing) -> tuple[list[str], Cells]:
    """Heads of the table of the best trials, and the cells of one of them."""
    several, on_front = len(now.criteria) > 1, {trial.number for trial in now.front}
    is_predicted = any(PREDICTED in trial.user_attrs for trial in now.ranked)

    def cells(trial: Any) -> list[str]:
        predicted = (trial.user_attrs.get(PREDICTED) or [None])[0]
        return [
            *map(short, trial.values),
            *([short(predicted) if predicted is not None else "–"] if is_predicted else []),
            *(["yes" if trial.number in on_front else "no"] if several else []),
            "yes" if is_feasible(trial) else "no",
        ]

    heads = [each.name for each in now.criteria]
    return [*heads, *["predicted"] * is_predicted, *["front"] * several, "feasible"], cells


def confirmed_columns(now: Standing, known: Confirmation) -> tuple[list[str], Cells]:
    """Heads of the table of the best on fresh seeds, and the cells of one of them."""
    rows = {row.trial.number: row for row in known.rows}

    def cells(trial: Any) -> list[str]:
        row = rows[trial.number]
        values = (value for pair in zip(trial.values, row.values, strict=True) for value in pair)
        shown = (short(value) if value == value else "–" for value in values)
        return [*shown, row.said or ("yes" if row.holds else "infeasible")]

    pairs = [f"{each.name} {what}" for each in now.criteria for what in ("found", "confirmed")]
    return [*pairs, "confirmed"], cells


def _table(heads: Sequence[str], trials: Sequence[Any], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in ("trial", *heads):
        table.add_column(head, justify="left" if head == heads[-1] else "right")
    for trial, row in zip(trials, rows, strict=False):
        table.add_row(str(trial.number), *row)
    return table


def _correlated(known: RankCorrelation) -> str:
    trials = "1 trial" if known.num == 1 else f"{known.num} trials"
    if not isfinite(known.kendall):
        few = known.num < FEWEST
        return f"no rank correlation over {trials} ({f'it takes {FEWEST}' if few else 'one of the two rankings has no order'})"
    return (
        f"Spearman ρ {known.spearman:+.2f}, Kendall τ {known.kendall:+.2f} "
        f"(p {known.p_value:.2g} that they are unrelated) over {trials}"
    )
