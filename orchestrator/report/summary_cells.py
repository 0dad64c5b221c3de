"""The columns of the summary table, and the text of a number with its spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

from orchestrator.comparison import SETTLING_TOLERANCE, SETTLING_WINDOW, Estimate, Summary
from orchestrator.comparison.bootstrap import Interval
from orchestrator.report.table import NONE
from orchestrator.storage.run_data import CampaignRecords, RunRecords

HARRIS = (
    "mean square error of the last half, divided by the least that any law could reach with this noise and delay; "
    "the delay in brackets is that of the loop's plant; 1 is perfect"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of the table."""

    title: str
    meaning: str
    text: Callable[[Summary], str]
    estimate: Callable[[Summary], Estimate] | None = None
    """The numbers behind the text, for files that are read by programs."""


def columns(summaries: Sequence[Summary]) -> list[Column]:
    """The figures, each with what it means; pass@k is there where somebody measured it."""
    k = max((summary.k for summary in summaries), default=0)
    pass_at_k = Column(
        f"pass@{k}",
        f"share of held-out problems that {k} samples solve at least once (unbiased estimator), at the end",
        lambda s: number(s.pass_at_k),
        lambda s: s.pass_at_k,
    )
    return [
        Column(
            "greedy",
            "share of held-out problems that the greedy response solves, at the end",
            lambda s: number(s.pass_at_1),
            lambda s: s.pass_at_1,
        ),
        *([pass_at_k] if k else []),
        Column(
            "final entropy",
            "nats per token, mean over the last tenth of the iterations",
            lambda s: number(s.entropy_final),
            lambda s: s.entropy_final,
        ),
        Column(
            "setpoint",
            "nats per token that the loop should hold at the end; a range if the loop has one",
            setpoint,
            lambda s: s.setpoint,
        ),
        Column(
            "RMSE",
            "nats per token, root mean square of setpoint minus unfiltered entropy over the whole run",
            lambda s: number(s.rmse),
            lambda s: s.rmse,
        ),
        Column(
            "settling",
            f"iterations until the mean of {SETTLING_WINDOW} readings stays within {SETTLING_TOLERANCE:.0%} of the setpoint",
            settling,
            lambda s: s.settling,
        ),
        Column(
            "at limit",
            "saturation: share of iterations with the command at a limit of the loop or of its law",
            lambda s: percent(s.saturation),
            lambda s: s.saturation,
        ),
        Column(
            "Harris index",
            HARRIS,
            lambda s: harris(s.harris, s.dead_time),
            lambda s: s.harris,
        ),
    ]


def harris(estimate: Estimate, dead_time: int | None) -> str:
    """The index with the delay that it goes by."""
    if not estimate.num:
        return NONE
    text = number(estimate, 2 if estimate.mean < 100 else 0)
    return f"{text} (delay {dead_time})" if dead_time else f"{text} (delay 1 assumed)"


def number(estimate: Estimate, digits: int = 3, *, spread: bool = True) -> str:
    """`0.912 ± 0.010`; the spread of one seed is unknown, and shown so."""
    if not estimate.num:
        return NONE
    text = _minus(f"{estimate.mean:.{digits}f}")
    if not spread:
        return text
    return f"{text} ± {_spread(estimate.std, digits)}"


def percent(estimate: Estimate, digits: int = 0) -> str:
    """The same as a percentage."""
    if not estimate.num:
        return NONE
    return f"{_minus(f'{100 * estimate.mean:.{digits}f}')} % ± {_spread(100 * estimate.std, digits)}"


def _minus(text: str) -> str:
    """A minus sign as wide as the plus."""
    return text.replace("-", "−")


def _spread(std: float, digits: int) -> str:
    """A spread that rounds to nothing is small, not 0."""
    if not isfinite(std):
        return NONE
    smallest = 10.0**-digits
    return f"<{smallest:.{digits}f}" if 0 < std < smallest / 2 else f"{std:.{digits}f}"


def setpoint(summary: Summary) -> str:
    """`0.200`, or the edges of a band: `0.200 to 0.500`, `≥ 0.200`."""
    if summary.band is None:
        return number(summary.setpoint, spread=False)
    low, high = summary.band
    return f"{low:.3f} to {high:.3f}" if isfinite(high) else f"≥ {low:.3f}"


def settling(summary: Summary) -> str:
    """Iterations, and of how many seeds where not all of them settled."""
    if not summary.has_setpoint:
        return NONE
    if not summary.settling.num:
        return "never"
    text = number(summary.settling, digits=0)
    settled, runs = summary.settling.num, len(summary.settling.values)
    return text if settled == runs else f"{text} ({settled} of {runs})"


def seeds(summary: Summary) -> str:
    """`3`, or `2 of 3` where some are not over; `3 (1)` where a guardrail stopped one of them."""
    text = str(summary.num_runs)
    if summary.num_over != summary.num_runs:
        text = f"{summary.num_over} of {summary.num_runs}"
    return f"{text} ({summary.num_stopped})" if summary.num_stopped else text


def stopped_seeds(campaign: CampaignRecords) -> str:
    """`aer seeds 1, 4; grpo seed 2`: the runs that a guardrail stopped; "" without any."""
    found = []
    for arm in campaign.arms:
        own = [str(run.info.seed) for run in arm.runs if run.stopped]
        if own:
            found.append(f"{arm.name} {'seed' if len(own) == 1 else 'seeds'} {', '.join(own)}")
    return "; ".join(found)


def signed(value: float, digits: int = 3) -> str:
    """`+0.012`, `−0.012`, or a dash."""
    return f"{value:+.{digits}f}".replace("-", "−") if isfinite(value) else NONE


def plain(value: float, digits: int = 3) -> str:
    """`0.012`, or a dash."""
    return f"{value:.{digits}f}" if isfinite(value) else NONE


def around(text: str, ends: Interval) -> str:
    """A number and its interval, `+0.012 [−0.010, 0.034]`; the number alone where there is no interval."""
    return f"{text} {interval(ends)}" if isfinite(ends.low) else text


def interval(ends: Interval) -> str:
    """`[−0.012, 0.034]`, or a dash."""
    return f"[{_minus(f'{ends.low:.3f}')}, {_minus(f'{ends.high:.3f}')}]" if isfinite(ends.low) else NONE


def p_value(p: float) -> str:
    """`0.031`, `<0.001`, or a dash."""
    if not isfinite(p):
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def unfinished(run: RunRecords) -> str:
    """How a run ended that is not done: `grpo seed 1: failed after 12 of 150 iterations (reason)`."""
    status = run.status
    reason = f" ({status.reason})" if status.reason else ""
    return (
        f"{run.name}: {status.status} after {status.iteration} of {status.num_iterations} iterations{reason}"
    )
