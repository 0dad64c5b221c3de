"""The winner of a study: the best trial by its confirmed value, and never one of a front in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.tuning.confirmation import Confirmation, Confirmed, confirmation, simulated_confirmation
from orchestrator.tuning.criteria import Criterion
from orchestrator.tuning.ranking import as_costs, front, ranked_trials
from orchestrator.tuning.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The last stage of a study that has finished trials, and how far its best are confirmed."""

    ranked: list[Any]
    """Finished trials, the best first."""
    front: list[Any]
    """The feasible ones that nothing is better than."""
    criteria: tuple[Criterion, ...]
    was_trained: bool
    num_seeds: int
    """Seeds that the values were found over."""
    confirmation: Confirmation | None
    """None where no confirmation is asked for, or nothing is random."""

    @property
    def seeds(self) -> str:
        """The number of seeds, for a sentence."""
        return f"{self.num_seeds} seed{'s' if self.num_seeds > 1 else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """A trial that was chosen, and by what."""

    trial: Any
    was_trained: bool
    confirmed: Confirmed | None
    """Its values on fresh seeds; None where it was not confirmed."""
    said: str
    """One clause: which trial it is, with its values as confirmed and as found."""


def standing(study: Study, found: Any, simulated: Any, confirmations: Any = None) -> Standing:
    """How training stands where a trained trial has finished, else how the simulation stands."""
    trained = ranked_trials(found, study.criteria)
    stage = found if trained or simulated is None else simulated
    was_trained = stage is found
    criteria = study.criteria if was_trained else study.simulated_criteria
    ranked = trained if was_trained else ranked_trials(simulated, criteria)
    known: Confirmation | None = None
    if study.config.confirm.trials and ranked:
        known = (
            confirmation(study, found, confirmations)
            if was_trained
            else simulated_confirmation(study, simulated)
        )
    simulation = study.config.simulation
    return Standing(
        ranked=ranked,
        front=front(stage, criteria),
        criteria=criteria,
        was_trained=was_trained,
        num_seeds=len(study.seeds) if was_trained or simulation is None else simulation.seeds,
        confirmation=known if known is not None and known.rows else None,
    )


def winner(
    study: Study,
    found: Any,
    simulated: Any,
    number: int | None = None,
    *,
    by: str | None = None,
    confirmations: Any = None,
) -> Winner:
    """The feasible trial with the best confirmed value; with ``number`` that trial, confirmed or not.

    With several criteria ``by`` names the one that decides.

    Raises:
        ConfigError: nothing has finished, nothing is feasible, the confirmation goes on or no trial held,
            several trials are on the front and nothing says which, or there is no such trial or criterion.
    """
    now = standing(study, found, simulated, confirmations)
    if not now.ranked:
        raise ConfigError(
            f"{study.path}: no trial of {study.config.name!r} has finished; let the study go on"
        )
    names = [each.name for each in now.criteria]
    if by is not None and by not in names:
        raise ConfigError(f"--by {by}: is no criterion of {study.path}; {did_you_mean(by, names)}")
    if number is not None:
        for trial in now.ranked:
            if trial.number == number:
                return _chosen(now, trial)
        numbers = listed_briefly([trial.number for trial in now.ranked])
        raise ConfigError(f"--trial {number}: has not finished, or is not there; the best are {numbers}")
    if not now.front:
        violated = [name for name, value in now.ranked[0].constraints.items() if value > 0]
        raise ConfigError(
            f"{study.path}: every trial of {study.config.name!r} violates a constraint, the best "
            f"{', '.join(violated)}; let the study go on, relax it, or name a trial with --trial"
        )
    if len(names) > 1 and len(now.front) > 1 and by is None:
        numbers = listed_briefly([trial.number for trial in now.front])
        choices = " or ".join(f"--by {name}" for name in names)
        raise ConfigError(
            f"{study.path}: objective: {on_the_front(now)}; choose one of them with --best --trial N (N is {numbers}), "
            f"or the best by one criterion with --best {choices}"
        )
    place = names.index(by) if by is not None else 0
    best = _best(now, now.front, [trial.values for trial in now.front], place)
    if now.confirmation is None:
        return _chosen(now, best)
    if now.confirmation.missing:
        raise ConfigError(
            f"{study.path}: confirm: the winner of {study.config.name!r} is not confirmed yet "
            f"({now.confirmation.missing}); run `entrostat tune {study.path}` to go on, or take trial {best.number}, "
            f"the best found, as it is with --trial {best.number}"
        )
    # With several criteria only the front's: a dominated trial may have been on it when it was confirmed.
    on_front = {trial.number for trial in now.front}
    rows = [row for row in now.confirmation.rows if row.holds]
    rows = rows if len(names) == 1 else [row for row in rows if row.trial.number in on_front]
    if not rows:
        ended = "; ".join(
            f"trial {row.trial.number}: {row.said or 'infeasible'}" for row in now.confirmation.rows
        )
        raise ConfigError(
            f"{study.path}: confirm: none of the best {len(now.confirmation.rows)} trials of {study.config.name!r} "
            f"held on {now.confirmation.fresh} ({ended}); raise confirm.trials, or name a trial with --trial"
        )
    return _chosen(now, _best(now, [row.trial for row in rows], [row.values for row in rows], place))


def headline(now: Standing) -> str:
    """The result of a study in one sentence."""
    if not now.ranked:
        return "No trial has finished yet."
    stage = "trained" if now.was_trained else "simulated"
    num, known = len(now.ranked), now.confirmation
    if len(now.criteria) > 1:
        return f"{on_the_front(now)}."
    best = now.ranked[0]
    found = f"Trial {best.number} is the best of {num} {stage}: {figures(now.criteria, best.values)}"
    if known is None:
        return f"{found}."
    if known.missing:
        return f"{found}, over {now.seeds} and not confirmed yet."
    if not known.rows[0].holds:
        return f"{found}, and none of the best {len(known.rows)} held on {known.fresh}."
    first = known.rows[0]
    return (
        f"Trial {first.trial.number} is the best of {sum(row.holds for row in known.rows)} confirmed: "
        f"{figures(now.criteria, first.values)} over {known.fresh}; as found, among {num} {stage}: "
        f"{figures(now.criteria, first.trial.values)} over {now.seeds}."
    )


def on_the_front(now: Standing) -> str:
    """How many trials nothing is better than, for several criteria."""
    stage = "trained" if now.was_trained else "simulated"
    names = " and ".join(each.name for each in now.criteria)
    if not now.front:
        return f"None of {len(now.ranked)} {stage} trials is feasible"
    verb = "is" if len(now.front) == 1 else "are"
    return f"{len(now.front)} of {len(now.ranked)} {stage} trials {verb} on the front of {names}"


def figures(criteria: Sequence[Criterion], values: Sequence[float]) -> str:
    """``iae 2.31, pass_at_8 0.42``."""
    return ", ".join(f"{each.name} {value:.4g}" for each, value in zip(criteria, values, strict=True))


def listed_briefly(numbers: Sequence[int], most: int = 20) -> str:
    """The first numbers, with a sign that there are more."""
    return ", ".join(map(str, numbers[:most])) + (", …" if len(numbers) > most else "")


def _best(now: Standing, trials: Sequence[Any], values: Sequence[Sequence[float]], place: int) -> Any:
    costs = as_costs(values, [each.direction for each in now.criteria])[:, place]
    return trials[int(costs.argmin())]


def _chosen(now: Standing, trial: Any) -> Winner:
    known = now.confirmation
    row = known.of(trial) if known is not None else None
    found = figures(now.criteria, trial.values)
    if row is None or known is None:
        said = f"trial {trial.number}, {found} as found and not confirmed"
    else:
        num = sum(each.holds for each in known.rows)
        said = (
            f"trial {trial.number} of {num} confirmed, {figures(now.criteria, row.values)} over {known.fresh}, "
            f"{found} as found"
        )
    return Winner(trial=trial, was_trained=now.was_trained, confirmed=row, said=said)
