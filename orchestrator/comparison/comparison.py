"""The complete comparison, computed once for the terminal, for files and for the page."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from controllers.quality.asymptote import Asymptote
from controllers.quality.entropy_law import EntropyLaw, fit_entropy_law
from orchestrator.comparison.bootstrap import Interval
from orchestrator.comparison.contrasts import (
    DEFAULT_METRIC,
    Contrast,
    baseline_of,
    contrasts,
    require_metric,
)
from orchestrator.comparison.learning import (
    Efficiency,
    Profile,
    asymptote,
    default_target,
    efficiency,
    pass_at_k,
    profile,
    strata,
)
from orchestrator.comparison.progress import Progress, progress
from orchestrator.comparison.recovery import Recovery, recoveries
from orchestrator.comparison.setpoint_quality import SetpointQuality, setpoint_quality
from orchestrator.comparison.summary import Estimate, Summary, entropy_and_reward, summarise
from orchestrator.storage.metric_names import recorded_name
from orchestrator.storage.run_data import CampaignRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One entry an arm in every tuple, in the order of the campaign's arms."""

    campaign: CampaignRecords
    metric: str
    baseline: str
    target: float
    """Value of the metric that learning efficiency counts to; nan where there is none."""
    summaries: tuple[Summary, ...]
    contrasts: tuple[Contrast, ...]
    """Against the baseline."""
    progress: tuple[Progress, ...]
    """Against its own start."""
    efficiencies: tuple[Efficiency, ...]
    pass_at_k: tuple[dict[int, tuple[Estimate, Interval]], ...]
    profiles: tuple[Profile | None, ...]
    laws: tuple[EntropyLaw, ...]
    asymptotes: tuple[Asymptote, ...]
    setpoint_quality: tuple[SetpointQuality, ...]
    recoveries: tuple[Recovery, ...]
    """Not one an arm but one for each of its loops and each change of its plant."""

    @property
    def ks(self) -> list[int]:
        """Every k that any arm was evaluated with."""
        return sorted({k for curve in self.pass_at_k for k in curve})


def compare(
    campaign: CampaignRecords,
    *,
    metric: str | None = None,
    baseline: str | None = None,
    target: float | None = None,
) -> Comparison:
    """Compare the arms of a campaign, or of several merged into one.

    Args:
        metric: the metric that arms are tested on; the held-out greedy pass rate by default.
        baseline: the arm that the others are compared with.
        target: target of the metric, for learning efficiency; by default the baseline's final value.

    Raises:
        ConfigError: no arm has the name of the baseline; runs lack the metric that was asked for.
    """
    arms = campaign.arms
    if metric is not None:
        metric = recorded_name(metric)
        require_metric(arms, metric)
    metric = metric or DEFAULT_METRIC
    baseline = baseline_of(arms, baseline)
    if target is None:
        target = default_target(arms, baseline, metric)
    parts = strata(arms, metric)
    summaries = tuple(summarise(arm) for arm in arms)
    return Comparison(
        campaign=campaign,
        metric=metric,
        baseline=baseline,
        target=target,
        summaries=summaries,
        contrasts=tuple(contrasts(arms, metric, baseline)) if arms else (),
        progress=tuple(progress(arms, metric)),
        efficiencies=tuple(efficiency(arm, metric, target) for arm in arms) if isfinite(target) else (),
        pass_at_k=tuple(pass_at_k(arm) for arm in arms),
        profiles=tuple(profile(arm, parts) if parts else None for arm in arms),
        laws=tuple(fit_entropy_law(*entropy_and_reward(arm.shown)) for arm in arms),
        asymptotes=tuple(asymptote(arm) for arm in arms),
        setpoint_quality=tuple(
            setpoint_quality(arm, known) for arm, known in zip(arms, summaries, strict=True)
        ),
        recoveries=tuple(recovery for arm in arms for recovery in recoveries(arm)),
    )
