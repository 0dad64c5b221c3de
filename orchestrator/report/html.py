"""The page of a campaign: one HTML file that needs no network, for a screen, a phone and a printer.

`page.html` is the frame, `page.css` the style, and `page.js` paints the figures in the light or the dark
palette.  Everything that comes from a user or a file is escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from math import isfinite
from pathlib import Path
from string import Template

from orchestrator.comparison import Summary
from orchestrator.comparison.comparison import Comparison, compare
from orchestrator.report import comparison_figures, figures, law_tables, loop_tables, mechanism, tables
from orchestrator.report.arms import arms_of, toolbar
from orchestrator.report.guardrails import guardrail_section
from orchestrator.report.headline import findings, title
from orchestrator.report.html_parts import (
    chip,
    json_for_script,
    plot,
    plots,
    prose,
    setting,
    table_rows,
)
from orchestrator.report.html_tables import sortable, table_section
from orchestrator.report.plot_style import Figure
from orchestrator.report.settings import differing, shared
from orchestrator.report.summary_cells import columns, unfinished
from orchestrator.storage.files import replace_file
from orchestrator.storage.run_data import CampaignRecords


def write_page(campaign: CampaignRecords, path: Path, comparison: Comparison | None = None) -> None:
    """Write the page of a campaign, whatever state its runs are in."""
    replace_file(path, render(campaign, comparison).encode())


def render(campaign: CampaignRecords, comparison: Comparison | None = None) -> str:
    """The page as a string; ``comparison`` where it was made already."""
    comparison = comparison or compare(campaign)
    summaries = comparison.summaries
    headline = title(comparison)
    k = max((summary.k for summary in summaries), default=0)
    entropy = figures.entropy(campaign)
    loops = figures.commands(campaign)
    learning = [figures.pass_rate(campaign), figures.held_out(campaign, k)]
    aggregate = [comparison_figures.profiles(comparison), comparison_figures.pass_at_k(comparison)]
    paths = figures.trajectories(campaign)
    laws = mechanism.laws(comparison)
    predictions = mechanism.predictions(comparison)
    control, control_figures = _control(campaign)
    several = [entropy, *loops, *learning, *aggregate, *paths, *laws, *predictions, *control_figures]
    drawn = {
        figure.id: {"data": figure.data, "layout": figure.layout} for figure in several if not figure.missing
    }
    package = files("orchestrator.report")
    frame = Template((package / "page.html").read_text(encoding="utf-8"))
    return frame.substitute(
        css=(package / "page.css").read_text(encoding="utf-8"),
        js=(package / "page.js").read_text(encoding="utf-8"),
        arms_js=(package / "arms.js").read_text(encoding="utf-8"),
        plotly=_plotly_js(),
        figures=json_for_script(drawn),
        arms=json_for_script(arms_of(comparison)),
        toolbar=toolbar(comparison),
        name=escape(campaign.info.name),
        description=escape(campaign.info.description),
        facts=_facts(campaign),
        title=prose(headline, campaign),
        findings="".join(
            f"<li>{prose(sentence, campaign)}</li>"
            for sentence in findings(comparison)
            if sentence != headline
        ),
        notice=_notice(campaign),
        table=sortable(tables.summary(comparison), campaign, sparks=True),
        meanings=_meanings(summaries),
        statistics=table_section(tables.statistics(comparison), campaign, caption=False),
        progress=table_section(tables.progress(comparison), campaign),
        baseline=prose(f"{comparison.metric} against `{comparison.baseline}`", campaign),
        aggregate=plots(aggregate, campaign, ""),
        entropy=plot(entropy, campaign, tall=True),
        loops=plots(loops, campaign, "No arm of this campaign has a feedback loop."),
        setpoint_quality=table_section(loop_tables.setpoint_quality(comparison), campaign),
        recovery=table_section(loop_tables.recovery(comparison), campaign) if comparison.recoveries else "",
        learning=plots(learning, campaign, ""),
        efficiency=table_section(tables.efficiency(comparison), campaign),
        pass_at_k=table_section(tables.pass_at_k(comparison), campaign),
        paths=plots(paths, campaign, "No run has recorded reward and entropy."),
        laws=plots(laws, campaign, "No run has recorded reward and entropy."),
        law_table=table_section(law_tables.entropy_law(comparison), campaign)
        + table_section(law_tables.asymptote(comparison), campaign),
        predictions=plots(predictions, campaign, "No run has recorded predicted changes of entropy."),
        control=control,
        last_iteration=str(figures.last_iteration(campaign)),
        settings=_settings(campaign),
        shared=table_rows((escape(key), setting(value)) for key, value in shared(campaign)),
        guardrails=guardrail_section(campaign),
        runs=_runs(campaign),
        provenance=_provenance(campaign),
    )


def _control(campaign: CampaignRecords) -> tuple[str, list[Figure]]:
    """The section of the loops that name their plant, and its figures; torch, which it needs, takes seconds."""
    loops = [loop for run in campaign.runs for loop in (run.info.config.get("loops") or {}).values()]
    if not any(isinstance(loop, dict) and loop.get("plant") for loop in loops):
        return "", []
    from orchestrator.report import control, control_figures
    from orchestrator.report.html_control import control_section

    designed = control.designed_loops(campaign)
    predicted = control_figures.predictions(campaign, designed)
    linear = control_figures.linear(campaign, designed)
    return control_section(campaign, designed, predicted, linear), [*predicted, *linear]


def _plotly_js() -> str:
    """The script that Plotly's Python package brings along; imports nothing of it."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _facts(campaign: CampaignRecords) -> str:
    done = sum(run.done for run in campaign.runs)
    num_seeds = len({run.info.seed for run in campaign.runs})
    iterations = max((run.status.num_iterations for run in campaign.runs), default=0)
    facts = [
        f"{len(campaign.arms)} arms",
        f"{num_seeds} {'seed' if num_seeds == 1 else 'seeds'}",
        f"{iterations} iterations",
        f"{done} of {len(campaign.runs)} runs finished",
    ]
    if num_stopped := sum(run.stopped for run in campaign.runs):
        facts.append(f"{num_stopped} stopped by a guardrail")
    if campaign.info.created:
        facts.append(f"{datetime.fromtimestamp(campaign.info.created, UTC):%-d %B %Y}")
    return "".join(f"<li>{escape(fact)}</li>" for fact in facts)


