"""Notes at an Optuna trial, and what they say: which attempt it is, whether it uses up the budget.

A trial whose worker died, or let go of it, is put into the queue again under a new number, as Optuna's own retry does.
All attempts at a trial share its runs and its draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ROOT = "entrostat.root"
"""Number of the first attempt at a trial: all of them share its runs and its draws."""
RANK = "entrostat.rank"
"""Place of a candidate in stage one's ranking, from 1."""
CONFIRMS = "entrostat.confirms"
"""Number of the trial that a confirmation trains again on fresh seeds."""
PREDICTED = "entrostat.predicted"
"""Stage one's prediction for a training trial, one value a criterion."""
PROCESS = "entrostat.process"
"""The process that took the trial, see `orchestrator.execution.identity`."""
FOLDER = "entrostat.folder"
"""Name of the folder of a trial's runs."""
OUTCOME, REASON = "entrostat.outcome", "entrostat.reason"
FAILED, SURPLUS, REPLACED = "failed", "surplus", "replaced"
UNTRAINED = "untrained"
"""Refused before training, which costs nothing."""
UNTRAINED_PER_TRIAL = 20
"""How many of those count as one trial, so that a space without a feasible point comes to an end."""
RETRY_OF, HISTORY, FIXED = "failed_trial", "retry_history", "fixed_params"
"""Optuna's own names: the attempt before, the attempts at which a worker died, and parameters from the queue."""
MARKS = (RANK, CONFIRMS)
"""Marks of a trial in the queue that is trained once: a candidate's rank, the trial that is confirmed."""


def counted(trials: Sequence[Any], before: int | None = None) -> int:
    """Trials that use up the budget, each once for all of its attempts; of those that began before a number.

    A trial counts from when it is first taken until it turns out to be surplus or untrained.  So one whose worker
    died keeps its place in the budget while it waits for the next.
    """
    last = {root(trial): trial for trial in trials}
    chosen = [trial for number, trial in last.items() if before is None or number < before]
    untrained: int = sum(trial.user_attrs.get(OUTCOME) == UNTRAINED for trial in chosen)
    used: int = sum(
        trial.user_attrs.get(OUTCOME) in (FAILED, REPLACED)
        or (OUTCOME not in trial.user_attrs and trial.state.name in ("COMPLETE", "PRUNED", "RUNNING"))
        or (trial.state.name == "WAITING" and is_attempt(trial))
        for trial in chosen
    )
    return used + untrained // UNTRAINED_PER_TRIAL


def num_open(trials: Sequence[Any]) -> int:
    """Trials that run, or that wait for the worker that continues them."""
    return sum(
        trial.state.name == "RUNNING" or (trial.state.name == "WAITING" and is_attempt(trial))
        for trial in trials
    )


def is_attempt(trial: Any) -> bool:
    """Whether a trial goes on with another that its worker left."""
    return RETRY_OF in trial.system_attrs


def root(trial: Any) -> int:
    """Number of the first attempt at a trial, which may be its own."""
    return int(trial.user_attrs.get(ROOT, trial.number))


def stands_for_none(trial: Any) -> bool:
    """Whether another trial stands in the place of this one."""
    return trial.user_attrs.get(OUTCOME) in (SURPLUS, REPLACED)


def trial_name(number: int, confirms: int | None) -> str:
    """The name of a trial in texts for people."""
    return f"trial {number}" if confirms is None else f"confirmation of trial {confirms}"


def folder_name(trial: Any) -> str:
    """Name of the folder of a trial's runs, which all of its attempts share."""
    confirms = trial.user_attrs.get(CONFIRMS)
    return f"trial-{root(trial):04d}" if confirms is None else f"confirm-{confirms:04d}"
