"""What the guardrails of a campaign's runs found, as rows for the page and lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from orchestrator.report.html_parts import chip, table_rows
from orchestrator.storage.guardrail_files import Event
from orchestrator.storage.run_data import Campaign, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One event of a run, and what came of it."""

    run: Run
    event: Event
    outcome: str


def findings_of_guardrails(campaign: Campaign) -> Iterator[Finding]:
    """Every event of every run, in the order of the runs."""
    for run in campaign.runs:
        for event in run.events:
            yield Finding(run=run, event=event, outcome=_outcome(run, event))


def guardrail_lines(campaign: Campaign) -> list[str]:
    """A line for each detector of each run: what it found first, and how often."""
    seen: dict[tuple[str, str], list[Finding]] = {}
    for found in findings_of_guardrails(campaign):
        seen.setdefault((found.run.name, found.event.detector), []).append(found)
    return [
        f"{name}: {several[0].event.reason} (iteration {several[0].event.iteration}"
        f"{f', and {len(several) - 1} times more' if len(several) > 1 else ''}); {several[-1].outcome}"
        for (name, _), several in seen.items()
    ]


def guardrail_section(campaign: Campaign) -> str:
    """The section of the page; nothing where nothing was found."""
    found = list(findings_of_guardrails(campaign))
    if not found:
        return ""
    rows = table_rows(
        (
            chip(campaign, each.run.info.arm),
            str(each.run.info.seed),
            str(each.event.iteration),
            escape(each.event.reason),
            escape(each.outcome),
        )
        for each in found
    )
    heads = "".join(f"<th>{head}</th>" for head in ("arm", "seed", "iteration", "found", "what came of it"))
    return (
        '<section class="wide" id="guardrails"><h2>Guardrails</h2><div class="scroll"><table class="runs">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _outcome(run: Run, event: Event) -> str:
    if event.action == "warn":
        return "a warning"
    if event.action == "hold":
        return "loops held their command while it lasted"
    if event.attempt >= len(run.rollbacks):
        too_often = ": it had been rolled back as often as is allowed" if event.action == "rollback" else ""
        return f"the run was stopped{too_often}"
    rollback = run.rollbacks[event.attempt]
    if rollback.requested:
        return f"the run was stopped, and taken up again from iteration {rollback.to}; {rollback.change}"
    if rollback.iteration != event.iteration:
        return "another guardrail rolled the run back first"
    return f"rolled back to iteration {rollback.to}; {rollback.change}"
