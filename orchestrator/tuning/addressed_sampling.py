"""Samplers whose every draw has an address: the study's seed, the trial's place, the parameter's name.

Optuna's samplers hold a stream of random numbers that starts again with each process.  A study that is continued
then draws what it has drawn already, and two workers with one seed draw the same.  Here a sampler is made for each
draw, with a seed from the draw's address, and learns what else it knows from the storage.  So it does not matter
which process draws, or how many came before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler

from orchestrator.training.seeds import derive_seed
from orchestrator.tuning.marks import ROOT
from orchestrator.tuning.retries import RETRY_OF

SamplerOf = Callable[[int, int], BaseSampler]
"""A sampler of a seed, for the draws of the trial of a place."""


class AddressedSampler(BaseSampler):  # type: ignore[misc]
    """Draws by address with the samplers that ``make`` makes.

    A retry draws as the trial that it continues: what was drawn for that one is fixed, and what was not yet is drawn
    as it would have been.

    Args:
        seed: of the study.
        make: gives a sampler of a seed below 2³², for the trial of a place.
    """

    def __init__(self, seed: int, make: SamplerOf) -> None:
        self._seed = seed
        self._make = make

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """The parameters that are drawn together."""
        return dict(self._at(study, trial).infer_relative_search_space(study, trial))

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        """Values of the parameters that are drawn together."""
        inner = self._at(study, trial)
        inner.infer_relative_search_space(study, trial)  # some keep what they find there
        return dict(inner.sample_relative(study, trial, search_space))

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """The value of a parameter that is drawn alone."""
        inner = self._at(study, trial, param_name)
        return inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Any, trial: Any) -> None:
        """What the sampler does before a trial."""
        self._at(study, trial).before_trial(study, trial)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """What the sampler does after a trial."""
        self._at(study, trial).after_trial(study, trial, state, values)

    def _at(self, study: Any, trial: Any, *names: str) -> BaseSampler:
        place = place_of(study, trial)
        return self._make(derive_seed(self._seed, "trial", place, *names) % 2**32, place)


def place_of(study: Any, trial: Any) -> int:
    """How many trials the storage has before this one, without retries; of a retry, that of the trial it continues.

    It is the same at any time: trials get their numbers in turn, and one that is a retry is so from its beginning.
    """
    number = _continued(trial)
    before = (other for other in study.get_trials(deepcopy=False) if other.number < number)
    return sum(RETRY_OF not in other.system_attrs for other in before)


def _continued(trial: Any) -> int:
    """Number of the first of the trials that are attempts at the same."""
    return int(trial.user_attrs.get(ROOT, trial.system_attrs.get(RETRY_OF, trial.number)))


class PlacedQMCSampler(QMCSampler):  # type: ignore[misc]
    """The point of Sobol's sequence at the place of the trial, where Optuna's counts in the storage.

    Two workers may count at the same time and draw the same point; and a count goes on where nothing was drawn.

    Args:
        seed: of the sequence, one for the whole study.
        place: of the trial.
        independent_seed: for what is drawn alone.
    """

    def __init__(self, seed: int, place: int, independent_seed: int) -> None:
        independent = RandomSampler(seed=independent_seed)
        super().__init__(
            seed=seed, scramble=True, independent_sampler=independent, warn_independent_sampling=False
        )
        self._place = place

    def _find_sample_id(self, study: Any, search_space: dict[str, Any]) -> int:
        return self._place


class OrderedNSGAIISampler(NSGAIISampler):  # type: ignore[misc]
    """Parents always in the order of their trials, where Optuna's has another for the process that chose them."""

    def get_parent_population(self, study: Any, generation: int) -> list[Any]:
        """The trials that a generation is bred from."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)
