"""Optuna's samplers and pruners from a study's settings; every draw has an address.

The address of a draw is the study's seed, the trial's place and the parameter's name.  Optuna's samplers hold a stream
of random numbers that starts again with each process: a study that is continued then draws what it has drawn already,
and two workers with one seed draw the same.  Here a sampler is made for each draw, with a seed from the address, and
learns what else it knows from the storage.  So it does not matter which process draws, or how many came before it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler

from orchestrator.training.seeds import derive_seed
from orchestrator.tuning.attempts import is_attempt, root
from orchestrator.tuning.models import Halving, PrunerConfig, SamplerConfig, Wilcoxon

SamplerOf = Callable[[int, int], BaseSampler]
"""A sampler of a seed, for the draws of the trial of a place."""


class AddressedSampler(BaseSampler):  # type: ignore[misc]
    """Draws by address with the samplers that ``make`` makes.

    Another attempt at a trial draws as the first: what was drawn for that one is fixed, and the rest is drawn as it
    would have been.

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
        """Let the sampler prepare for a trial."""
        self._at(study, trial).before_trial(study, trial)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """Let the sampler learn from a trial."""
        self._at(study, trial).after_trial(study, trial, state, values)

    def _at(self, study: Any, trial: Any, *names: str) -> BaseSampler:
        place = place_of(study, trial)
        return self._make(derive_seed(self._seed, "trial", place, *names) % 2**32, place)


def place_of(study: Any, trial: Any) -> int:
    """How many trials the storage has before the first attempt at this one, each counted once.

    It is the same at any time: trials get their numbers in turn, and another attempt is so from its beginning.
    """
    number = root(trial)
    before = (other for other in study.get_trials(deepcopy=False) if other.number < number)
    return sum(not is_attempt(other) for other in before)


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


def sampler(settings: SamplerConfig, *, conditional: bool) -> Any:
    """The sampler of training trials, the same in every worker."""
    make = partial(_training_sampler, settings, conditional)
    return AddressedSampler(derive_seed(settings.seed, "training"), make)


def _training_sampler(settings: SamplerConfig, conditional: bool, seed: int, place: int) -> Any:
    """Optuna's sampler for the trial of a place, with a seed of its own."""
    from optuna import samplers

    startup = settings.startup_trials
    with without_experimental_warnings():
        if settings.kind == "tpe":
            # With conditions there are groups of parameters that are searched together, each a model.
            grouped = {"multivariate": True, "group": True} if conditional else {}
            return samplers.TPESampler(seed=seed, n_startup_trials=startup, **grouped)
        if settings.kind == "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=startup)
        if settings.kind == "nsga2":
            return OrderedNSGAIISampler(seed=seed)
        if settings.kind == "qmc":
            sequence = derive_seed(settings.seed, "sequence") % 2**32
            return PlacedQMCSampler(sequence, place, independent_seed=seed)
        return RandomSampler(seed=seed)


def simulation_sampler(kind: str, seed: int) -> Any:
    """The sampler of stage one: Sobol points fill the space evenly and cost nothing."""
    from optuna import samplers

    with without_experimental_warnings():
        if kind == "qmc":
            return QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
        return (
            RandomSampler(seed=seed)
            if kind == "random"
            else samplers.TPESampler(seed=seed, n_startup_trials=64)
        )


def pruner(settings: PrunerConfig, num_iterations: int) -> Any:
    """The pruner of training trials; steps are trained iterations, of a Wilcoxon test seeds."""
    from optuna import pruners

    with without_experimental_warnings():
        if isinstance(settings, Halving):
            first = first_rung(settings, num_iterations)
            return pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=settings.factor)
        if isinstance(settings, Wilcoxon):
            return pruners.WilcoxonPruner(p_threshold=settings.p_threshold)
        return pruners.NopPruner()


def first_rung(settings: Halving, num_iterations: int) -> int:
    """Trained iterations before which nothing is pruned."""
    return settings.first or max(1, num_iterations // 3)


def quiet() -> None:
    """Let Optuna report errors only: Entrostat itself says what a study does."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)


@contextmanager
def without_experimental_warnings() -> Iterator[None]:
    """The parts that Optuna calls experimental are used on purpose, and pinned by tests."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=ExperimentalWarning)
        yield
