"""A trial whose worker died, or has let go of it, is taken up by another.

It is put into the queue again under a new number (as Optuna's own retry does), then told as failed.  Both
can happen twice when two workers notice at once, or not at all when the one that noticed dies in between, so
whoever takes a retry from the queue makes sure that it is the first and that the old trial is closed.
"""

from __future__ import annotations

from typing import Any

from orchestrator.tuning.leases import is_released
from orchestrator.tuning.marks import CONFIRMS, FAILED, RANK, REPLACED, ROOT, close, root

RETRY_OF, HISTORY, FIXED = "failed_trial", "retry_history", "fixed_params"  # Optuna's own names
ONCE = (RANK, CONFIRMS)
"""What of the queue is trained once: a candidate of stage one by its rank, a confirmation by its trial."""


def take_up(study: Any, trial: Any, retries: int) -> str:
    """Put an abandoned trial into the queue again and close it; give why nobody goes on with it, or ""."""
    # Those that were fixed too: it may have died before it had asked for all of them.
    params = {**trial.system_attrs.get(FIXED, {}), **trial.params}
    history = _deaths(trial)
    if params and len(history) > retries:
        reason = "its worker died" if len(history) == 1 else f"{len(history)} workers died at it"
        close(study, trial, FAILED, reason)
        return reason
    if params and not any(_retry_of(other) == trial.number for other in study.get_trials(deepcopy=False)):
        study.add_trial(_retry(trial, params, history))
    close(study, trial, REPLACED, _why_replaced(trial))
    return ""


def is_redundant(study: Any, trial: Any) -> bool:
    """Whether a trial from the queue is there a second time; closes the one that it takes up."""
    trials = study.get_trials(deepcopy=False)
    frozen = trials[trial.number]
    retried = _retry_of(frozen)
    if retried is not None:
        if trials[retried].state.name == "RUNNING":
            close(study, trials[retried], REPLACED, _why_replaced(trials[retried]))
        return any(_retry_of(other) == retried for other in trials[: trial.number])
    return any(
        key in frozen.user_attrs
        and other.user_attrs.get(key) == frozen.user_attrs[key]
        and _retry_of(other) is None
        for key in ONCE
        for other in trials[: trial.number]
    )


def _deaths(trial: Any) -> list[int]:
    """Numbers under which a worker died at it; one that has let go of it did not."""
    before = list(trial.system_attrs.get(HISTORY, []))
    return before if is_released(trial) else [*before, trial.number]


def _why_replaced(trial: Any) -> str:
    return "its worker let go of it" if is_released(trial) else "its worker died"


def _retry(trial: Any, params: dict[str, Any], history: list[int]) -> Any:
    from optuna.trial import TrialState, create_trial

    kept = {key: value for key, value in trial.user_attrs.items() if key in ONCE}
    return create_trial(
        state=TrialState.WAITING,
        system_attrs={FIXED: params, RETRY_OF: trial.number, HISTORY: history},
        user_attrs=kept | {ROOT: root(trial)},
    )


def _retry_of(trial: Any) -> int | None:
    number = trial.system_attrs.get(RETRY_OF)
    return None if number is None else int(number)
