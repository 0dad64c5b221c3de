"""The page of a study: one HTML file that needs no network, in the look of a campaign's report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.masking import mask
from orchestrator.provenance import git_commit, versions
from orchestrator.report.html_parts import json_for_script, sort_head
from orchestrator.storage.files import replace_file
from orchestrator.tuning.candidates import is_feasible
from orchestrator.tuning.figures import Figure, of_agreement, of_study
from orchestrator.tuning.foretold import PREDICTED, agreement, sentences
from orchestrator.tuning.marks import DUPLICATE, OUTCOME, REASON, REPLACED, SURPLUS, UNTRAINED
from orchestrator.tuning.preset import preset_text
from orchestrator.tuning.space import labels
from orchestrator.tuning.study import Study
from orchestrator.tuning.terminal import short
from orchestrator.tuning.winner import Standing, headline, standing, winner

ROWS = 25
ENDED_ROWS = 100
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


def write_page(study: Study, found: Any, simulated: Any, path: Path, confirmations: Any = None) -> None:
    """Write the page of a study, whatever state its trials are in."""
    replace_file(path, render(study, found, simulated, confirmations).encode())


def render(study: Study, found: Any, simulated: Any, confirmations: Any = None) -> str:
    """The page as a string."""
    stages: list[tuple[str, list[Figure]]] = []
    said: list[str] = []
    if study.config.budget.trials:
        stages.append(("Training", of_study(found, study.config.objectives, "trained")))
    if simulated is not None:
        names = study.config.simulated_objectives
        stages.append(("Stage one, on the plant", of_study(simulated, names, "simulated")))
    if simulated is not None and study.config.budget.trials:
        result = agreement(study, found)
        stages.insert(1, ("What stage one had foretold", [of_agreement(result)]))
        said += sentences(result)
    drawn = {
        figure["id"]: {"data": figure["data"], "layout": figure["layout"]}
        for _, figures in stages
        for figure in figures
        if "missing" not in figure
    }
    now = standing(study, found, simulated, confirmations)
    report, own = files("orchestrator.report"), files("orchestrator.tuning")
    return Template((own / "study.html").read_text(encoding="utf-8")).substitute(
        css=(report / "page.css").read_text(encoding="utf-8"),
        js=(report / "page.js").read_text(encoding="utf-8"),
        plotly=(files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8"),
        figures=json_for_script(drawn),
        name=escape(study.config.name),
        description=escape(mask(study.config.description)),
        title=escape(headline(now)),
        facts="".join(f"<li>{escape(fact)}</li>" for fact in _facts(study, found, simulated)),
        findings="".join(f"<li>{escape(sentence)}</li>" for sentence in said),
        sections="".join(_section(title, figures) for title, figures in stages),
        table=_table(study, now),
        confirmed=_confirmed(study, now),
        ended=_ended(study, found),
        preset=_preset(study, found, simulated, confirmations),
        provenance=_provenance(study),
    )


def _facts(study: Study, found: Any, simulated: Any) -> list[str]:
    facts = [
        f"arm {study.arm.name} of {study.campaign.config.name}",
        f"{len(study.config.space)} parameters",
        f"{', '.join(study.config.objectives)} over {len(study.seeds)} seeds",
    ]
    if simulated is not None:
        facts.append(f"{len(simulated.get_trials(deepcopy=False))} simulated")
    counted = [trial.state.name for trial in found.get_trials(deepcopy=False) if not _is_no_trial(trial)]
    return facts + [f"{counted.count(state)} {name}" for state, name in STATES.items() if state in counted]


def _is_no_trial(trial: Any) -> bool:
    """Whether another trial stands for this one."""
    return trial.user_attrs.get(OUTCOME) in (DUPLICATE, SURPLUS, REPLACED)


def _section(title: str, figures: Iterable[Figure]) -> str:
    plots = "".join(_plot(figure) for figure in figures)
    return f'<section class="wide"><h2>{escape(title)}</h2><div class="grid">{plots}</div></section>'


def _plot(figure: Figure) -> str:
    body = (
        f'<p class="missing">{escape(figure["missing"])}</p>'
        if "missing" in figure
        else f'<div class="plot" id="{escape(figure["id"])}"></div>'
    )
    wide = ' class="whole-row"' if figure.get("wide") else ""
    return f"<figure{wide}><figcaption><b>{escape(figure['title'])}</b></figcaption>{body}</figure>"


def _table(study: Study, now: Standing) -> str:
    if not now.ranked:
        return '<p class="missing">No trial has finished.</p>'
    ranked, several = now.ranked[:ROWS], len(now.objectives) > 1
    on_front = {trial.number for trial in now.front}
    foretold = any(PREDICTED in trial.user_attrs for trial in ranked)
    heads = [
        *(each.name for each in now.objectives),
        *(["foretold"] if foretold else []),
        *(["front"] if several else []),
        "feasible",
    ]

    def cells(trial: Any) -> list[str]:
        predicted = (trial.user_attrs.get(PREDICTED) or [None])[0]
        return [
            *(f"{value:.4g}" for value in trial.values),
            *([short(predicted) if predicted is not None else "–"] if foretold else []),
            *(["yes" if trial.number in on_front else "no"] if several else []),
            "yes" if is_feasible(trial) else "no",
        ]

    return _trials(study, ranked, heads, cells)


def _confirmed(study: Study, now: Standing) -> str:
    """What the best were found to be and what they came to on fresh seeds, or why there is no such table."""
    known = now.confirmation
    if known is None:
        return f'<p class="missing">{escape(_why_not_confirmed(study, now))}</p>'
    rows = {row.trial.number: row for row in known.rows}
    pairs = [f"{each.name} {what}" for each in now.objectives for what in ("found", "confirmed")]

    def cells(trial: Any) -> list[str]:
        row = rows[trial.number]
        values = (value for pair in zip(trial.values, row.values, strict=True) for value in pair)
        told = (short(value) if value == value else "–" for value in values)
        return [*told, row.said or ("yes" if row.holds else "infeasible")]

    table = _trials(study, [row.trial for row in known.rows], [*pairs, "confirmed"], cells)
    note = f"Confirmed over {known.fresh}, which the study has not used"
    note += f"; not over yet: {known.missing}." if known.missing else "."
    return f'<div class="scroll">{table}</div><p class="note">{escape(note)}</p>'


def _why_not_confirmed(study: Study, now: Standing) -> str:
    if not study.config.confirm.trials:
        return "confirm.trials is 0: the values are as the study found them."
    if not now.front:
        return "There is no feasible trial to confirm."
    return "The plant has no noise: what was found is what it is."


def _ended(study: Study, found: Any) -> str:
    """Trials that were pruned, stopped or failed, each with its reason, the latest first."""
    every = [
        trial
        for trial in found.get_trials(deepcopy=False)
        if trial.state.name in ("PRUNED", "FAIL") and not _is_no_trial(trial)
    ]
    trials = [trial for trial in every if trial.user_attrs.get(OUTCOME) != UNTRAINED]
    said = []
    if len(trials) > ENDED_ROWS:
        said.append(f"The last {ENDED_ROWS} of {len(trials)}.")
    if num := len(every) - len(trials):
        said.append(f"{num} more were not trained: Ms is above its bound.")
    if not every:
        said.append("None.")
    note = f'<p class="note">{escape(" ".join(said))}</p>' if said else ""
    if not trials:
        return note
    table = _trials(
        study,
        trials[: -ENDED_ROWS - 1 : -1],
        ["state", "reason"],
        lambda trial: [STATES[trial.state.name], trial.user_attrs.get(REASON, "–")],
    )
    return f'<div class="scroll">{table}</div>{note}'


def _trials(
    study: Study, trials: Iterable[Any], heads: Iterable[str], cells: Callable[[Any], list[str]]
) -> str:
    """A row a trial: its number, what the table is about, and its parameters."""
    names = labels(study.config.space)
    rows = ""
    for trial in trials:
        params = [short(trial.params[path]) if path in trial.params else "–" for path in names]
        row = "".join(map(_cell, cells(trial) + params))
        rows += f'<tr><th data-value="{trial.number}">{trial.number}</th>{row}</tr>'
    head = "".join(sort_head(name, "sorts by this column") for name in ("trial", *heads))
    head += "".join(sort_head(label, path) for path, label in names.items())
    return f'<table class="trials"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _cell(text: str) -> str:
    """A number is what the script sorts by, anything else the text itself."""
    try:
        return f'<td data-value="{float(text)}">{escape(text)}</td>'
    except ValueError:
        return f"<td>{escape(text)}</td>"


def _preset(study: Study, found: Any, simulated: Any, confirmations: Any) -> str:
    try:
        best = winner(study, found, simulated, confirmations=confirmations)
        return f"<pre>{escape(preset_text(study, best))}</pre>"
    except ConfigError as error:
        return f'<p class="missing">{escape(str(error))}</p>'


def _provenance(study: Study) -> str:
    commit = git_commit(study.path.resolve().parent)
    facts = {"source": str(study.path), "commit": commit or "", **versions()}
    return "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items() if value)
