"""The page of a study: one HTML file that needs no network, in the look of a campaign's report.

It shows what `optuna-dashboard` does not: predicted against found, values on fresh seeds, why trials ended, the winner as
a preset.  History, importance, slices and contours are the dashboard's, which opens the same storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.masking import mask
from orchestrator.provenance import git_commit, versions
from orchestrator.report.rendering import json_for_script, plotly_script, rendered, script
from orchestrator.report.study_terminal import best_columns, confirmed_columns, sentences
from orchestrator.storage.files import replace_file
from orchestrator.tuning.attempts import OUTCOME, REASON, UNTRAINED, stands_for_none
from orchestrator.tuning.preset import preset_text
from orchestrator.tuning.ranking import Agreement, agreement
from orchestrator.tuning.records import url_of
from orchestrator.tuning.space import labels, short
from orchestrator.tuning.storage import dashboard_hint
from orchestrator.tuning.study import Study
from orchestrator.tuning.winner import Standing, headline, standing, winner

ROWS = 25
ENDED_ROWS = 100
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
AXIS = {
    "gridcolor": "@grid",
    "linecolor": "@muted",
    "tickcolor": "@muted",
    "zerolinecolor": "@grid",
    "automargin": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """A row a trial: its number, what the table is about, and its parameters."""

    heads: list[tuple[str, str]]
    """Titles and what they mean."""
    rows: list[tuple[int, list[tuple[str, float | None]]]]
    """Numbers and cells: texts, each with what the script sorts by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What stands in a section: a table or a text with a note, or the sentence for their place."""

    table: Trials | None = None
    text: str = ""
    note: str = ""
    missing: str = ""


def write_page(study: Study, found: Any, simulated: Any, path: Path, confirmations: Any = None) -> None:
    """Write the page of a study, whatever state its trials are in."""
    replace_file(path, render(study, found, simulated, confirmations).encode())


def render(study: Study, found: Any, simulated: Any, confirmations: Any = None) -> str:
    """The page as a string."""
    findings: list[str] = []
    figure: dict[str, Any] | None = None
    if simulated is not None and study.config.budget.trials:
        result = agreement(study, found)
        findings, figure = sentences(result), agreement_figure(result)
    now = standing(study, found, simulated, confirmations)
    return rendered(
        "study.html",
        css=script("page.css"),
        js=script("page.js"),
        plotly=plotly_script(),
        figures=json_for_script({} if figure is None else {"agreement": figure}),
        name=study.config.name,
        description=mask(study.config.description),
        title=headline(now),
        facts=_facts(study, found, simulated),
        findings=findings,
        dashboard=dashboard_hint(url_of(study)),
        has_agreement=figure is not None,
        best=_best(study, now),
        confirmed=_confirmed(study, now),
        ended=_ended(study, found),
        preset=_preset(study, found, simulated, confirmations),
        provenance={
            "source": str(study.path),
            "commit": git_commit(study.path.resolve().parent) or "",
            **versions(),
        },
    )


def agreement_figure(result: Agreement) -> dict[str, Any] | None:
    """Each trained candidate as a point, the plant's prediction against the value in training; None without any."""
    known = [pair for pair in result.pairs if pair.predicted == pair.predicted]
    data = []
    for chosen, name in ((True, "chosen by stage one"), (False, "suggested in stage two")):
        if pairs := [pair for pair in known if pair.was_enqueued is chosen]:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers+text",
                    "name": name,
                    "x": [pair.predicted for pair in pairs],
                    "y": [pair.found for pair in pairs],
                    "text": [str(pair.number) for pair in pairs],
                    "textposition": "top center",
                    "marker": {"size": 9, "color": "@arm0" if chosen else "@arm1"},
                }
            )
    layout = {
        "xaxis": {**AXIS, "title": {"text": f"{result.predicted.name} on the plant", "standoff": 8}},
        "yaxis": {**AXIS, "title": {"text": f"{result.found.name} in training", "standoff": 8}},
        "showlegend": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "@ink"},
        "margin": {"l": 60, "r": 20, "t": 20, "b": 60},
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@grid", "font": {"color": "@ink"}},
    }
    return {"data": data, "layout": layout} if data else None


def _facts(study: Study, found: Any, simulated: Any) -> list[str]:
    facts = [
        f"arm {study.arm.name} of {study.campaign.config.name}",
        f"{len(study.config.space)} parameters",
        f"{', '.join(study.config.criteria)} over {len(study.seeds)} seeds",
    ]
    if simulated is not None:
        facts.append(f"{len(simulated.get_trials(deepcopy=False))} simulated")
    states = [trial.state.name for trial in found.get_trials(deepcopy=False) if not stands_for_none(trial)]
    return facts + [f"{states.count(state)} {name}" for state, name in STATES.items() if state in states]


def _best(study: Study, now: Standing) -> Part:
    if not now.ranked:
        return Part(missing="No trial has finished.")
    heads, cells = best_columns(now)
    return Part(table=_trials(study, now.ranked[:ROWS], heads, cells))


def _confirmed(study: Study, now: Standing) -> Part:
    """The best with their values as found and on fresh seeds, or why there is no such table."""
    known = now.confirmation
    if known is None:
        if not study.config.confirm.trials:
            return Part(missing="confirm.trials is 0: the values are as the study found them.")
        if not now.front:
            return Part(missing="There is no feasible trial to confirm.")
        return Part(missing="The plant has no noise, so the values are as the study found them.")
    heads, cells = confirmed_columns(now, known)
    left = f"; it goes on: {known.missing}" if known.missing else ""
    return Part(
        table=_trials(study, [row.trial for row in known.rows], heads, cells),
        note=f"Confirmed over {known.fresh}, which the study has not used{left}.",
    )


def _ended(study: Study, found: Any) -> Part:
    """Trials that were pruned, stopped or failed, each with its reason, the latest first."""
    every = [
        trial
        for trial in found.get_trials(deepcopy=False)
        if trial.state.name in ("PRUNED", "FAIL") and not stands_for_none(trial)
    ]
    trials = [trial for trial in every if trial.user_attrs.get(OUTCOME) != UNTRAINED]
    notes = []
    if len(trials) > ENDED_ROWS:
        notes.append(f"The last {ENDED_ROWS} of {len(trials)}.")
    if num := len(every) - len(trials):
        notes.append(f"{num} more were not trained: Ms is above its bound.")
    if not every:
        notes.append("None.")
    table = _trials(
        study,
        trials[: -ENDED_ROWS - 1 : -1],
        ["state", "reason"],
        lambda trial: [STATES[trial.state.name], trial.user_attrs.get(REASON, "–")],
    )
    return Part(table=table if trials else None, note=" ".join(notes))


def _trials(
    study: Study, trials: Iterable[Any], heads: Iterable[str], cells: Callable[[Any], list[str]]
) -> Trials:
    names = labels(study.config.space)
    rows = []
    for trial in trials:
        params = [short(trial.params[path]) if path in trial.params else "–" for path in names]
        rows.append((trial.number, [(text, _key(text)) for text in cells(trial) + params]))
    of_columns = [(name, "sorts by this column") for name in ("trial", *heads)]
    return Trials(heads=[*of_columns, *((label, path) for path, label in names.items())], rows=rows)


def _key(text: str) -> float | None:
    """What the script sorts by: a number, or None for the text itself."""
    try:
        return float(text)
    except ValueError:
        return None


def _preset(study: Study, found: Any, simulated: Any, confirmations: Any) -> Part:
    try:
        best = winner(study, found, simulated, confirmations=confirmations)
        return Part(text=preset_text(study, best))
    except ConfigError as error:
        return Part(missing=str(error))
