"""The title and the findings of a campaign, in sentences made from its numbers.  Names of arms stand in `backticks`.

Losses come first, then the entropy of every arm, then gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from orchestrator.comparison import Summary
from orchestrator.comparison.comparison import Comparison
from orchestrator.report.outcomes import gains, losses, stopped
from orchestrator.report.starts import starts
from orchestrator.report.verdicts import verdicts
from orchestrator.storage.run_data import holds_entropy

COLLAPSE = 0.5  # of its initial value: below, entropy has collapsed
GROWTH = 1.5  # of its initial value: above, entropy has grown
HOLD = 0.1  # of the setpoint: a loop whose error is smaller holds it
SATURATED = 0.2  # of the iterations: a command that is at a limit more often lacks authority


def headline(comparison: Comparison) -> list[str]:
    """The title of the page and the sentences below it: who lost or gained, then what entropy did left alone."""
    sentences = [*verdicts(comparison), *entropy_title(comparison.summaries)]
    return sentences or [*findings(comparison), "No run of this campaign has finished yet."][:1]


def entropy_title(summaries: Sequence[Summary]) -> list[str]:
    """What entropy did left alone, beside the arm that held it best; nothing without one of each."""
    free = [s for s in summaries if s.num_over and not s.has_setpoint and _change(s) < COLLAPSE]
    holding = [s for s in summaries if _holds(s) and s.band is None and holds_entropy(s.sensor)]
    if not (free and holding):
        return []
    left, held = min(free, key=_change), min(holding, key=lambda s: s.hold_error.mean)
    return [
        f"Left alone, entropy fell from {left.entropy_start.mean:.2f} to "
        f"{left.entropy_final.mean:.3f} nats per token. `{held.arm}` held it at "
        f"{held.setpoint.mean:.2f}, within {100 * held.hold_error.mean:.1f} %."
    ]


def findings(comparison: Comparison) -> list[str]:
    """Losses, stopped runs, starts with nothing to find, a sentence an arm about its entropy, gains."""
    return [
        *losses(comparison),
        *stopped(comparison.campaign),
        *starts(comparison.campaign.arms),
        *entropy_findings(comparison.summaries),
        *gains(comparison),
    ]


def entropy_findings(summaries: Sequence[Summary]) -> list[str]:
    """A sentence for every arm that has an ended run with measured entropy."""
    return [_sentence(each) for each in summaries if each.num_over and each.entropy_final.num]


def _sentence(summary: Summary) -> str:
    if not summary.has_setpoint:
        return _unregulated(summary)
    return _regulated(summary) if summary.band is None else _in_band(summary, summary.band)


def _unregulated(summary: Summary) -> str:
    start, end = summary.entropy_start.mean, summary.entropy_final.mean
    change = _change(summary)
    verdict = "has no setpoint; its entropy went"
    if change < COLLAPSE:
        verdict = "collapsed: its entropy fell"
    elif change > GROWTH:
        verdict = "has no setpoint; its entropy rose"
    return f"`{summary.arm}` {verdict} from {start:.3f} to {end:.3f} nats per token ({_signed(change - 1)})."


def _in_band(summary: Summary, band: tuple[float, float]) -> str:
    """A loop with a band is asked for nothing inside of it: how far it is from an edge says nothing."""
    low, high = band
    edges = f"of {low:.3f} to {high:.3f}" if isfinite(high) else f"above {low:.3f}"
    return (
        f"`{summary.arm}` was inside its band {edges} nats per token for "
        f"{100 * summary.inside.mean:.0f} % of the last quarter of training, and ended at "
        f"{summary.entropy_final.mean:.3f}{_at_limits(summary)}."
    )


def _regulated(summary: Summary) -> str:
    error, target = summary.hold_error.mean, f"its setpoint of {summary.setpoint.mean:.3f}{_unit(summary)}"
    if _holds(summary):
        return f"`{summary.arm}` held {target} within {100 * error:.1f} % over the last quarter of training."
    ended = f", and ended at {summary.entropy_final.mean:.3f}" if holds_entropy(summary.sensor) else ""
    return (
        f"`{summary.arm}` did not hold {target}: over the last quarter of training it was off by "
        f"{100 * error:.0f} %{ended}{_at_limits(summary)}."
    )


def _unit(summary: Summary) -> str:
    """What a setpoint is of."""
    return " nats per token" if holds_entropy(summary.sensor) else f" for {summary.sensor}"


def _at_limits(summary: Summary) -> str:
    if not summary.saturation.num or summary.saturation.mean <= SATURATED:
        return ""
    return f"; its command was at a limit in {100 * summary.saturation.mean:.0f} % of the iterations"


def _signed(change: float) -> str:
    return f"{100 * change:+.0f} %".replace("-", "−")


def _holds(summary: Summary) -> bool:
    return summary.has_setpoint and summary.hold_error.num > 0 and summary.hold_error.mean < HOLD


def _change(summary: Summary) -> float:
    """Final over initial entropy; 1 where it cannot be told."""
    start, end = summary.entropy_start.mean, summary.entropy_final.mean
    return end / start if isfinite(end) and isfinite(start) and start > 0 else 1.0
