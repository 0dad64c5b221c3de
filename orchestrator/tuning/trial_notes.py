"""Notes at an Optuna trial, and what they say: whether it has begun, whether it uses up the budget, where its runs are.

A trial whose worker died, or let go of it, waits again as it is, with its number, its parameters and its runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RANK = "entrostat.rank"
"""Place of a candidate in stage one's ranking, from 1."""
CONFIRMS = "entrostat.confirms"
"""Number of the trial that a confirmation trains again on fresh seeds."""
PREDICTED = "entrostat.predicted"
"""Stage one's prediction for a training trial, one value a criterion."""
PROCESS = "entrostat.process"
"""The process that took the trial, see `orchestrator.execution.identity`."""
ATTEMPTS = "entrostat.attempts"
"""How each attempt at the trial ended before the trial itself did, the first one first."""
DIED, LET_GO = "its worker died", "its worker let go of it"
DIED_LATER = "its worker died after a checkpoint"
SAVED = "entrostat.saved"
"""When the last checkpoints of a trial's runs were written before its present attempt, in one number."""
FOLDER = "entrostat.folder"
"""Name of the folder of a trial's runs."""
OUTCOME, REASON = "entrostat.outcome", "entrostat.reason"
FAILED = "failed"
UNTRAINED = "untrained"
"""Refused before training, which costs nothing."""
UNTRAINED_PER_TRIAL = 20
"""How many of those count as one trial, so that a space without a feasible point comes to an end."""
FIXED = "fixed_params"
"""Optuna's own name for the parameters of a trial from the queue."""
ROOT, CLOSED = "entrostat.root", ("replaced", "surplus")
"""Earlier versions closed a trial that was to go on, and let another go on in its place, with the first one's number."""


def counted(trials: Sequence[Any], before: int | None = None) -> int:
    """Trials that use up the budget; of those that began before a number.

    A trial counts from when it is first taken until it turns out to be untrained.  So one whose worker died keeps its
    place in the budget while it waits for the next.
    """
    begun = [trial for trial in trials if has_begun(trial) and (before is None or root(trial) < before)]
    untrained: int = sum(trial.user_attrs.get(OUTCOME) == UNTRAINED for trial in begun)
    return len(begun) - untrained + untrained // UNTRAINED_PER_TRIAL


def unfinished(trials: Sequence[Any], budget: int | None = None) -> list[Any]:
    """Trials that run, or that wait for the worker that continues them, where a budget has room for them."""
    return [
        trial
        for trial in trials
        if trial.state.name == "RUNNING"
        or (
            trial.state.name == "WAITING"
            and has_begun(trial)
            and (budget is None or counted(trials, before=root(trial)) < budget)
        )
    ]


def has_begun(trial: Any) -> bool:
    """Whether a trial was taken by a worker, and was not closed by something else before it was done."""
    if trial.state.name == "WAITING":
        return bool({ATTEMPTS, ROOT} & trial.user_attrs.keys())
    return bool(trial.state.name != "FAIL" or trial.user_attrs.get(OUTCOME) == FAILED)


def root(trial: Any) -> int:
    """Number of the first attempt at a trial, which is its own but for those of earlier versions."""
    return int(trial.user_attrs.get(ROOT, trial.number))


def num_deaths(trial: Any) -> int:
    """How often in a row its worker died without a new checkpoint."""
    attempts = list(trial.user_attrs.get(ATTEMPTS, ()))
    while DIED_LATER in attempts:
        del attempts[: attempts.index(DIED_LATER) + 1]
    return attempts.count(DIED)


def stands_for_none(trial: Any) -> bool:
    """Whether another trial stands in the place of this one, as in studies of earlier versions."""
    return trial.user_attrs.get(OUTCOME) in CLOSED


def trial_name(number: int, confirms: int | None) -> str:
    """The name of a trial in texts for people."""
    return f"trial {number}" if confirms is None else f"confirmation of trial {confirms}"


def folder_name(trial: Any) -> str:
    """Name of the folder of a trial's runs."""
    confirms = trial.user_attrs.get(CONFIRMS)
    return f"trial-{root(trial):04d}" if confirms is None else f"confirm-{confirms:04d}"