def _notice(campaign: CampaignRecords) -> str:
    """Runs that are not done: those that are left out, and those that count though a guardrail stopped them."""
    said = [
        (
            [run for run in campaign.runs if not run.over],
            "Not every run has finished. The sentences and the tables leave these runs out; the plots show "
            "them only if their arm has no other run.",
        ),
        (
            [run for run in campaign.runs if run.stopped],
            "A guardrail stopped these runs. They count with the last value that they reached, and the curves of "
            "evaluations keep it.",
        ),
    ]
    text = ""
    for runs, what in said:
        items = "".join(f"<li>{escape(unfinished(run))}</li>" for run in runs)
        text += f"<p>{what}</p><ul>{items}</ul>" if runs else ""
    return f'<aside class="notice">{text}</aside>' if text else ""


def _meanings(summaries: Sequence[Summary]) -> str:
    return "".join(f"<dt>{escape(c.title)}</dt><dd>{escape(c.meaning)}</dd>" for c in columns(summaries))


def _settings(campaign: CampaignRecords) -> str:
    rows = differing(campaign)
    if not rows:
        return '<p class="missing">The arms do not differ in any setting.</p>'
    heads = "".join(f"<th>{chip(campaign, arm.name)}</th>" for arm in campaign.arms)
    head = f"<thead><tr><th>setting</th>{heads}</tr></thead>"
    body = table_rows((escape(key), *map(setting, row)) for key, row in rows)
    return f'<table class="settings">{head}<tbody>{body}</tbody></table>'


def _runs(campaign: CampaignRecords) -> str:
    return table_rows(
        (
            chip(campaign, run.info.arm),
            str(run.info.seed),
            escape(run.info.method),
            f'<span class="state {escape(run.status.status)}">{escape(run.status.status)}</span>',
            f"{run.status.iteration} of {run.status.num_iterations}",
            f"{run.seconds:.0f} s" if isfinite(run.seconds) else "–",
            escape("; ".join([*([run.status.reason] if run.status.reason else []), *run.status.notes])),
        )
        for run in campaign.runs
    )


def _provenance(campaign: CampaignRecords) -> str:
    info = campaign.info
    facts = {"source": info.source, "commit": info.git_commit or "", **info.versions}
    return "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items() if v)
