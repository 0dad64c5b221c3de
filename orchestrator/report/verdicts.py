"""The first sentences of the page: who lost or gained, greedy and sampled, against the baseline and the start.

A loss that chance does not explain comes first, then a gain.  The sentences state rows of comparisons and compute
nothing.  Names of arms stand in `backticks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from orchestrator.comparison.comparison import Comparison
from orchestrator.comparison.contrasts import DEFAULT_METRIC, Contrast, contrasts
from orchestrator.comparison.progress import Progress, progress
from orchestrator.report.summary_cells import around, signed

SAMPLED_METRIC = "eval/pass_rate"
MOST_NAMED = 3
"""Arms with a number each in one sentence."""

Row = Contrast | Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One way to count solved problems, with every arm against the baseline and against its own start."""

    name: str
    contrasts: Sequence[Contrast]
    progress: Sequence[Progress]


def measures(comparison: Comparison) -> list[Measure]:
    """Greedy and sampled, as far as they were evaluated; another metric, where the comparison is about one, alone."""
    is_default = comparison.metric == DEFAULT_METRIC
    name = "greedy" if is_default else comparison.metric
    found = [Measure(name=name, contrasts=comparison.contrasts, progress=comparison.progress)]
    arms = comparison.campaign.arms
    if is_default and arms:
        sampled = contrasts(arms, SAMPLED_METRIC, comparison.baseline)
        found.append(Measure(name="sampled", contrasts=sampled, progress=progress(arms, SAMPLED_METRIC)))
    return [each for each in found if any(row.estimate.num for row in each.contrasts)]


def verdicts(comparison: Comparison) -> list[str]:
    """The title and what stands below it; nothing where no run was evaluated.

    The arm that they name has the largest loss of all that chance does not explain; without one, the largest gain
    over the baseline.
    """
    known = measures(comparison)
    told = sorted(_told(known, comparison.baseline), key=lambda found: found[0].difference)
    losses = [found for found in told if found[0].difference < 0]
    gains = [found for found in told if found[0].difference > 0 and isinstance(found[0], Contrast)]
    if losses or gains:
        row, against, of = losses[0] if losses else gains[-1]
        verb = "lost" if row.difference < 0 else "gained"
        return [
            f"`{row.arm}` {verb} against {against}: {_all(known, row.arm, of)}.",
            *_rest(known, row, comparison),
        ]
    sentences = []
    if others := [row for row in comparison.contrasts if row.num_pairs]:
        num = max(row.num_pairs for row in others)
        seeds = "one seed" if num == 1 else f"{num} seeds"
        beyond = f"{seeds.capitalize()} cannot rule out chance"
        if any(row.detectable < inf for row in others):
            beyond = f"No arm lost or gained beyond chance in {seeds}"
        numbers = _each(known, [row.arm for row in others], _contrasts)
        sentences.append(f"Against `{comparison.baseline}`: {numbers}. {beyond}.")
    if started := [row.arm for row in comparison.progress if row.num_pairs]:
        whose = "its own start" if len(started) == 1 else "their own starts"
        sentences.append(f"Against {whose}: {_each(known, started, _progress)}.")
    return sentences


def _contrasts(measure: Measure) -> Sequence[Row]:
    return measure.contrasts


def _progress(measure: Measure) -> Sequence[Row]:
    return measure.progress


RowsOf = Callable[[Measure], Sequence[Row]]


def _told(known: Sequence[Measure], baseline: str) -> Iterator[tuple[Row, str, RowsOf]]:
    for against, of in (("its own start", _progress), (f"`{baseline}`", _contrasts)):
        yield from ((row, against, of) for measure in known for row in of(measure) if row.told)


def _rest(known: Sequence[Measure], row: Row, comparison: Comparison) -> list[str]:
    """The same arm against the other reference."""
    if isinstance(row, Contrast):
        numbers = _all(known, row.arm, _progress)
        return [f"Against its own start `{row.arm}` ended at {numbers}."] if numbers else []
    numbers = _all(known, row.arm, _contrasts)
    return [f"Against `{comparison.baseline}` it ended at {numbers}."] if numbers else []


def _all(known: Sequence[Measure], arm: str, of: RowsOf) -> str:
    """`greedy +0.012 [−0.010, 0.034], sampled +0.045 [0.022, 0.068]` of one arm."""
    rows = [(measure.name, row) for measure in known for row in of(measure) if row.arm == arm]
    return ", ".join(
        f"{name} {around(signed(row.difference), row.difference_interval)}"
        for name, row in rows
        if isfinite(row.difference)
    )


def _each(known: Sequence[Measure], arms: Sequence[str], of: RowsOf) -> str:
    """`_all` of each arm; of many arms the range alone."""
    if len(arms) <= MOST_NAMED:
        return "; ".join(f"`{arm}` {_all(known, arm, of)}" for arm in arms)
    said = []
    for measure in known:
        found = [row.difference for row in of(measure) if isfinite(row.difference)]
        if found:
            said.append(f"{measure.name} {signed(min(found))} to {signed(max(found))}")
    return f"{', '.join(said)}, over {len(arms)} arms"
