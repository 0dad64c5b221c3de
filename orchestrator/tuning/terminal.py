"""The lines that a study prints on the terminal while it goes on and when it has ended."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from orchestrator.tuning.attempts import (
    CONFIRMS,
    DUPLICATE,
    OUTCOME,
    REASON,
    REPLACED,
    SURPLUS,
    UNTRAINED,
    trial_name,
)
from orchestrator.tuning.ranking import front, is_feasible, ranked_trials
from orchestrator.tuning.space import labels
from orchestrator.tuning.stage_agreement import agreement, sentences
from orchestrator.tuning.study import Study
from orchestrator.tuning.winner import Standing, headline, standing

SHOWN = 8
"""Rows of the table of the best."""


class Finished:
    """Prints a line for each training trial that has ended since the last look."""

    def __init__(self, study: Study, found: Any, console: Console) -> None:
        self._study = study
        self._found = found
        self._console = console
        self._known = {trial.number for trial in self._ended()}

    def print_new(self) -> None:
        """Print what is new since the last call."""
        for trial in self._ended():
            if trial.number in self._known:
                continue
            self._known.add(trial.number)
            if trial.user_attrs.get(OUTCOME) in (DUPLICATE, SURPLUS, UNTRAINED):
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
    several = len(now.criteria) > 1
    table = Table(box=None, pad_edge=False)
    for column in (
        "trial",
        *(each.name for each in now.criteria),
        *(["front"] if several else []),
        "feasible",
    ):
        table.add_column(column, justify="right")
    table.add_column("parameters")
    on_front = {trial.number for trial in now.front}
    for trial in now.ranked[:SHOWN]:
        yes = [trial.number in on_front] if several else []
        cells = ("yes" if each else "no" for each in (*yes, is_feasible(trial)))
        table.add_row(str(trial.number), *map(short, trial.values), *cells, _params(study, trial))
    console.print(table)
    if now.confirmation is not None:
        console.print(_confirmed(now))
    console.print(headline(now), highlight=False, soft_wrap=True, markup=False)
    outcomes = [trial.user_attrs.get(OUTCOME) for trial in found.get_trials(deepcopy=False)]
    if untrained := outcomes.count(UNTRAINED):
        console.print(f"{untrained} suggestions were not trained: Ms is above its bound", highlight=False)
    if simulated is not None and study.config.budget.trials:
        for sentence in sentences(agreement(study, found)):
            console.print(sentence, highlight=False, soft_wrap=True)


def _confirmed(now: Standing) -> Table:
    """The best with their values as found and on fresh seeds."""
    assert now.confirmation is not None
    table = Table(box=None, pad_edge=False)
    for column in (
        "trial",
        *(f"{each.name} {what}" for each in now.criteria for what in ("found", "confirmed")),
    ):
        table.add_column(column, justify="right")
    table.add_column(f"confirmed over {now.confirmation.fresh}")
    for row in now.confirmation.rows:
        pairs = zip(row.trial.values, row.values, strict=True)
        values = (short(value) if value == value else "–" for pair in pairs for value in pair)
        table.add_row(str(row.trial.number), *values, row.said or ("yes" if row.holds else "infeasible"))
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
