"""The sections of a campaign's page, in their order; the page's list of contents is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from orchestrator.comparison.comparison import Comparison
from orchestrator.report import comparison_figures, figures, law_tables, loop_tables, mechanism, tables
from orchestrator.report.glossary import explained, glossary
from orchestrator.report.guardrails import guardrail_section
from orchestrator.report.html_parts import chip, plots, setting, table_rows
from orchestrator.report.html_tables import sortable, table_section
from orchestrator.report.outcome_table import outcome
from orchestrator.report.plot_style import Figure
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
    body: str
    figures: Sequence[Figure] = ()

    @property
    def html(self) -> str:
        """The section; its title is text."""
        return f'<section class="wide" id="{self.id}"><h2>{escape(self.title)}</h2>{self.body}</section>'


def contents(sections: Sequence[Section]) -> str:
    """A link to each."""
    return "".join(f'<a href="#{each.id}">{escape(each.title)}</a>' for each in sections)


def sections_of(comparison: Comparison, control: Section | None, samples: str) -> list[Section]:
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
        Section(id="words", title="Words", body=glossary()),
    ]
    return [each for each in several if each.body]


def note(text: str) -> str:
    """A note below a table or a figure; its words are explained on hovering."""
    return f'<p class="note">{explained(escape(text))}</p>'


def _outcome(comparison: Comparison) -> str:
    return table_section(outcome(comparison), comparison.campaign, caption=False)


def _summary(comparison: Comparison) -> str:
    meanings = "".join(
        f"<dt>{escape(each.title)}</dt><dd>{escape(each.meaning)}</dd>"
        for each in columns(comparison.summaries)
    )
    table = sortable(tables.summary(comparison), comparison.campaign, sparks=True)
    return (
        f'<div class="scroll">{table}</div>{note(SUMMARY)}'
        f'<details><summary>What the columns mean</summary><dl class="meanings">{meanings}</dl></details>'
    )


def _against(comparison: Comparison) -> Section:
    campaign = comparison.campaign
    drawn = [comparison_figures.profiles(comparison), comparison_figures.pass_at_k(comparison)]
    body = (
        table_section(tables.statistics(comparison), campaign, caption=False)
        + table_section(tables.progress(comparison), campaign)
        + plots(drawn, campaign, "")
        + note(BANDS)
    )
    title = f"Who is better: {comparison.metric} against {comparison.baseline}"
    return Section(id="comparison", title=title, body=body, figures=drawn)


def _loops(comparison: Comparison) -> Section:
    campaign = comparison.campaign
    drawn = figures.commands(campaign)
    recovery = table_section(loop_tables.recovery(comparison), campaign) if comparison.recoveries else ""
    body = (
        plots(drawn, campaign, "No arm of this campaign has a feedback loop.")
        + (note(LOOPS) if drawn else "")
        + table_section(loop_tables.setpoint_quality(comparison), campaign)
        + recovery
    )
    return Section(id="loops", title="What the loops did", body=body, figures=drawn)


def _learning(comparison: Comparison) -> Section:
    campaign = comparison.campaign
    drawn = [figures.pass_rate(campaign)]
    body = (
        plots(drawn, campaign, "")
        + table_section(tables.efficiency(comparison), campaign)
        + table_section(tables.pass_at_k(comparison), campaign)
        + table_section(law_tables.asymptote(comparison), campaign)
    )
    return Section(id="learning", title="Learning", body=body, figures=drawn)


def _paths(campaign: CampaignRecords) -> Section:
    drawn = figures.trajectories(campaign)
    body = plots(drawn, campaign, "No run has recorded reward and entropy.") + (
        f'<p class="note time">iteration 0 <span class="time-scale"></span> {figures.last_iteration(campaign)}. Moving '
        "average over five iterations, every seed; the axes are the same in all plots. Dashed: setpoint.</p>"
    )
    return Section(id="paths", title="Reward against entropy", body=body, figures=drawn)


def _mechanism(comparison: Comparison) -> Section:
    campaign = comparison.campaign
    laws, predictions = mechanism.laws(comparison), mechanism.predictions(comparison)
    body = (
        plots(laws, campaign, "No run has recorded reward and entropy.")
        + note(LAW)
        + table_section(law_tables.entropy_law(comparison), campaign)
        + plots(predictions, campaign, "No run has recorded predicted changes of entropy.")
        + note(PREDICTED)
    )
    return Section(id="mechanism", title="The entropy mechanism", body=body, figures=[*laws, *predictions])


def _settings(campaign: CampaignRecords) -> str:
    rows = differing(campaign)
    if rows:
        heads = "".join(f"<th>{chip(campaign, arm.name)}</th>" for arm in campaign.arms)
        body = table_rows((escape(key), *map(setting, row)) for key, row in rows)
        differ = (
            f'<div class="scroll"><table class="settings"><thead><tr><th>setting</th>{heads}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )
    else:
        differ = '<p class="missing">The arms do not differ in any setting.</p>'
    same = table_rows((escape(key), setting(value)) for key, value in shared(campaign))
    return (
        f"{differ}<details><summary>Settings that all arms share</summary>"
        f'<div class="scroll"><table class="settings"><tbody>{same}</tbody></table></div></details>'
    )


def _runs(campaign: CampaignRecords) -> str:
    rows = table_rows(
        (
            chip(campaign, run.info.arm),
            str(run.info.seed),
            escape(run.info.method),
            f'<span class="state {escape(run.status.status)}">{escape(run.status.status)}</span>',
            f"{run.status.iteration} of {run.status.num_iterations}",
            f"{run.seconds:.0f} s" if run.seconds == run.seconds else "–",
            escape("; ".join([*([run.status.reason] if run.status.reason else []), *run.status.notes])),
        )
        for run in campaign.runs
    )
    heads = "".join(
        f"<th>{head}</th>" for head in ("arm", "seed", "method", "state", "iterations", "time", "")
    )
    return f'<div class="scroll"><table class="runs"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
