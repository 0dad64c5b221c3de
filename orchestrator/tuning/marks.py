"""What is noted at an Optuna trial beside its parameters and values, and what that says of the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

ROOT = "entrostat.root"
"""Number of the trial that a retry goes back to: its runs are continued."""
RANK = "entrostat.rank"
"""Place of a candidate in stage one's ranking, from 1."""
CONFIRMS = "entrostat.confirms"
"""Number of the trial that a confirmation trains again on fresh seeds."""
OUTCOME, REASON = "entrostat.outcome", "entrostat.reason"
FAILED, DUPLICATE, SURPLUS, REPLACED = "failed", "duplicate", "surplus", "replaced"
UNTRAINED = "untrained"
"""Refused before training, which costs nothing."""
UNTRAINED_PER_TRIAL = 20
"""How many of those count as one trial, so that a space without a feasible point comes to an end."""


def close(study: Any, trial: Any, outcome: str, reason: str) -> None:
    """Tell a trial as failed, with why; nothing where another worker has closed it already."""
    from optuna.trial import Trial, TrialState

    with quietly():
        own = Trial(study, trial._trial_id)
        own.set_user_attr(OUTCOME, outcome)
        own.set_user_attr(REASON, reason)
        study.tell(trial.number, state=TrialState.FAIL)


def counted(trials: Sequence[Any], before: int | None = None) -> int:
    """Trials that use up the budget: finished, failed by themselves, or running; of the first ``before``."""
    used = untrained = 0
    for trial in trials[:before]:
        outcome = trial.user_attrs.get(OUTCOME)
        untrained += outcome == UNTRAINED
        used += outcome == FAILED or (
            outcome != UNTRAINED and trial.state.name in ("COMPLETE", "PRUNED", "RUNNING")
        )
    return used + untrained // UNTRAINED_PER_TRIAL


def root(trial: Any) -> int:
    """Number of the trial whose runs a trial continues, or its own."""
    return int(trial.user_attrs.get(ROOT, trial.number))


def trial_name(number: int, confirms: int | None) -> str:
    """What a trial is called wherever people read of it."""
    return f"trial {number}" if confirms is None else f"confirmation of trial {confirms}"


@contextmanager
def quietly() -> Iterator[None]:
    """Another worker may have been faster at closing a trial."""
    from optuna.exceptions import UpdateFinishedTrialError

    with suppress(UpdateFinishedTrialError, ValueError):
        yield
