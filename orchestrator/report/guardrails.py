"""Findings of the guardrails of a campaign's runs, as rows for the page and lines for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from orchestrator.report.rendering import Arms, rendered
from orchestrator.storage.guardrail_files import GOES_BACK_FOR, Event
from orchestrator.storage.run_data import CampaignRecords, RunRecords

GRAVEST_FIRST: dict[str, str] = {"stop": "stop", "rollback": "rollback", "hold": "hold", "warn": "warning"}
"""Actions, and the nouns for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The finding of a detector in a run, once or repeatedly, and its last outcome."""

    run: RunRecords
    events: tuple[Event, ...]

    @property
    def first(self) -> Event:
        return self.events[0]

    @property
    def outcome(self) -> str:
        return _outcome(self.run, self.events[-1])

    @property
    def iterations(self) -> str:
        """When it was found."""
        num, last = len(self.events), self.events[-1].iteration
        return f"{self.first.iteration}" if num == 1 else f"{self.first.iteration} … {last}, {num} times"

    @property
    def reason(self) -> str:
        """What was found first, without the detector's name."""
        return self.first.reason.removeprefix(f"{self.first.detector}: ")

    @property
    def line(self) -> str:
        """A sentence for the terminal."""
        more = f", and {len(self.events) - 1} times more" if len(self.events) > 1 else ""
        return (
            f"{self.run.name}: {self.first.reason} (iteration {self.first.iteration}{more}); {self.outcome}"
        )


def findings_of_guardrails(campaign: CampaignRecords) -> Iterator[Finding]:
    """Run after run; what did no more than warn or hold is one finding however often it tripped."""
    for run in campaign.runs:
        alike: dict[tuple[str, ...], list[Event]] = {}
        for event in run.events:
            attempt = str(event.attempt) if event.action in GOES_BACK_FOR else ""
            alike.setdefault((event.detector, event.subject, event.action, attempt), []).append(event)
        for events in alike.values():
            yield Finding(run=run, events=tuple(events))


def guardrail_lines(campaign: CampaignRecords) -> list[str]:
    """A line for each finding."""
    return [found.line for found in findings_of_guardrails(campaign)]


def complaints(campaign: CampaignRecords) -> list[str]:
    """What guardrails and loops found, short: a line for each finding that changed a run, and a line an arm for warnings."""
    found = list(findings_of_guardrails(campaign))
    lines = [each.line for each in found if _is_grave(each)]
    for arm in campaign.arms:
        count = Counter(
            each.first.detector for each in found if each.run.info.arm == arm.name and not _is_grave(each)
        )
        said = ", ".join(f"{detector} in {num}" for detector, num in sorted(count.items()))
        if said:
            lines.append(f"{arm.name}: {said} of {len(arm.runs)} runs")
    return lines


def _is_grave(finding: Finding) -> bool:
    return finding.first.action != "warn"


def guardrail_section(campaign: CampaignRecords) -> Markup:
    """The body of the page's section, the gravest findings first; nothing where nothing was found."""
    found = sorted(
        findings_of_guardrails(campaign), key=lambda each: list(GRAVEST_FIRST).index(each.first.action)
    )
    if not found:
        return Markup()
    return rendered("guardrails.html", arms=Arms.of(campaign), lead=_lead(campaign, found), found=found)


def _lead(campaign: CampaignRecords, found: list[Finding]) -> str:
    count = Counter(each.first.action for each in found)
    what = [
        f"{count[action]} {noun}{'s' if count[action] > 1 else ''}"
        for action, noun in GRAVEST_FIRST.items()
        if count[action]
    ]
    num_runs = len({each.run.name for each in found})
    return f"In {num_runs} of {len(campaign.runs)} runs: {', '.join(what)}."


def _outcome(run: RunRecords, event: Event) -> str:
    if event.action == "warn":
        return "a warning"
    if event.action == "hold":
        return "loops held their command while it lasted"
    if event.attempt >= len(run.rollbacks):
        too_often = ": it had reached the limit of rollbacks" if event.action == "rollback" else ""
        return f"the run was stopped{too_often}"
    rollback = run.rollbacks[event.attempt]
    if rollback.requested:
        return f"the run was stopped, then continued from iteration {rollback.to}; {rollback.change}"
    if rollback.iteration != event.iteration:
        return "another guardrail rolled the run back first"
    return f"rolled back to iteration {rollback.to}; {rollback.change}"
