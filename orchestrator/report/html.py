"""The page of a campaign: one HTML file that needs no network, for a screen, a phone and a printer.

`page.html` is the frame, `page.css` the look, `page.js` paints the figures in the light or the dark
palette.  Everything that comes from a user or a file is escaped here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from math import isfinite
from pathlib import Path
from string import Template

import numpy as np

from orchestrator.comparison import Summary, curve, summarise
from orchestrator.report import figures, mechanism
from orchestrator.report.cells import columns, seeds, unfinished
from orchestrator.report.headline import findings, title
from orchestrator.report.plot_style import Figure, colour_index
from orchestrator.report.settings import differing, shared
from orchestrator.storage.files import replace_file
from orchestrator.storage.run_data import Arm, Campaign, setpoint

SPARK_WIDTH, SPARK_HEIGHT = 120.0, 30.0


def write_page(campaign: Campaign, path: Path) -> None:
    """Write the page of a campaign, whatever state its runs are in."""
    replace_file(path, render(campaign).encode())


def render(campaign: Campaign) -> str:
    """The page as a string."""
    summaries = [summarise(arm) for arm in campaign.arms]
    headline = title(summaries)
    k = max((summary.k for summary in summaries), default=0)
    entropy = figures.entropy(campaign)
    loops = figures.commands(campaign)
    learning = [figures.pass_rate(campaign), figures.held_out(campaign, k)]
    paths = figures.trajectories(campaign)
    laws = mechanism.laws(campaign, summaries)
    predictions = mechanism.predictions(campaign, summaries)
    drawn = {
        figure.id: {"data": figure.data, "layout": figure.layout}
        for figure in [entropy, *loops, *learning, *paths, *laws, *predictions]
        if not figure.missing
    }
    package = files("orchestrator.report")
    frame = Template((package / "page.html").read_text(encoding="utf-8"))
    return frame.substitute(
        css=(package / "page.css").read_text(encoding="utf-8"),
        js=(package / "page.js").read_text(encoding="utf-8"),
        plotly=_plotly_js(),
        figures=_json_for_script(drawn),
        name=escape(campaign.info.name),
        description=escape(campaign.info.description),
        facts=_facts(campaign),
        title=_prose(headline, campaign),
        findings="".join(
            f"<li>{_prose(sentence, campaign)}</li>"
            for sentence in findings(summaries)
            if sentence != headline
        ),
        notice=_notice(campaign),
        table=_summary_table(campaign, summaries),
        meanings=_meanings(summaries),
        entropy=_plot(entropy, campaign, tall=True),
        loops=_plots(loops, campaign, "No arm of this campaign has a feedback loop."),
        learning=_plots(learning, campaign, ""),
        paths=_plots(paths, campaign, "No run has recorded reward and entropy."),
        laws=_plots(laws, campaign, "No run has recorded reward and entropy."),
        predictions=_plots(predictions, campaign, "No run has recorded predicted changes of entropy."),
        last_iteration=str(figures.last_iteration(campaign)),
        settings=_settings(campaign),
        shared=_rows((escape(key), f"<code>{escape(value)}</code>") for key, value in shared(campaign)),
        runs=_runs(campaign),
        provenance=_provenance(campaign),
    )


def _plotly_js() -> str:
    """The script that Plotly's Python package brings along; imports nothing of it."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _json_for_script(content: object) -> str:
    """JSON that no `</script>` or `<!--` inside a string can end early."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _prose(sentence: str, campaign: Campaign) -> str:
    """A sentence with the arms' names, which stand in backticks, in the arms' colours."""
    names = [arm.name for arm in campaign.arms]

    html = ""
    for part in re.split(r"(`[^`]*`)", sentence):
        name = part.strip("`")
        if name in names:
            index = colour_index(names, name)
            html += f'<b class="arm-text" style="--arm:var(--arm{index})">{escape(name)}</b>'
        else:
            html += escape(part)
    return html


def _chip(campaign: Campaign, arm: str) -> str:
    index = colour_index([each.name for each in campaign.arms], arm)
    return f'<span class="chip" style="--arm:var(--arm{index})">{escape(arm)}</span>'


def _facts(campaign: Campaign) -> str:
    done = sum(run.done for run in campaign.runs)
    num_seeds = len({run.info.seed for run in campaign.runs})
    iterations = max((run.status.num_iterations for run in campaign.runs), default=0)
    facts = [
        f"{len(campaign.arms)} arms",
        f"{num_seeds} {'seed' if num_seeds == 1 else 'seeds'}",
        f"{iterations} iterations",
        f"{done} of {len(campaign.runs)} runs finished",
    ]
    if campaign.info.created:
        facts.append(f"{datetime.fromtimestamp(campaign.info.created, UTC):%-d %B %Y}")
    return "".join(f"<li>{escape(fact)}</li>" for fact in facts)


def _notice(campaign: Campaign) -> str:
    missing = [run for run in campaign.runs if not run.done]
    if not missing:
        return ""
    items = "".join(f"<li>{escape(unfinished(run))}</li>" for run in missing)
    text = (
        "Not every run has finished. The sentences and the table leave these out; the plots show "
        "them only where their arm has no finished run."
    )
    return f'<aside class="notice"><p>{text}</p><ul>{items}</ul></aside>'


def _summary_table(campaign: Campaign, summaries: Sequence[Summary]) -> str:
    figures_of_table = columns(summaries)
    heads = "".join(f'<th title="{escape(c.meaning)}">{escape(c.title)}</th>' for c in figures_of_table)
    body = ""
    for arm, summary in zip(campaign.arms, summaries, strict=True):
        cells = "".join(f"<td>{_figure_cell(c.text(summary))}</td>" for c in figures_of_table)
        body += (
            f"<tr><th>{_chip(campaign, arm.name)}</th><td>{_sparkline(arm, campaign)}</td>"
            f"<td>{escape(seeds(summary))}</td>{cells}</tr>"
        )
    head = f"<tr><th>arm</th><th>entropy over time</th><th>seeds</th>{heads}</tr>"
    return f'<table class="summary"><thead>{head}</thead><tbody>{body}</tbody></table>'


def _figure_cell(text: str) -> str:
    """The spread stands back behind the number."""
    value, separator, spread = escape(text).partition(" ± ")
    return f'{value}<span class="spread"> ± {spread}</span>' if separator else value


def _meanings(summaries: Sequence[Summary]) -> str:
    return "".join(f"<dt>{escape(c.title)}</dt><dd>{escape(c.meaning)}</dd>" for c in columns(summaries))


def _sparkline(arm: Arm, campaign: Campaign) -> str:
    """Entropy over time as a line the height of a word, on the same scale for every arm."""
    values, target = curve(arm.shown, "entropy"), curve(arm.shown, setpoint)
    if values.steps.size < 2:
        return ""
    ceiling = (
        max(float(np.max(curve(each.shown, "entropy").mean, initial=0.0)) for each in campaign.arms) or 1.0
    )

    def points(steps: np.ndarray, heights: np.ndarray) -> str:
        last = max(figures.last_iteration(campaign), 1)
        x, y = SPARK_WIDTH * steps / last, 2 + (SPARK_HEIGHT - 4) * (1 - heights / ceiling)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))

    index = colour_index([each.name for each in campaign.arms], arm.name)
    aim = f'<polyline class="aim" points="{points(target.steps, target.mean)}"/>' if target.steps.size else ""
    return (
        f'<svg class="spark" viewBox="0 0 {SPARK_WIDTH:g} {SPARK_HEIGHT:g}" style="--arm:var(--arm{index})" '
        f'role="img" aria-label="entropy over time">{aim}'
        f'<polyline points="{points(values.steps, values.mean)}"/></svg>'
    )


def _plot(figure: Figure, campaign: Campaign, *, tall: bool = False) -> str:
    legend = "".join(_chip(campaign, arm) for arm in figure.arms)
    body = (
        f'<p class="missing">{escape(figure.missing)}</p>'
        if figure.missing
        else f'<div class="plot{" tall" if tall else ""}" id="{escape(figure.id)}"></div>'
    )
    return (
        f"<figure><figcaption><b>{escape(figure.title)}</b> <span>{escape(figure.unit)}</span></figcaption>"
        f'<div class="legend">{legend}</div>{body}</figure>'
    )


def _plots(several: Sequence[Figure], campaign: Campaign, missing: str) -> str:
    if not several:
        return f'<p class="missing">{escape(missing)}</p>'
    return f'<div class="grid">{"".join(_plot(figure, campaign) for figure in several)}</div>'


def _settings(campaign: Campaign) -> str:
    rows = differing(campaign)
    if not rows:
        return '<p class="missing">The arms do not differ in any setting.</p>'
    heads = "".join(f"<th>{_chip(campaign, arm.name)}</th>" for arm in campaign.arms)
    head = f"<thead><tr><th>setting</th>{heads}</tr></thead>"
    body = _rows((escape(key), *(f"<code>{escape(value)}</code>" for value in row)) for key, row in rows)
    return f'<table class="settings">{head}<tbody>{body}</tbody></table>'


def _runs(campaign: Campaign) -> str:
    return _rows(
        (
            _chip(campaign, run.info.arm),
            str(run.info.seed),
            escape(run.info.method),
            f'<span class="state {escape(run.status.status)}">{escape(run.status.status)}</span>',
            f"{run.status.iteration} of {run.status.num_iterations}",
            f"{run.seconds:.0f} s" if isfinite(run.seconds) else "–",
            escape(run.status.reason or ""),
        )
        for run in campaign.runs
    )


def _provenance(campaign: Campaign) -> str:
    info = campaign.info
    facts = {"source": info.source, "commit": info.git_commit or "", **info.versions}
    return "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items() if v)


def _rows(rows: Iterable[Iterable[str]]) -> str:
    """Table rows of cells that are HTML already; the first is the row's head."""
    html = ""
    for head, *cells in rows:
        html += f"<tr><th>{head}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    return html
