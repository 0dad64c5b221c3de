"""The Optuna studies of a study: made once, found again, and refused where they are another study's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from orchestrator.changed_inputs import CURE, NOT_RECORDED
from orchestrator.errors import ConfigError
from orchestrator.storage.inputs import changes, now, said
from orchestrator.tuning.addressed_sampling import pruner, quiet, sampler, without_experimental_warnings
from orchestrator.tuning.criteria import Criterion
from orchestrator.tuning.storage import answering, find_storage, open_storage, storage_url
from orchestrator.tuning.stored_definition import differing
from orchestrator.tuning.study import Study
from orchestrator.tuning.study_storage import StudyStorage

DEFINITION = "entrostat.definition"
AT_ONCE = 50
"""Simulated trials that are written in one transaction: other workers wait for no longer than a fraction of a second."""
INPUTS = "entrostat.inputs"
"""The inputs of trials when the study began, and which of them changed later and were accepted."""


def url_of(study: Study) -> str:
    """The URL of the study's storage, see `storage_url`."""
    with _naming(study):
        return storage_url(study.config.storage, study.folder)


def open_for(study: Study, url: str, tracking_uri: str) -> StudyStorage:
    """The storage of a study, made where there is none, see `open_storage`."""
    with _naming(study):
        return open_storage(url, tracking_uri, study.config.stale_seconds)


def find_for(study: Study, url: str, tracking_uri: str) -> StudyStorage | None:
    """The storage of a study to be read only; None where there is none yet, see `find_storage`."""
    with _naming(study):
        return find_storage(url, tracking_uri)


def open_study(study: Study, storage: Any) -> Any:
    """The Optuna study of the training trials, made where there is none.

    Raises:
        ConfigError: the storage has a study of this name with another space, criterion, seeds or arm.
    """
    conditional = any(dimension.when for dimension in study.config.space.values())
    settings = {
        "sampler": sampler(study.config.sampler, conditional=conditional),
        "pruner": pruner(study.config.pruner, study.num_iterations),
    }
    return _open(study, storage, study.config.name, study.definition(), study.criteria, settings)


def find_study(study: Study, storage: Any) -> Any:
    """The Optuna study of the training trials to look at; None where there is none.

    Raises:
        ConfigError: as `open_study`.
    """
    found = _find(study, storage, study.config.name)
    if found is not None:
        with answering(study.path):
            _refuse_another(study, found, study.definition(), study.config.name)
    return found


def study_names(study: Study, storage: Any) -> list[str]:
    """Names of the studies that a storage has."""
    import optuna

    with answering(study.path):
        return [summary.study_name for summary in optuna.get_all_study_summaries(storage)]


def open_confirmations(study: Study, storage: Any, seeds: Sequence[int]) -> Any:
    """The Optuna study of the trials that confirm others on these seeds, made where there is none."""
    import optuna

    settings = {"sampler": optuna.samplers.RandomSampler()}  # a trial in the queue has all of its parameters
    definition = study.definition() | {"seeds": list(seeds)}
    return _open(study, storage, _confirmed_name(study, seeds), definition, study.criteria, settings)


def find_confirmations(study: Study, storage: Any, seeds: Sequence[int]) -> Any:
    """The Optuna study of the confirmations to look at; None where there is none."""
    return _find(study, storage, _confirmed_name(study, seeds))


def stored_simulation(study: Study, storage: Any) -> Any:
    """Stage one as it was stored; None where it is still to be done, or to be stored in full.

    Raises:
        ConfigError: stage one of this name was of another space, plant or criterion.
    """
    assert study.config.simulation is not None
    name = _simulated_name(study)
    found = _find(study, storage, name)
    if found is None:
        return None
    with answering(study.path):
        _refuse_another(study, found, study.simulated_definition(), name)
        num = len(found.get_trials(deepcopy=False))
    return found if num == study.config.simulation.trials else None


