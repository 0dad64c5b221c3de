"""Optuna's records of a study: made once, found again, and refused where they are another study's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from orchestrator.campaign import differences
from orchestrator.configuration.errors import ConfigError
from orchestrator.tuning.search import experiments_welcome, pruner, quiet, sampler
from orchestrator.tuning.study import Study, fingerprint

DEFINITION, COMPLETE = "entrostat.definition", "entrostat.complete"
FINGERPRINT = "entrostat.fingerprint"
WAIT_SECONDS = 120.0
"""How long stage one of another machine is given to be written."""


def simulated_name(name: str) -> str:
    """Name of the Optuna study that stage one is kept in."""
    return f"{name}.simulated"


def open_study(study: Study, storage: Any, worker: int = 0) -> Any:
    """The Optuna study of the training trials, made where there is none.

    Raises:
        ConfigError: the storage has a study of this name with another space, objective, seeds or arm.
    """
    import optuna

    quiet()
    conditional = any(dimension.when for dimension in study.config.space.values())
    with _answering(study):
        found = optuna.create_study(
            study_name=study.config.name,
            storage=storage,
            directions=[each.direction for each in study.objectives],
            sampler=sampler(study.config.sampler, conditional=conditional, worker=worker),
            pruner=pruner(study.config.pruner, study.num_iterations),
            load_if_exists=True,
        )
        _claim(found, study.definition(), study.config.name)
        _name_values(found, study.config.objectives)
    return found


def stored_simulation(study: Study, storage: Any) -> Any:
    """Stage one as it was stored, complete; None where it is still to be done.

    Raises:
        ConfigError: stage one of this name was of another space, plant or objective.
    """
    import optuna

    name = simulated_name(study.config.name)
    with _answering(study):
        known = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
        if name not in known:
            return None
        found = optuna.load_study(study_name=name, storage=storage)
        _claim(found, study.simulated_definition(), name)
        return found if found.user_attrs.get(COMPLETE) else None


def store_simulation(study: Study, storage: Any, found: Any) -> Any:
    """Write stage one for good; where another machine was faster, give what that one has written."""
    import optuna

    name = simulated_name(study.config.name)
    with _answering(study):
        try:
            stored = _new(name, storage, found.directions)
        except optuna.exceptions.DuplicatedStudyError:
            deadline = time.monotonic() + WAIT_SECONDS
            while time.monotonic() < deadline:
                if (done := stored_simulation(study, storage)) is not None:
                    return done
                time.sleep(0.2)
            optuna.delete_study(study_name=name, storage=storage)  # its writer died half-way
            stored = _new(name, storage, found.directions)
        _claim(stored, study.simulated_definition(), name)
        _name_values(stored, study.config.simulated_objectives)
        stored.add_trials(found.get_trials(deepcopy=False))
        stored.set_user_attr(COMPLETE, True)
    return stored


def _new(name: str, storage: Any, directions: Any) -> Any:
    import optuna

    return optuna.create_study(study_name=name, storage=storage, directions=directions)


def _name_values(found: Any, names: Sequence[str]) -> None:
    """So that the dashboard says "iae" and not "value"."""
    with experiments_welcome():
        if found.metric_names != list(names):
            found.set_metric_names(list(names))


def _claim(found: Any, definition: Mapping[str, Any], name: str) -> None:
    """Write down what the study is, or refuse it where it is another."""
    stored = found.user_attrs.get(DEFINITION)
    if stored is None:
        if found.get_trials(deepcopy=False):
            raise ConfigError(
                f"name: the storage has a study {name!r} that Entrostat did not make; choose another name"
            )
        found.set_user_attr(DEFINITION, dict(definition))
        found.set_user_attr(FINGERPRINT, fingerprint(definition))
        return
    changed = list(differences(stored, dict(definition)))
    if changed:
        raise ConfigError(
            f"name: the storage has a study {name!r} that differs ({'; '.join(changed)}); its trials and these "
            "cannot be compared: give this study another name"
        )


@contextmanager
def _answering(study: Study) -> Iterator[None]:
    """A storage that fails while it is used is bad input too: a sentence instead of a traceback."""
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (StorageInternalError, OSError) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split())[:300]
        raise ConfigError(
            f"{study.path}: storage: {reason}; check it and give the same command again"
        ) from error
