"""The data of every arm for the page's script: its name, its settings, and whether it is shown at first."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any

from orchestrator.comparison.comparison import Comparison
from orchestrator.report.plot_style import NUM_COLOURS, colour_index
from orchestrator.report.settings import ABSENT, differing, shared


def arms_of(comparison: Comparison) -> dict[str, Any]:
    """For the page's script: arms with the settings in which they differ, and those that all share."""
    campaign = comparison.campaign
    names = [arm.name for arm in campaign.arms]
    different = differing(campaign)
    at_first = shown_at_first(comparison)
    arms = [
        {
            "name": arm.name,
            "method": arm.method,
            "colour": colour_index(names, arm.name),
            "seeds": [run.info.seed for run in arm.runs],
            "shown": number in at_first,
            "score": contrast.estimate.mean if contrast.estimate.num else None,
            "settings": {key: row[number] for key, row in different if row[number] != ABSENT},
        }
        for number, (arm, contrast) in enumerate(zip(campaign.arms, comparison.contrasts, strict=True))
    ]
    return {"arms": arms, "shared": dict(shared(campaign)), "metric": comparison.metric}


def shown_at_first(comparison: Comparison) -> set[int]:
    """All arms while each has a colour of its own; else the baseline and the best, one of each colour."""
    names = [arm.name for arm in comparison.campaign.arms]
    if len(names) <= NUM_COLOURS:
        return set(range(len(names)))

    def rank(number: int) -> tuple[bool, float]:
        mean = comparison.contrasts[number].estimate.mean
        return names[number] != comparison.baseline, -mean if isfinite(mean) else inf

    chosen: dict[int, int] = {}
    for number in sorted(range(len(names)), key=rank):
        chosen.setdefault(colour_index(names, names[number]), number)
    return set(chosen.values())
