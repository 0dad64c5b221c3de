"""Optuna's records of a study: made once, found again, and refused where they are another study's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from orchestrator.campaign import differences
from orchestrator.changed_inputs import CURE, NOT_RECORDED
from orchestrator.errors import ConfigError, one_line
from orchestrator.storage.inputs import changes, now, said
from orchestrator.tuning.search import experiments_welcome, pruner, quiet, sampler
from orchestrator.tuning.storage import find_storage, open_storage
from orchestrator.tuning.study import Study, fingerprint

DEFINITION, COMPLETE = "entrostat.definition", "entrostat.complete"
FINGERPRINT = "entrostat.fingerprint"
INPUTS = "entrostat.inputs"
"""What trials read when the study began, and what of it was another later and was taken."""
WAIT_SECONDS = 120.0
"""How long stage one of another machine is given to be written."""


def simulated_name(name: str) -> str:
    """Name of the Optuna study that stage one is kept in."""
    return f"{name}.simulated"


def confirmed_name(name: str, num_seeds: int) -> str:
    """Name of the Optuna study of the confirmations on so many seeds."""
    return f"{name}.confirmed_on_{num_seeds}"


def open_for(study: Study, url: str, tracking_uri: str) -> Any:
    """The storage of a study, made where there is none.

    Raises:
        ConfigError: it cannot be used, see `open_storage`.
    """
    with _of(study):
        return open_storage(url, tracking_uri)


def find_for(study: Study, url: str, tracking_uri: str) -> Any:
    """The same without making anything; None where there is none yet."""
    with _of(study):
        return find_storage(url, tracking_uri)


def open_study(study: Study, storage: Any) -> Any:
    """The Optuna study of the training trials, made where there is none.

    Raises:
        ConfigError: the storage has a study of this name with another space, objective, seeds or arm.
    """
    import optuna

    quiet()
    conditional = any(dimension.when for dimension in study.config.space.values())
    with answering(study):
        found = optuna.create_study(
            study_name=study.config.name,
            storage=storage,
            directions=[each.direction for each in study.objectives],
            sampler=sampler(study.config.sampler, conditional=conditional),
            pruner=pruner(study.config.pruner, study.num_iterations),
            load_if_exists=True,
        )
        _claim(study, found, study.definition(), study.config.name)
        _name_values(found, study.config.objectives)
    return found


def find_study(study: Study, storage: Any) -> Any:
    """The same to look at, without making or changing anything; None where there is none.

    Raises:
        ConfigError: as `open_study`.
    """
    found = _find(study, storage, study.config.name)
    if found is not None:
        with answering(study):
            _refuse_another(study, found, study.definition(), study.config.name)
    return found


def study_names(study: Study, storage: Any) -> list[str]:
    """Names of the studies that a storage has."""
    import optuna

    with answering(study):
        return [summary.study_name for summary in optuna.get_all_study_summaries(storage)]


def stored_simulation(study: Study, storage: Any) -> Any:
    """Stage one as it was stored, complete; None where it is still to be done.

    Raises:
        ConfigError: stage one of this name was of another space, plant or objective.
    """
    name = simulated_name(study.config.name)
    found = _find(study, storage, name)
    if found is None:
        return None
    with answering(study):
        _refuse_another(study, found, study.simulated_definition(), name)
        return found if found.user_attrs.get(COMPLETE) else None


def open_confirmations(study: Study, storage: Any, seeds: Sequence[int]) -> Any:
    """The Optuna study of the trials that confirm others on these seeds, made where there is none."""
    import optuna

    quiet()
    name = confirmed_name(study.config.name, len(seeds))
    with answering(study):
        found = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[each.direction for each in study.objectives],
            sampler=optuna.samplers.RandomSampler(),  # what is in the queue has all of its parameters
            load_if_exists=True,
        )
        _claim(study, found, study.definition() | {"seeds": list(seeds)}, name)
        _name_values(found, study.config.objectives)
    return found


def find_confirmations(study: Study, storage: Any, seeds: Sequence[int]) -> Any:
    """The same to look at, without making or changing anything; None where there is none."""
    return _find(study, storage, confirmed_name(study.config.name, len(seeds)))


def store_simulation(study: Study, storage: Any, found: Any) -> Any:
    """Write stage one for good; where another machine was faster, give what that one has written."""
    import optuna

    name = simulated_name(study.config.name)
    with answering(study):
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
        _claim(study, stored, study.simulated_definition(), name)
        _name_values(stored, study.config.simulated_objectives)
        stored.add_trials(found.get_trials(deepcopy=False))
        stored.set_user_attr(COMPLETE, True)
    return stored


def keep_inputs(
    study: Study, found: Any, *, accept: bool = False, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Write down what the trials of a study read, which stays the same but for what is accepted.

    Raises:
        ConfigError: something is another than when the study began.
    """
    inputs = study.inputs()
    with answering(study):
        stored, trials = found.user_attrs.get(INPUTS), found.get_trials(deepcopy=False)
        if stored is None:
            if trials and inputs:
                tell(f"{study.config.name}: is a study of an earlier version; {NOT_RECORDED}")
            found.set_user_attr(INPUTS, {"began": inputs, "accepted": []})
            return
        before = now(stored["began"], stored["accepted"])
        if (changed := changes(before, inputs)) and not accept:
            raise ConfigError(
                f"{study.path}: name: {study.config.name!r} has trials for which there was something else to read: "
                f"{said(changed)}; {CURE}"
            )
        entries = [
            {**each, "when": time.time(), "trials": len(trials)}
            for each in changes(before, inputs, learned=True)
        ]
        if entries:
            found.set_user_attr(INPUTS, {**stored, "accepted": [*stored["accepted"], *entries]})


