"""The tables of a comparison: one row per arm, with cells that have both their text and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, isfinite, nan

from orchestrator.comparison import Estimate
from orchestrator.comparison.bootstrap import BOOTSTRAP, FEWEST_RESAMPLED, STUDENT, Interval
from orchestrator.comparison.comparison import Comparison
from orchestrator.comparison.contrasts import Contrast
from orchestrator.comparison.family import LEVEL
from orchestrator.comparison.learning import Efficiency
from orchestrator.comparison.power import POWER
from orchestrator.comparison.progress import Progress
from orchestrator.report.law_tables import asymptote, entropy_law
from orchestrator.report.loop_tables import recovery, setpoint_quality
from orchestrator.report.outcome_table import outcome
from orchestrator.report.outcomes import stopped
from orchestrator.report.summary_cells import around, columns, interval, number, p_value, plain, seeds, signed
from orchestrator.report.table import NONE, Cell, Head, Table
from orchestrator.report.trend_table import trends

TESTED = (
    "p by the exact paired sign-flip test over seeds, Holm over arms. It assumes that without an effect differences are "
    "symmetric: with skewed differences it finds an effect in 10 to 12 % of cases instead of 5 %. "
    f"Smallest found: the true difference that these seeds would find in {100 * POWER:.0f} % of cases; "
    "“none” if no p could be small enough."
)
OF_KIND = {
    (STUDENT,): "Student’s t, which assumes normal seeds and covers 88 % of skewed ones",
    (BOOTSTRAP,): "the bootstrap (expanded percentiles)",
    (
        STUDENT,
        BOOTSTRAP,
    ): f"Student’s t below {FEWEST_RESAMPLED} seeds, by the bootstrap (expanded percentiles) from there on",
}


def summary(comparison: Comparison) -> Table:
    """The figures of every arm."""
    figures = columns(comparison.summaries)
    rows = []
    for each in comparison.summaries:
        cells = [Cell(seeds(each), each.num_done)]
        for figure in figures:
            estimate = figure.estimate(each) if figure.estimate else Estimate(())
            cells.append(Cell(figure.text(each), estimate.mean))
        rows.append((each.arm, tuple(cells)))
    heads = [
        Head("seeds", "ended runs; in brackets how many of them a guardrail stopped"),
        *(Head(figure.title, figure.meaning) for figure in figures),
    ]
    note = " ".join(["Mean ± sample standard deviation over seeds.", *stopped(comparison.campaign)])
    return Table(name="summary", title="Summary", heads=tuple(heads), rows=tuple(rows), note=note)


def statistics(comparison: Comparison) -> Table:
    """Every arm against the baseline."""
    has_profile = any(comparison.profiles)
    heads = [
        Head("mean", f"{comparison.metric}, at the end, over seeds"),
        Head("interval", "95 %, of the mean"),
        Head("start", f"{comparison.metric} at the start of the runs, mean over seeds", spare=True),
        *(
            [
                Head(
                    "IQM",
                    "interquartile mean over seeds and parts of the evaluation; from eight seeds on with its bootstrap interval",
                )
            ]
            if has_profile
            else []
        ),
        Head("difference", f"from {comparison.baseline}, mean over paired seeds"),
        Head("its interval", "95 %, of the difference"),
        FOUND,
        Head("p (Holm)", "exact paired sign-flip test, adjusted for the number of arms"),
        Head("d_z", "Cohen’s, of the paired differences, corrected for few seeds by Hedges’ J"),
        Head("δ", "Cliff’s: P(larger) − P(smaller)", spare=True),
        Head("verdict", f"at {LEVEL:.0%} for all arms together"),
    ]
    rows = []
    for each, profile in zip(comparison.contrasts, comparison.profiles, strict=True):
        cells = [
            Cell(plain(each.estimate.mean), each.estimate.mean),
            _interval(each.interval, each.estimate.mean),
            Cell(plain(each.start.mean), each.start.mean),
        ]
        if has_profile:
            ends = profile.middle_interval if profile else Interval()
            middle = profile.middle if profile else nan
            cells.append(Cell(around(plain(middle), ends), middle, ends.low, ends.high))
        cells += [
            Cell(signed(each.difference), each.difference),
            _interval(each.difference_interval, each.difference),
            _found(each.detectable),
            Cell(p_value(each.p_adjusted), each.p_adjusted),
            Cell(signed(each.effect, 2), each.effect),
            Cell(signed(each.delta, 2), each.delta),
            Cell(each.verdict),
        ]
        rows.append((each.arm, tuple(cells)))
    return Table(
        name="statistics",
        title=f"{comparison.metric} against {comparison.baseline}",
        heads=tuple(heads),
        rows=tuple(rows),
        note=_note(comparison, comparison.contrasts),
        missing=_nothing(comparison.contrasts, comparison.metric),
    )


def progress(comparison: Comparison) -> Table:
    """Every arm against its own start."""
    heads = (
        Head("start", f"{comparison.metric} at the start of the runs, mean over seeds"),
        Head("end", f"{comparison.metric} at the end of the same runs"),
        Head("change", "mean over seeds"),
        Head("its interval", "95 %, of the change"),
        FOUND,
        Head("p (Holm)", "exact paired sign-flip test, adjusted for the number of arms"),
        Head("verdict", f"at {LEVEL:.0%} for all arms together"),
    )
    rows = [
        (
            each.arm,
            (
                Cell(plain(each.start.mean), each.start.mean),
                Cell(plain(each.end.mean), each.end.mean),
                Cell(signed(each.difference), each.difference),
                _interval(each.difference_interval, each.difference),
                _found(each.detectable),
                Cell(p_value(each.p_adjusted), each.p_adjusted),
                Cell(each.verdict),
            ),
        )
        for each in comparison.progress
        if each.num_pairs
    ]
    return Table(
        name="progress",
        title=f"{comparison.metric} against its own start",
        heads=heads,
        rows=tuple(rows),
        note=_note(comparison, comparison.progress),
        missing=f"No ended run has {comparison.metric} at its start and at its end.",
    )


def efficiency(comparison: Comparison) -> Table:
    """How soon every arm reaches the target."""
    heads = (
        Head(
            f"iterations to {comparison.target:.3g}",
            "median over seeds; a seed that never gets there counts as the longest",
        ),
        Head("reached by", "seeds"),
        Head("mean over training", f"{comparison.metric} averaged over iterations"),
    )
    rows = [
        (
            each.arm,
            (
                Cell(_iterations(each), each.median),
                Cell(f"{each.num_reached} of {len(each.iterations)}", each.num_reached),
                Cell(number(each.area), each.area.mean),
            ),
        )
        for each in comparison.efficiencies
        if each.iterations
    ]
    return Table(
        name="efficiency",
        title="Learning efficiency",
        heads=heads,
        rows=tuple(rows),
        note=f"Iterations until {comparison.metric} is first at {comparison.target:.3g} or more: in one evaluation, or, "
        "for a training metric, in the mean of five iterations.",
        missing=f"No finished run of the baseline has {comparison.metric} on held-out problems.",
    )


def pass_at_k(comparison: Comparison) -> Table:
    """The final sampled pass@k over k."""
    rows = []
    for arm, curve in zip(comparison.campaign.arms, comparison.pass_at_k, strict=True):
        found = [curve.get(k, (Estimate(()), Interval())) for k in comparison.ks]
        cells = [
            Cell(number(estimate), estimate.mean, interval.low, interval.high) for estimate, interval in found
        ]
        rows.append((arm.name, tuple(cells)))
    heads = [Head(f"k={k}", f"share of problems that {k} samples solve at least once") for k in comparison.ks]
    return Table(
        name="pass_at_k",
        title="pass@k",
        heads=tuple(heads),
        rows=tuple(rows) if heads else (),
        note="Unbiased estimate from samples at the rollout temperature, held out, at the end; k = 1 is not greedy.",
        missing="No finished run was evaluated with several samples.",
    )


TABLES: dict[str, Callable[[Comparison], Table]] = {
    builder.__name__: builder
    for builder in (
        summary,
        outcome,
        statistics,
        progress,
        efficiency,
        pass_at_k,
        entropy_law,
        asymptote,
        trends,
        setpoint_quality,
        recovery,
    )
}


FOUND = Head(
    "smallest found",
    f"smallest true difference that these seeds would find in {100 * POWER:.0f} % of cases",
)


def _note(comparison: Comparison, rows: Sequence[Contrast | Progress]) -> str:
    """The note on the intervals, the assumptions of the test, and the stopped runs."""
    kinds = {each.difference_interval.kind for each in rows}
    kinds |= {each.interval.kind for each in rows if isinstance(each, Contrast)}
    kind = OF_KIND.get(tuple(each for each in (STUDENT, BOOTSTRAP) if each in kinds))
    intervals = [f"Intervals are 95 %, of the mean over seeds, by {kind}."] if kind else []
    tested = [TESTED] if any(isfinite(each.p) for each in rows) else []
    return " ".join([*intervals, *tested, *stopped(comparison.campaign)])


def _found(detectable: float) -> Cell:
    return Cell("none" if detectable == inf else plain(detectable), detectable)


def _nothing(rows: Sequence[Contrast], metric: str) -> str:
    return "" if any(each.estimate.num for each in rows) else f"No finished run has {metric}."


def _iterations(each: Efficiency) -> str:
    if each.median == inf:
        return "never"
    return f"{each.median:g}" if isfinite(each.median) else NONE


def _interval(ends: Interval, middle: float = nan) -> Cell:
    return Cell(interval(ends), nan, ends.low, ends.high, middle) if isfinite(ends.low) else Cell(NONE)
