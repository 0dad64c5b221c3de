"""Sentences on the arms that lost and the arms that gained, against their own start and against the baseline.

They state the rows of the comparison's tables and compute nothing, so a sentence and its table
never differ.  Losses come first, in the same words as gains.  Names of arms stand in `backticks`.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.comparison.comparison import Comparison
from orchestrator.comparison.contrasts import DEFAULT_METRIC, Contrast
from orchestrator.comparison.family import NOT_TOLD
from orchestrator.comparison.progress import Progress
from orchestrator.report.summary_cells import interval, p_value, signed, stopped_seeds
from orchestrator.storage.run_data import CampaignRecords

OWN_START = "its own start"
STOPPED = (
    "A guardrail stopped these runs, and each counts with the last value that it reached, or with 0 in an evaluation "
    "that it never reached"
)

Row = Contrast | Progress


def losses(comparison: Comparison) -> list[str]:
    """Sentences on every arm that ended below its own start or the baseline; significant losses come first."""
    return [*_told(comparison, below=True), *_untold(comparison, below=True)]


def gains(comparison: Comparison) -> list[str]:
    """Sentences on every arm that did not end below its own start or the baseline."""
    return [*_told(comparison, below=False), *_untold(comparison, below=False)]


def stopped(campaign: CampaignRecords) -> list[str]:
    """The sentence on runs that a guardrail stopped, and on their values."""
    seeds = stopped_seeds(campaign)
    return [f"{STOPPED}: {seeds}."] if seeds else []


def _rows(comparison: Comparison, *, below: bool) -> list[tuple[str, list[Row]]]:
    """The references that arms are compared with, and the arms on one side of each."""
    against: list[tuple[str, Sequence[Row]]] = [
        (OWN_START, comparison.progress),
        (f"`{comparison.baseline}`", comparison.contrasts),
    ]
    return [
        (name, [row for row in rows if (row.difference < 0 if below else row.difference >= 0)])
        for name, rows in against
    ]


def _told(comparison: Comparison, *, below: bool) -> list[str]:
    side = "below" if below else "above"
    return [
        f"`{row.arm}` ended {side} {against}: {_metric(comparison)} {signed(row.difference)} ({_evidence(row)})."
        for against, rows in _rows(comparison, below=below)
        for row in rows
        if row.told
    ]


def _untold(comparison: Comparison, *, below: bool) -> list[str]:
    """One sentence for all arms on a side of which the same has to be said."""
    ended = "ended below" if below else "did not end below"
    sentences = []
    for against, rows in _rows(comparison, below=below):
        alike: dict[str, list[Row]] = {}
        for row in rows:
            if not row.told:
                alike.setdefault(row.verdict, []).append(row)
        for verdict, own in alike.items():
            arms = ", ".join(f"`{row.arm}` {signed(row.difference)}{_could_be_found(row)}" for row in own)
            metric = _metric(comparison)
            sentences.append(f"{metric[0].upper()}{metric[1:]} {ended} {against}: {arms}; {verdict}.")
    return sentences


def _evidence(row: Row) -> str:
    found = row.difference_interval
    return f"95 % {interval(found)} by {found.kind}, p = {p_value(row.p_adjusted)}, {row.num_pairs} seeds"


def _could_be_found(row: Row) -> str:
    """How large a difference would have had to be, where there were seeds enough to find any."""
    if row.verdict != NOT_TOLD or not row.detectable > 0:
        return ""
    return (
        f" (p = {p_value(row.p_adjusted)}; {row.num_pairs} seeds find {row.detectable:.3f} in 80 % of cases)"
    )


def _metric(comparison: Comparison) -> str:
    return "held-out greedy pass rate" if comparison.metric == DEFAULT_METRIC else comparison.metric
