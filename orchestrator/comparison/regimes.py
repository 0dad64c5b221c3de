"""Compares methods over several campaigns, each a regime of its own: where a method gains and where it loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

from orchestrator.comparison.contrasts import Contrast, baseline_of, contrasts, require_metric
from orchestrator.storage.metric_names import recorded_name
from orchestrator.storage.run_data import CampaignRecords

METRICS = ("eval/pass_at_1", "eval/pass_rate", "eval/pass_at_8")
"""Held-out pass rates: greedy, sampled, and of eight samples at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeMap:
    """One metric at the end of training, of every arm in every regime against the regime's own baseline."""

    metric: str
    regimes: tuple[str, ...]
    arms: tuple[str, ...]
    """All but the baseline, in the order in which the campaigns name them first."""
    baseline: str
    contrasts: Mapping[tuple[str, str], Contrast]
    """By arm and regime; a regime without that arm has none."""

    def gains(self, arm: str) -> list[float]:
        """Differences of an arm from the baseline, one for each regime that has it."""
        found = (self.contrasts.get((arm, regime)) for regime in self.regimes)
        return [each.difference for each in found if each is not None]

    def mean(self, arm: str) -> float:
        """Mean gain over the regimes; nan where one of them lacks the arm, since a mean of fewer is another thing."""
        gains = self.gains(arm)
        return sum(gains) / len(gains) if len(gains) == len(self.regimes) else nan

    def worst(self, arm: str) -> float:
        """The smallest gain over the regimes that have the arm."""
        return min(self.gains(arm), default=nan)


def measured(campaigns: Sequence[CampaignRecords]) -> list[str]:
    """Those of `METRICS` that every campaign was evaluated by."""
    return [
        metric
        for metric in METRICS
        if all(any(metric in run.evaluation.values for run in campaign.runs) for campaign in campaigns)
    ]


def regime_map(campaigns: Sequence[CampaignRecords], metric: str, baseline: str | None = None) -> RegimeMap:
    """Test every arm against the baseline, campaign by campaign.

    Args:
        campaigns: one for each regime, with the same arm as baseline.
        metric: the metric at the end of the runs.
        baseline: by default plain GRPO.

    Raises:
        ConfigError: a campaign has no arm of the baseline's name, or no such metric.
    """
    metric = recorded_name(metric)
    found: dict[tuple[str, str], Contrast] = {}
    name = baseline_of(campaigns[0].arms, baseline)
    for campaign in campaigns:
        baseline_of(campaign.arms, name)
        require_metric(campaign.arms, metric)
        for row in contrasts(campaign.arms, metric, name):
            found[row.arm, campaign.info.name] = row
    return RegimeMap(
        metric=metric,
        regimes=tuple(campaign.info.name for campaign in campaigns),
        arms=tuple(dict.fromkeys(arm for arm, _ in found if arm != name)),
        baseline=name,
        contrasts=found,
    )