def changed_inputs(study: Study, found: Any) -> list[dict[str, Any]]:
    """What is another now than a study was begun with or has accepted."""
    stored = found.user_attrs.get(INPUTS)
    return changes(now(stored["began"], stored["accepted"]), study.inputs()) if stored else []


def _new(name: str, storage: Any, directions: Any) -> Any:
    import optuna

    return optuna.create_study(study_name=name, storage=storage, directions=directions)


def _find(study: Study, storage: Any, name: str) -> Any:
    import optuna

    quiet()
    if name not in study_names(study, storage):
        return None
    with answering(study):
        return optuna.load_study(study_name=name, storage=storage)


def _name_values(found: Any, names: Sequence[str]) -> None:
    """So that the dashboard says "iae" and not "value"."""
    with experiments_welcome():
        if found.metric_names != list(names):
            found.set_metric_names(list(names))


def _claim(study: Study, found: Any, definition: Mapping[str, Any], name: str) -> None:
    """Write down what the study is, or refuse it where it is another."""
    _refuse_another(study, found, definition, name)
    if DEFINITION not in found.user_attrs:
        found.set_user_attr(DEFINITION, dict(definition))
        found.set_user_attr(FINGERPRINT, fingerprint(definition))


def _refuse_another(study: Study, found: Any, definition: Mapping[str, Any], name: str) -> None:
    stored = found.user_attrs.get(DEFINITION)
    if stored is None:
        if found.get_trials(deepcopy=False):
            raise ConfigError(
                f"{study.path}: name: the storage has a study {name!r} that Entrostat did not make; "
                "choose another name"
            )
        return
    changed = list(differences(stored, dict(definition)))
    if changed:
        raise ConfigError(
            f"{study.path}: name: the storage has a study {name!r} that differs ({'; '.join(changed)}); its trials "
            "and these cannot be compared: give this study another name"
        )


@contextmanager
def _of(study: Study) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{study.path}: {error}") from error


@contextmanager
def answering(study: Study) -> Iterator[None]:
    """A storage that fails while it is used is bad input too: a sentence instead of a traceback."""
    try:
        yield
    except storage_failures() as error:
        raise ConfigError(
            f"{study.path}: storage: {why(error)}; check it, and the same command again continues"
        ) from error


def storage_failures() -> tuple[type[Exception], ...]:
    """What a storage that does not answer raises, a journal file as well as a database."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return StorageInternalError, SQLAlchemyError


def why(error: BaseException) -> str:
    """The cause of a storage's failure on one line: what the driver said rather than what wraps it."""
    wrapped = error.__cause__ or error
    return one_line(getattr(wrapped, "orig", None) or error)
