"""The best few trials once more, on seeds that the study has not used.

The best of many noisy values is chosen by its noise too, so the value that a study has found flatters its winner.  A
trained trial is trained again: the confirmations are an Optuna study of their own beside that of the trials, and the
same workers train them.  A simulated trial is simulated again, which takes a moment and is stored nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from math import isfinite, nan
from typing import Any

import numpy as np

from orchestrator.tuning.attempts import (
    CONFIRMS,
    REASON,
    counted,
    num_open,
    stands_for_none,
)
from orchestrator.tuning.criteria import Criterion
from orchestrator.tuning.judging import judge
from orchestrator.tuning.models import BudgetConfig, NoPruner, SamplerConfig
from orchestrator.tuning.ranking import as_costs, best_first, front, is_feasible, ranked_trials
from orchestrator.tuning.records import INPUTS, open_confirmations
from orchestrator.tuning.study import Study
from orchestrator.tuning.trial_queue import TrialQueue

SIMULATED_SEEDS = 64
"""Realisations of the plant's noise that a simulated candidate is confirmed by: they cost nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A trial with its values on fresh seeds."""

    trial: Any
    """As the study found it."""
    values: tuple[float, ...]
    """One a criterion, the mean over the fresh seeds; nan where there is none."""
    is_feasible: bool
    said: str
    """Why there are no values; "" where there are."""

    @property
    def holds(self) -> bool:
        """Whether it may win: it has values, and nothing was violated."""
        return self.is_feasible and all(isfinite(value) for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """How far the best trials of one stage are confirmed."""

    rows: tuple[Confirmed, ...]
    """Those that hold first, the best of them first."""
    seeds: tuple[int, ...]
    was_trained: bool
    missing: str
    """The part that is missing before there is a winner; "" where nothing is."""

    @property
    def fresh(self) -> str:
        """The seeds, for a sentence."""
        what = "fresh seed" if self.was_trained else "fresh noise"
        return f"{len(self.seeds)} {what}{'s' if len(self.seeds) > 1 else ''} ({listed(self.seeds)})"

    def of(self, trial: Any) -> Confirmed | None:
        """The confirmation of a trial, where it has values."""
        rows = (row for row in self.rows if row.trial.number == trial.number and not row.said)
        return next(rows, None)


def fresh_seeds(study: Study) -> tuple[int, ...]:
    """Seeds of confirmations: as many as are asked for, from 1000 on, without those of the study.

    More of them begin with the same ones, so that nothing is trained twice when more are asked for.
    """
    num = study.config.confirm.seeds or max(3, len(study.seeds))
    return tuple(islice((seed for seed in count(1000) if seed not in study.seeds), num))


def confirming(study: Study, num: int) -> Study:
    """The same study as ``num`` confirmations need it: on fresh seeds, nothing pruned, nothing predicted."""
    config = study.config.model_copy(
        update={
            "seeds": fresh_seeds(study),
            "budget": BudgetConfig(trials=num),
            "sampler": SamplerConfig(kind="random"),
            "pruner": NoPruner(kind="none"),
            "simulation": None,
        }
    )
    return replace(study, config=config, is_confirmation=True)


def begin_confirmation(study: Study, storage: Any, found: Any) -> tuple[Study, Any] | None:
    """Put the best trials of a study that has ended into the queue of its confirmations.

    Gives the study and the Optuna study that workers need; None where nothing is to be confirmed, or not yet.
    """
    chosen = to_confirm(study, found, study.criteria) if _has_ended(study, found) else []
    if not chosen:
        return None
    confirmations = open_confirmations(study, storage, fresh_seeds(study))
    if confirmations.user_attrs.get(INPUTS) != found.user_attrs.get(INPUTS):
        confirmations.set_user_attr(INPUTS, found.user_attrs.get(INPUTS))
    TrialQueue(confirmations, storage).enqueue(CONFIRMS, {trial.number: trial.params for trial in chosen})
    trials = confirmations.get_trials(deepcopy=False)
    num = len(_confirmed_numbers(confirmations))
    if counted(trials) >= num and not num_open(trials):
        return None
    return confirming(study, num), confirmations


def continue_confirmation(study: Study, storage: Any) -> tuple[Study, Any]:
    """The study and the Optuna study that a worker needs for the confirmations in the queue."""
    confirmations = open_confirmations(study, storage, fresh_seeds(study))
    return confirming(study, len(_confirmed_numbers(confirmations))), confirmations


def to_confirm(study: Study, found: Any, criteria: Sequence[Criterion]) -> list[Any]:
    """The best few feasible trials; with several criteria the front's best by each and others along it."""
    num = study.config.confirm.trials
    if len(criteria) == 1:
        return [trial for trial in ranked_trials(found, criteria) if is_feasible(trial)][:num]
    on_front = front(found, criteria)
    if not on_front:
        return []
    costs = as_costs([trial.values for trial in on_front], [each.direction for each in criteria])
    ends = costs.argmin(axis=0)
    along = np.linspace(0, len(on_front) - 1, max(num, 1)).round().astype(int)
    places = dict.fromkeys([*ends, *along, *range(len(on_front))])
    return [on_front[place] for place in places][:num]


def confirmation(study: Study, found: Any, confirmations: Any) -> Confirmation:
    """How far the trained trials are confirmed; ``confirmations`` is None where none has begun."""
    trials = confirmations.get_trials(deepcopy=False) if confirmations is not None else []
    ended = {
        trial.user_attrs[CONFIRMS]: trial
        for trial in trials
        if CONFIRMS in trial.user_attrs and trial.state.is_finished() and not stands_for_none(trial)
    }
    known = {trial.number: trial for trial in ranked_trials(found, study.criteria)}
    chosen = {trial.number: trial for trial in to_confirm(study, found, study.criteria)}
    every = chosen | {number: known[number] for number in ended if number in known}
    rows = [_trained(trial, ended.get(number), study.criteria) for number, trial in every.items()]
    num = sum(number in ended for number in chosen)
    missing = ""
    if chosen and not _has_ended(study, found):
        trained = found.get_trials(deepcopy=False)
        missing = f"{counted(trained) - num_open(trained)} of {study.config.budget.trials} trials are done"
    elif num < len(chosen):
        missing = (
            f"{num} of the best {len(chosen)} are trained again on {len(fresh_seeds(study))} fresh seeds"
        )
    return Confirmation(
        rows=_in_order(rows, study.criteria), seeds=fresh_seeds(study), was_trained=True, missing=missing
    )


def simulated_confirmation(study: Study, simulated: Any) -> Confirmation:
    """The best simulated trials on noise that stage one has not used; no rows on a plant without noise."""
    settings, start = study.config.simulation, study.start
    assert settings is not None
    assert start is not None
    num = study.config.confirm.seeds or SIMULATED_SEEDS
    seeds = tuple(range(settings.seeds, settings.seeds + num))
    chosen = to_confirm(study, simulated, study.simulated_criteria) if start.plant.noise_std else []
    scores = judge(study, [trial.params for trial in chosen], seeds) if chosen else []
    rows = [
        Confirmed(trial=trial, values=each.values, is_feasible=each.is_feasible, said="")
        for trial, each in zip(chosen, scores, strict=True)
    ]
    order = _in_order(rows, study.simulated_criteria)
    return Confirmation(rows=order, seeds=seeds, was_trained=False, missing="")


def listed(seeds: Sequence[int]) -> str:
    """``0, 1, 5``, or ``4 to 67`` for many that follow each other."""
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _has_ended(study: Study, found: Any) -> bool:
    trials = found.get_trials(deepcopy=False)
    return counted(trials) >= study.config.budget.trials and not num_open(trials)


def _confirmed_numbers(confirmations: Any) -> set[int]:
    return {
        trial.user_attrs[CONFIRMS]
        for trial in confirmations.get_trials(deepcopy=False)
        if CONFIRMS in trial.user_attrs and not stands_for_none(trial)
    }


def _trained(trial: Any, confirming: Any, criteria: Sequence[Criterion]) -> Confirmed:
    none = (nan,) * len(criteria)
    if confirming is None:
        return Confirmed(trial=trial, values=none, is_feasible=True, said="not yet")
    if confirming.state.name != "COMPLETE":
        reason = confirming.user_attrs.get(REASON, "it has failed")
        return Confirmed(trial=trial, values=none, is_feasible=False, said=reason)
    return Confirmed(
        trial=trial, values=tuple(confirming.values), is_feasible=is_feasible(confirming), said=""
    )


def _in_order(rows: Sequence[Confirmed], criteria: Sequence[Criterion]) -> tuple[Confirmed, ...]:
    holding = [row for row in rows if row.holds]
    if holding:
        order = best_first([row.values for row in holding], [each.direction for each in criteria])
        holding = [holding[index] for index in order]
    return (*holding, *(row for row in rows if not row.holds))
