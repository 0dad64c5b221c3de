"""The lines that a study prints on the terminal while it goes on and when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from orchestrator.tuning.attempts import (
    CONFIRMS,
    OUTCOME,
    PREDICTED,
    REASON,
    REPLACED,
    SURPLUS,
    UNTRAINED,
    trial_name,
)
from orchestrator.tuning.confirmation import Confirmation
from orchestrator.tuning.ranking import front, is_feasible, ranked_trials
from orchestrator.tuning.space import labels
from orchestrator.tuning.stage_agreement import agreement, sentences
from orchestrator.tuning.study import Study
from orchestrator.tuning.winner import Standing, headline, standing

SHOWN = 8
"""Rows of the table of the best."""
Cells = Callable[[Any], list[str]]


class Finished:
    """Prints a line for each training trial that has ended since the last look."""

    def __init__(self, study: Study, found: Any, console: Console) -> None:
        self._study = study
        self._found = found
        self._console = console
        self._known = {trial.number for trial in self._ended()}

    def print_new(self) -> None:
        """Print the trials that have ended since the last call."""
        for trial in self._ended():
            if trial.number in self._known:
                continue
            self._known.add(trial.number)
            if trial.user_attrs.get(OUTCOME) in (SURPLUS, UNTRAINED):
                continue
            reason = trial.user_attrs.get(REASON, "")
            is_replaced = trial.user_attrs.get(OUTCOME) == REPLACED
            state = "continues as another attempt" if is_replaced else trial.state.name.lower()
            line = [
                trial_name(trial.number, trial.user_attrs.get(CONFIRMS)),
                state,
                _values(self._study, trial),
                _params(self._study, trial),
                reason,
            ]
            self._console.print(
                "  ".join(part for part in line if part), highlight=False, markup=False, soft_wrap=True
            )

    def _ended(self) -> list[Any]:
        return [trial for trial in self._found.get_trials(deepcopy=False) if trial.state.is_finished()]


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
        named = zip(study.config.simulated_criteria, ranked[0].values, strict=True)
        values = ", ".join(f"{name} {value:.4g}" for name, value in named)
        line += f"; best: {values}  {_params(study, ranked[0])}"
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
    rows = [(*cells(trial), _params(study, trial)) for trial in now.ranked[:SHOWN]]
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


def _values(study: Study, trial: Any) -> str:
    if trial.state.name != "COMPLETE":
        return ""
    named = zip(study.config.criteria, trial.values, strict=True)
    return ", ".join(f"{name} {value:.4g}" for name, value in named)


def _params(study: Study, trial: Any) -> str:
    names = labels(study.config.space)
    return ", ".join(f"{names[path]} {short(value)}" for path, value in trial.params.items())


def short(value: Any) -> str:
    """A parameter's value as a table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