def store_simulation(study: Study, storage: StudyStorage, searched: Any) -> Any:
    """Write stage one, from where a command that was killed had come to; two commands at once share the work."""
    stored = _open(
        study, storage, _simulated_name(study), study.simulated_definition(), study.simulated_criteria, {}
    )
    left = trials = searched.get_trials(deepcopy=False)
    while left:
        with answering(study.path), storage.alone(stored):
            left = trials[len(stored.get_trials(deepcopy=False)) :]
            for trial in left[:AT_ONCE]:
                storage.create_new_trial(stored._study_id, trial)
    return stored


def keep_inputs(
    study: Study, found: Any, *, accept: bool = False, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Record the inputs of a study's trials, which stay the same but for accepted changes.

    Raises:
        ConfigError: an input has changed since the study began.
    """
    inputs = study.inputs()
    with answering(study.path):
        stored, trials = found.user_attrs.get(INPUTS), found.get_trials(deepcopy=False)
        if stored is None:
            if trials and inputs:
                tell(f"{study.config.name}: is a study of an earlier version; {NOT_RECORDED}")
            found.set_user_attr(INPUTS, {"began": inputs, "accepted": []})
            return
        before = now(stored["began"], stored["accepted"])
        if (changed := changes(before, inputs)) and not accept:
            raise ConfigError(
                f"{study.path}: name: {study.config.name!r} has trials that read other inputs: {said(changed)}; {CURE}"
            )
        entries = [
            {**each, "when": time.time(), "trials": len(trials)}
            for each in changes(before, inputs, learned=True)
        ]
        if entries:
            found.set_user_attr(INPUTS, {**stored, "accepted": [*stored["accepted"], *entries]})


def changed_inputs(study: Study, found: Any) -> list[dict[str, Any]]:
    """The inputs that differ from those that a study began with or has accepted."""
    stored = found.user_attrs.get(INPUTS)
    return changes(now(stored["began"], stored["accepted"]), study.inputs()) if stored else []


def _simulated_name(study: Study) -> str:
    return f"{study.config.name}.simulated"


def _confirmed_name(study: Study, seeds: Sequence[int]) -> str:
    return f"{study.config.name}.confirmed_on_{len(seeds)}"


@contextmanager
def _naming(study: Study) -> Iterator[None]:
    """Name the study's file in a refusal."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{study.path}: {error}") from error


def _open(
    study: Study,
    storage: Any,
    name: str,
    definition: Mapping[str, Any],
    criteria: Sequence[Criterion],
    settings: Mapping[str, Any],
) -> Any:
    import optuna

    quiet()
    with answering(study.path):
        found = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[each.direction for each in criteria],
            load_if_exists=True,
            **settings,
        )
        _claim(study, found, definition, name)
        with without_experimental_warnings():  # the dashboard then says "iae" and not "value"
            if found.metric_names != (names := [each.name for each in criteria]):
                found.set_metric_names(names)
    return found


def _find(study: Study, storage: Any, name: str) -> Any:
    import optuna

    quiet()
    if name not in study_names(study, storage):
        return None
    with answering(study.path):
        return optuna.load_study(study_name=name, storage=storage)


def _claim(study: Study, found: Any, definition: Mapping[str, Any], name: str) -> None:
    """Record the definition of the study, or refuse it where it is another's."""
    _refuse_another(study, found, definition, name)
    stored = found.user_attrs.get(DEFINITION)
    if stored is None or not isinstance(stored["arm"], dict):
        found.set_user_attr(DEFINITION, dict(definition))


def _refuse_another(study: Study, found: Any, definition: Mapping[str, Any], name: str) -> None:
    stored = found.user_attrs.get(DEFINITION)
    if stored is None:
        if found.get_trials(deepcopy=False):
            raise ConfigError(
                f"{study.path}: name: the storage has a study {name!r} that Entrostat did not make; "
                "choose another name"
            )
        return
    changed = differing(study, stored, definition)
    if changed:
        raise ConfigError(
            f"{study.path}: name: the storage has a study {name!r} that differs ({'; '.join(changed)}); its trials "
            "and these cannot be compared: give this study another name"
        )
