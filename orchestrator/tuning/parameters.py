"""Which parameters a picture is of: those that vary, the important ones first, those that are searched together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from orchestrator.tuning.candidates import is_feasible
from orchestrator.tuning.search import experiments_welcome
from orchestrator.tuning.space import labels
from orchestrator.tuning.terminal import short

MOST_GROUPS = 6
"""Groups whose pairs are drawn, those with most trials first."""

MOST_IN_CONTOUR = 100
FEWEST_IN_CONTOUR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Trials that searched the same parameters, such as those of one law."""

    params: tuple[str, ...]
    """Those that vary among them, two at least."""
    where: str
    """What sets these trials apart, such as "kind pid"; "" where all trials are alike."""
    study: Any
    """The trials as an Optuna study, few enough to draw: a contour has a cell for each pair of them."""


def complete(found: Any) -> list[Any]:
    """Trials that have values."""
    return [trial for trial in found.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]


def searched(found: Any) -> list[str]:
    """Parameters that could have more than one value: a choice of one has nothing to show."""
    seen = {
        name: None
        for trial in complete(found)
        for name, distribution in trial.distributions.items()
        if not distribution.single()
    }
    return list(seen)


def varying(trials: Sequence[Any]) -> list[str]:
    """Parameters that have more than one value among some trials."""
    values: dict[str, set[Any]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add((type(value), value))
    return [name for name, several in values.items() if len(several) > 1]


def by_importance(found: Any, index: int) -> list[str]:
    """The parameters that are searched, for one of the objectives: the most important first where that can be told."""
    from optuna.importance import get_param_importances

    names = searched(found)
    try:
        with experiments_welcome(), too_few_is_an_error():
            ranked = list(get_param_importances(found, params=names, **toward_good(found, index)))
    except (ValueError, RuntimeError):
        ranked = []
    return [*ranked, *(name for name in names if name not in ranked)]


def together(found: Any) -> list[Together]:
    """Groups of trials that have the same parameters: no picture can show two that never occur together."""
    trials = complete(found)
    overall = varying(trials)
    names = labels({name: None for trial in trials for name in trial.params})
    groups: dict[frozenset[str], list[Any]] = {}
    for trial in trials:
        groups.setdefault(frozenset(trial.params), []).append(trial)
    drawn = []
    for group in sorted(groups.values(), key=len, reverse=True):
        params = varying(group)
        if len(params) > 1 and len(group) >= FEWEST_IN_CONTOUR:
            fixed = [name for name in overall if name in group[0].params and name not in params]
            where = ", ".join(f"{names[name]} {short(group[0].params[name])}" for name in fixed)
            drawn.append(Together(params=tuple(params), where=where, study=_thinned(found, group)))
    return drawn[:MOST_GROUPS]


def target(index: int, sign: float = 1.0) -> Callable[[Any], float]:
    """One of several objectives, as Optuna's functions ask for it."""
    return lambda trial: sign * float(trial.values[index])


def toward_good(found: Any, index: int) -> dict[str, Any]:
    """Importance is for reaching low values, so what is maximised changes its sign; Optuna knows that of one."""
    if len(found.directions) == 1:
        return {}
    return {"target": target(index, -1.0 if found.directions[index].name == "MAXIMIZE" else 1.0)}


@contextmanager
def too_few_is_an_error() -> Iterator[None]:
    """Of too few trials Optuna calls all parameters equally important, which is no finding.

    Raises:
        ValueError: where it would.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        for message in ("The number of trials is too small", "Target and region quantiles select"):
            warnings.filterwarnings("error", message=message, category=UserWarning)
        try:
            yield
        except UserWarning as error:
            raise ValueError("the number of trials is too small to tell") from error


def _thinned(found: Any, trials: Sequence[Any]) -> Any:
    """A study of few of the trials, feasible ones where there are enough.

    They are drawn by chance: every n-th of Sobol's points would all lie in one part of the space.
    """
    import optuna

    thinned = optuna.create_study(directions=found.directions)
    if len(trials) > MOST_IN_CONTOUR:
        feasible = [trial for trial in trials if is_feasible(trial)]
        shown = feasible if len(feasible) >= MOST_IN_CONTOUR // 2 else trials
        trials = Random(0).sample(shown, min(MOST_IN_CONTOUR, len(shown)))  # nosec B311  # chance of problems, not of keys
    thinned.add_trials(trials)
    return thinned
