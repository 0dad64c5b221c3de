"""What a campaign showed, in sentences made from its numbers.  Names of arms stand in `backticks`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np

from orchestrator.comparison import Estimate, Summary
from orchestrator.comparison.contrasts import LEVEL, pairs
from orchestrator.comparison.differences import pairs_needed, permutation_p, smallest_p

COLLAPSE = 0.5  # of its initial value: below, entropy has collapsed
GROWTH = 1.5  # of its initial value: above, entropy has grown
HOLD = 0.1  # of the setpoint: a loop whose error is smaller holds it
SATURATED = 0.2  # of the iterations: a command that is at a limit more often lacks authority


def title(summaries: Sequence[Summary]) -> str:
    """The one sentence for the top of the page."""
    free = [s for s in summaries if s.num_done and not s.has_setpoint and _change(s) < COLLAPSE]
    holding = [s for s in summaries if _holds(s) and s.band is None]
    if free and holding:
        left, held = min(free, key=_change), min(holding, key=lambda s: s.hold_error.mean)
        return (
            f"Left alone, entropy fell from {left.entropy_start.mean:.2f} to "
            f"{left.entropy_final.mean:.3f} nats per token. `{held.arm}` held it at "
            f"{held.setpoint.mean:.2f}, within {100 * held.hold_error.mean:.1f} %."
        )
    sentences = findings(summaries)
    return sentences[0] if sentences else "No run of this campaign has finished yet."


def findings(summaries: Sequence[Summary]) -> list[str]:
    """A sentence an arm about its entropy, then one about who solves more."""
    finished = [summary for summary in summaries if summary.num_done and summary.entropy_final.num]
    sentences = [_sentence(each) for each in finished]
    return sentences + _who_solves_more(finished)


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
    error, target = summary.hold_error.mean, f"its setpoint of {summary.setpoint.mean:.3f} nats per token"
    if _holds(summary):
        return f"`{summary.arm}` held {target} within {100 * error:.1f} % over the last quarter of training."
    return (
        f"`{summary.arm}` did not hold {target}: over the last quarter of training it was off by "
        f"{100 * error:.0f} %, and ended at {summary.entropy_final.mean:.3f}{_at_limits(summary)}."
    )


def _at_limits(summary: Summary) -> str:
    if not summary.saturation.num or summary.saturation.mean <= SATURATED:
        return ""
    return f"; its command was at a limit in {100 * summary.saturation.mean:.0f} % of the iterations"


def _who_solves_more(summaries: Sequence[Summary]) -> list[str]:
    scored = [summary for summary in summaries if summary.pass_at_1.num]
    if len(scored) < 2:
        return []
    baseline = next((summary for summary in scored if not summary.has_setpoint), scored[0])
    best = max(scored, key=lambda summary: summary.pass_at_1.mean)
    if best is baseline:
        best = max((s for s in scored if s is not baseline), key=lambda summary: summary.pass_at_1.mean)
    sentence = f"Held-out pass@1 is {_against(best.pass_at_1, baseline.pass_at_1, best.arm, baseline.arm)}"
    if best.pass_at_k.num and baseline.pass_at_k.num and best.k == baseline.k:
        sentence += f", pass@{best.k} {best.pass_at_k.mean:.3f} against {baseline.pass_at_k.mean:.3f}"
    return [f"{sentence}; {_significance(best, baseline, len(scored) - 1)}."]


def _against(one: Estimate, other: Estimate, name: str, other_name: str) -> str:
    return f"{one.mean:.3f} for `{name}` against {other.mean:.3f} for `{other_name}`"


def _significance(one: Summary, other: Summary, num_tests: int) -> str:
    """Whether chance explains a difference, tested seed by seed; the best of several arms pays for the choice."""
    first = dict(zip(one.seeds, one.pass_at_1.values, strict=True))
    second = dict(zip(other.seeds, other.pass_at_1.values, strict=True))
    difference = np.subtract(*pairs(first, second))
    if difference.size < 2:
        seeds = "one seed" if difference.size else "no seed in common"
        return f"with {seeds}, nobody knows how much of that is chance"
    p = min(1.0, num_tests * permutation_p(difference))
    if p <= LEVEL:
        return f"chance does not explain that over {difference.size} seeds (p = {p:.2g})"
    if num_tests * smallest_p(difference.size) > LEVEL:
        needed = pairs_needed(LEVEL, num_tests)
        return f"{difference.size} seeds are too few to tell that from chance, {needed} could"
    return f"chance explains that too (p = {p:.2g} over {difference.size} seeds)"


def _signed(change: float) -> str:
    return f"{100 * change:+.0f} %".replace("-", "−")


def _holds(summary: Summary) -> bool:
    return summary.has_setpoint and summary.hold_error.num > 0 and summary.hold_error.mean < HOLD


def _change(summary: Summary) -> float:
    """Final over initial entropy; 1 where it cannot be told."""
    start, end = summary.entropy_start.mean, summary.entropy_final.mean
    return end / start if isfinite(end) and isfinite(start) and start > 0 else 1.0
