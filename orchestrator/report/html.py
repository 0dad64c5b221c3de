"""The page of a campaign: one HTML file that needs no network, for a screen, a phone and a printer.

`page.html` is the frame, `page.css` the style, and `page.js` paints the figures in the light or the dark
palette.  Everything that comes from a user or a file is escaped here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from orchestrator.comparison.comparison import Comparison, compare
from orchestrator.report import figures
from orchestrator.report.arms import arms_of, toolbar
from orchestrator.report.glossary import explained
from orchestrator.report.guardrails import complaints
from orchestrator.report.headline import findings, headline
from orchestrator.report.html_parts import json_for_script, plots, prose
from orchestrator.report.samples import samples_of, samples_section
from orchestrator.report.sections import Section, contents, sections_of
from orchestrator.report.summary_cells import unfinished
from orchestrator.storage.files import replace_file
from orchestrator.storage.run_data import CampaignRecords

MOST_NOTICED = 12
"""Lines of one sort of trouble at the top; more are not read there."""


def write_page(campaign: CampaignRecords, path: Path, comparison: Comparison | None = None) -> None:
    """Write the page of a campaign, whatever state its runs are in."""
    replace_file(path, render(campaign, comparison).encode())


def render(campaign: CampaignRecords, comparison: Comparison | None = None) -> str:
    """The page as a string; ``comparison`` where it was made already."""
    comparison = comparison or compare(campaign)
    heading, *leads = headline(comparison)
    k = max((summary.k for summary in comparison.summaries), default=0)
    first = [figures.entropy(campaign), figures.held_out(campaign, k)]
    samples = samples_of(campaign)
    sections = sections_of(comparison, _control(campaign), samples_section(samples, campaign))
    drawn = {
        figure.id: {"data": figure.data, "layout": figure.layout}
        for figure in [*first, *(figure for section in sections for figure in section.figures)]
        if not figure.missing
    }
    package = files("orchestrator.report")
    frame = Template((package / "page.html").read_text(encoding="utf-8"))
    return frame.substitute(
        css=(package / "page.css").read_text(encoding="utf-8"),
        js=(package / "page.js").read_text(encoding="utf-8"),
        arms_js=(package / "arms.js").read_text(encoding="utf-8"),
        samples_js=(package / "samples.js").read_text(encoding="utf-8"),
        plotly=_plotly_js(),
        figures=json_for_script(drawn),
        arms=json_for_script(arms_of(comparison)),
        samples=json_for_script(samples),
        toolbar=toolbar(comparison),
        name=escape(campaign.info.name),
        description=escape(campaign.info.description),
        facts=_facts(campaign),
        title=prose(heading, campaign),
        leads=explained("".join(f'<p class="lead">{prose(each, campaign)}</p>' for each in leads)),
        notice=_notice(campaign),
        first=plots(first, campaign, ""),
        findings=explained(
            "".join(
                f"<li>{prose(sentence, campaign)}</li>"
                for sentence in findings(comparison)
                if sentence != heading
            )
        ),
        contents=contents(sections),
        sections="\n".join(each.html for each in sections),
        provenance=_provenance(campaign),
    )


def _control(campaign: CampaignRecords) -> Section | None:
    """The section of the loops that name their plant; torch, which it needs, takes seconds."""
    loops = [loop for run in campaign.runs for loop in (run.info.config.get("loops") or {}).values()]
    if not any(isinstance(loop, dict) and loop.get("plant") for loop in loops):
        return None
    from orchestrator.report import control, control_figures
    from orchestrator.report.html_control import control_section

    designed = control.designed_loops(campaign)
    predicted = control_figures.predictions(campaign, designed)
    linear = control_figures.linear(campaign, designed)
    return control_section(campaign, designed, predicted, linear)


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
    """What went wrong: runs that are not done, those that a guardrail stopped, and what guardrails found."""
    said = [
        (
            [unfinished(run) for run in campaign.runs if not run.over],
            "Not every run has finished. The sentences and the tables leave these runs out; the plots show "
            "them only if their arm has no other run.",
            "runs",
        ),
        (
            [unfinished(run) for run in campaign.runs if run.stopped],
            "A guardrail stopped these runs. They count with the last value that they reached, and the curves of "
            "evaluations keep it.",
            "runs",
        ),
        (
            complaints(campaign),
            'Guardrails and loops complained (<a href="#guardrails">in full</a>):',
            "guardrails",
        ),
    ]
    text = ""
    for lines, what, place in said:
        items = "".join(f"<li>{escape(line)}</li>" for line in lines[:MOST_NOTICED])
        more = len(lines) - MOST_NOTICED
        items += f'<li><a href="#{place}">and {more} more</a></li>' if more > 0 else ""
        text += f"<p>{what}</p><ul>{items}</ul>" if lines else ""
    return f'<aside class="notice">{text}</aside>' if text else ""


def _provenance(campaign: CampaignRecords) -> str:
    info = campaign.info
    facts = {"source": info.source, "commit": info.git_commit or "", **info.versions}
    return "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items() if v)
