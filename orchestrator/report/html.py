"""The page of a campaign: one HTML file that needs no network, for a screen, a phone and a printer.

`templates/page.html` is the frame, `page.css` the style, and `page.js` paints the figures in the light or the dark
palette.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.comparison.comparison import Comparison, compare
from orchestrator.report import figures
from orchestrator.report.arms import arms_of, shown_at_first
from orchestrator.report.guardrails import complaints
from orchestrator.report.headline import findings, headline
from orchestrator.report.rendering import Arms, json_for_script, plotly_script, rendered, script
from orchestrator.report.samples import samples_of, samples_section
from orchestrator.report.sections import Section, sections_of
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
    return rendered(
        "page.html",
        css=script("page.css"),
        js=script("page.js"),
        arms_js=script("arms.js"),
        samples_js=script("samples.js"),
        plotly=plotly_script(),
        figures=json_for_script(drawn),
        arm_data=json_for_script(arms_of(comparison)),
        samples=json_for_script(samples),
        arms=Arms.of(campaign),
        at_first=shown_at_first(comparison),
        metric=comparison.metric,
        info=campaign.info,
        facts=_facts(campaign),
        title=heading,
        leads=leads,
        troubles=[each for each in _troubles(campaign) if each.lines],
        most=MOST_NOTICED,
        first=first,
        findings=[sentence for sentence in findings(comparison) if sentence != heading],
        sections=sections,
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


def _facts(campaign: CampaignRecords) -> list[str]:
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
    return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """Lines about one sort of trouble, what they are, and the section that has them in full."""

    lines: list[str]
    what: str
    place: str


def _troubles(campaign: CampaignRecords) -> list[_Trouble]:
    """What went wrong: runs that are not done, those that a guardrail stopped, and what guardrails found."""
    return [
        _Trouble(
            lines=[unfinished(run) for run in campaign.runs if not run.over],
            what="Not every run has finished. The sentences and the tables leave these runs out; the plots show "
            "them only if their arm has no other run.",
            place="runs",
        ),
        _Trouble(
            lines=[unfinished(run) for run in campaign.runs if run.stopped],
            what="A guardrail stopped these runs. They count with the last value that they reached, and the curves "
            "of evaluations keep it.",
            place="runs",
        ),
        _Trouble(lines=complaints(campaign), what="Guardrails and loops complained", place="guardrails"),
    ]


def _provenance(campaign: CampaignRecords) -> dict[str, str]:
    info = campaign.info
    return {"source": info.source, "commit": info.git_commit or "", **info.versions}
