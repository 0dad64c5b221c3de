"""What would be trained in vain.

Asked when a study begins and never again: what a study is cannot be corrected once it has trials.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.configuration.resolve import twins
from orchestrator.tuning.models import Halving, Wilcoxon
from orchestrator.tuning.search import first_rung
from orchestrator.tuning.space import corners
from orchestrator.tuning.study import Study


def in_vain(study: Study) -> Iterator[str]:
    """What training could not tell or make use of, one ``key: rule, value; remedy`` each."""
    if study.config.budget.trials:
        yield from _twin_seeds(study)
        yield from _idle_pruner(study)
        yield from _without_effect(study)


def _twin_seeds(study: Study) -> Iterator[str]:
    for seed in twins(study.seeds)[:1]:
        yield f"seeds: {seed} is there twice, and the same run would count twice; give each its own"


def _idle_pruner(study: Study) -> Iterator[str]:
    pruner = study.config.pruner
    if isinstance(pruner, Halving):
        first, last = first_rung(pruner, study.num_iterations), study.last_judged_iteration
        if first > last:
            yield (
                f"pruner.first: must be at most {last} to prune at all, the last look at a trial before its end "
                f"({len(study.seeds)} seeds of {study.num_iterations} iterations, a look every {study.looks[0]}), "
                f"got {first}; lower it, or report_every"
            )
    if isinstance(pruner, Wilcoxon):
        needed = _seeds_for(pruner.p_threshold)
        if len(study.seeds) <= needed:
            yield (
                f"pruner.p_threshold: {pruner.p_threshold:g} needs {needed} seeds to be undercut at all, "
                f"and one more to save, got {len(study.seeds)}; add seeds, or raise it"
            )


def _seeds_for(p_threshold: float) -> int:
    """Fewest pairs whose one-sided signed-rank test can have a p below the threshold: 2⁻ⁿ < p."""
    needed = 2
    while 2.0**-needed >= p_threshold:
        needed += 1
    return needed


def _without_effect(study: Study) -> Iterator[str]:
    """Guardrails that only warn, wherever in the space, change nothing that trials are judged by."""
    searched = [path for path in study.config.space if path.partition(".")[0] == "guardrails"]
    deciding = _deciding(study) if searched else set()
    for path in searched:
        if f"{path}.".split(".")[1] not in deciding:
            yield (
                f"space.{path}: no guardrail that this is of does more than warn in this arm, so that no value of it "
                "changes a result; give one an action such as rollback or stop, or leave this out"
            )


def _deciding(study: Study) -> set[str]:
    """Keys of ``guardrails`` that can change what a run comes to, somewhere in the space."""
    deciding: set[str] = set()
    for _, params in corners(study.config.space):
        acting = study.candidate(params).config.guardrails.deciding
        if acting:
            deciding |= {"enabled", *acting}
    return deciding
