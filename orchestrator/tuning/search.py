"""Optuna's samplers and pruners from a study's settings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from orchestrator.training.seeds import derive_seed
from orchestrator.tuning.models import Halving, PrunerConfig, SamplerConfig, Wilcoxon


def quiet() -> None:
    """Optuna reports errors only: what a study does is told by us."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)


def sampler(settings: SamplerConfig, *, conditional: bool) -> Any:
    """The sampler of training trials, the same in every worker: each draw has its address."""
    from orchestrator.tuning.addressed_sampling import AddressedSampler

    make = partial(_training_sampler, settings, conditional)
    return AddressedSampler(derive_seed(settings.seed, "training"), make)


def _training_sampler(settings: SamplerConfig, conditional: bool, seed: int, place: int) -> Any:
    """Optuna's sampler for the trial of a place, with a seed of its own."""
    from optuna import samplers

    from orchestrator.tuning.addressed_sampling import OrderedNSGAIISampler, PlacedQMCSampler

    startup = settings.startup_trials
    with experiments_welcome():
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
        return samplers.RandomSampler(seed=seed)


def simulation_sampler(kind: str, seed: int) -> Any:
    """The sampler of stage one: Sobol points fill the space evenly and cost nothing."""
    from optuna import samplers

    with experiments_welcome():
        if kind == "qmc":
            return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
        if kind == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, n_startup_trials=64)


def pruner(settings: PrunerConfig, num_iterations: int) -> Any:
    """The pruner of training trials; steps are trained iterations, of a Wilcoxon test seeds."""
    from optuna import pruners

    with experiments_welcome():
        if isinstance(settings, Halving):
            first = first_rung(settings, num_iterations)
            return pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=settings.factor)
        if isinstance(settings, Wilcoxon):
            return pruners.WilcoxonPruner(p_threshold=settings.p_threshold)
        return pruners.NopPruner()


def first_rung(settings: Halving, num_iterations: int) -> int:
    """Trained iterations before which nothing is pruned."""
    return settings.first or max(1, num_iterations // 3)


@contextmanager
def experiments_welcome() -> Iterator[None]:
    """What Optuna calls experimental is used on purpose here, and pinned by tests."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=ExperimentalWarning)
        yield
