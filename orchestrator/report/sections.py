"""The sections of a campaign's page, in their order; the page's list of contents is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from orchestrator.comparison.comparison import Comparison
from orchestrator.report import comparison_figures, figures, law_tables, loop_tables, mechanism, tables
from orchestrator.report.glossary import GLOSSARY
from orchestrator.report.guardrails import guardrail_section
from orchestrator.report.html_tables import sortable, sparklines, table_section
from orchestrator.report.outcome_table import outcome
from orchestrator.report.plot_style import Figure
from orchestrator.report.rendering import Arms, rendered
from orchestrator.report.settings import differing, shared
from orchestrator.report.summary_cells import columns
from orchestrator.storage.run_data import CampaignRecords

SUMMARY = (
    "Mean ± sample standard deviation over seeds, which one seed does not have; – means unknown or not applicable. An "
    "arm’s name opens its settings; a column’s title sorts."
)
BANDS = (
    "Bands: 95 % intervals of the mean over seeds, Student’s t below eight seeds and the bootstrap from there on. A seed "
    "counts as a whole, because one policy solves all parts of the evaluation."
)
LOOPS = (
    "The applied command, and the terms of the control law that add up to it before limits. Dotted: the limits. Shaded: "
    "iterations at which at least half of the seeds were at a limit."
)
LAW = (
    "Mean reward of training responses against exp(entropy), every iteration of every seed, with the law R = b − a·exp(H) "
    "fitted by least squares (± standard error). Dashed: the ceiling b − a, its value at zero entropy. Dotted instead of "
    "solid: the law is not identified. It was found on runs without entropy control; a loop that holds entropy leaves "
    "little to fit."
)
PREDICTED = (
    "Each iteration’s change of entropy against the first-order prediction from its batch, −Cov(π(ln π + H), A). The "
    "prediction holds for the plain policy gradient at unit step size, without the actuators’ push: compare sign and "
    "shape, not size."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section: HTML below a title, and the figures that have a place in it."""

    id: str
    title: str
    body: Markup
    figures: Sequence[Figure] = ()


def sections_of(comparison: Comparison, control: Section | None, samples: Markup) -> list[Section]:
    """Those that have something to show; ``control`` is of loops that name their plant, ``samples`` a frame."""
    campaign = comparison.campaign
    several = [
        Section(id="outcome", title="At the start, at the end", body=_outcome(comparison)),
        Section(id="guardrails", title="Guardrails", body=guardrail_section(campaign)),
        Section(id="summary", title="Summary", body=_summary(comparison)),
        _against(comparison),
        Section(id="responses", title="Samples", body=samples),
        _loops(comparison),
        *([control] if control else []),
        _learning(comparison),
        _paths(campaign),
        _mechanism(comparison),
        Section(id="settings", title="How the arms differ", body=_settings(campaign)),
        Section(id="runs", title="Runs", body=_runs(campaign)),
        Section(id="words", title="Words", body=rendered("glossary.html", glossary=GLOSSARY)),
    ]
    return [each for each in several if each.body]


def _plots(figures: Sequence[Figure], campaign: CampaignRecords, missing: str = "", note: str = "") -> Markup:
    """Figures side by side, or the sentence for their place, and a note."""
    return rendered("plots.html", arms=Arms.of(campaign), figures=figures, missing=missing, note=note)


def _outcome(comparison: Comparison) -> Markup:
    return table_section(outcome(comparison), comparison.campaign, caption=False)


def _summary(comparison: Comparison) -> Markup:
    campaign = comparison.campaign
    return rendered(
        "summary.html",
        table=sortable(tables.summary(comparison), campaign, sparklines(campaign)),
        note=SUMMARY,
        meanings=[(each.title, each.meaning) for each in columns(comparison.summaries)],
    )


def _against(comparison: Comparison) -> Section:
    campaign = comparison.campaign
    drawn = [comparison_figures.profiles(comparison), comparison_figures.pass_at_k(comparison)]
    body = (
        table_section(tables.statistics(comparison), campaign, caption=False)
        + table_section(tables.progress(comparison), campaign)
        + _plots(drawn, campaign, note=BANDS)
    )
    title = f"Who is better: {comparison.metric} against {comparison.baseline}"
    return Section(id="comparison", title=title, body=body, figures=drawn)


def _loops(comparison: Comparison) -> Section:
    campaign = comparison.campaign
    drawn = figures.commands(campaign)
    body = _plots(
        drawn, campaign, "No arm of this campaign has a feedback loop.", LOOPS if drawn else ""
    ) + table_section(loop_tables.setpoint_quality(comparison), campaign)
    if comparison.recoveries:
        body += table_section(loop_tables.recovery(comparison), campaign)
    return Section(id="loops", title="What the loops did", body=body, figures=drawn)


def _learning(comparison: Comparison) -> Section:
    campaign = comparison.campaign
    drawn = [figures.pass_rate(campaign)]
    body = (
        _plots(drawn, campaign)
        + table_section(tables.efficiency(comparison), campaign)
        + table_section(tables.pass_at_k(comparison), campaign)
        + table_section(law_tables.asymptote(comparison), campaign)
    )
    return Section(id="learning", title="Learning", body=body, figures=drawn)


def _paths(campaign: CampaignRecords) -> Section:
    drawn = figures.trajectories(campaign)
    last = figures.last_iteration(campaign)
    body = rendered("paths.html", arms=Arms.of(campaign), figures=drawn, last=last)
    return Section(id="paths", title="Reward against entropy", body=body, figures=drawn)


def _mechanism(comparison: Comparison) -> Section:
    campaign = comparison.campaign
    laws, predictions = mechanism.laws(comparison), mechanism.predictions(comparison)
    body = (
        _plots(laws, campaign, "No run has recorded reward and entropy.", LAW)
        + table_section(law_tables.entropy_law(comparison), campaign)
        + _plots(predictions, campaign, "No run has recorded predicted changes of entropy.", PREDICTED)
    )
    return Section(id="mechanism", title="The entropy mechanism", body=body, figures=[*laws, *predictions])


def _settings(campaign: CampaignRecords) -> Markup:
    return rendered(
        "settings.html", arms=Arms.of(campaign), differing=differing(campaign), shared=shared(campaign)
    )


def _runs(campaign: CampaignRecords) -> Markup:
    runs = [
        (run, "; ".join([*([run.status.reason] if run.status.reason else []), *run.status.notes]))
        for run in campaign.runs
    ]
    return rendered("runs.html", arms=Arms.of(campaign), runs=runs)
