"""Lists the files that a run reads besides its settings, by the settings that name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.own_kinds import files_of as files_of_part
from orchestrator.configuration.signals import reads_reference
from orchestrator.errors import ConfigError
from orchestrator.storage.inputs import Inputs, read_inputs
from policies.model import sources
from policies.model.reference import START
from tasks import Task, own_code
from tasks.kinds.mixture import Mixture


def inputs_of(config: RunConfig) -> Inputs:
    """Everything that a run of this configuration reads: of its tasks, those of phases and evaluations too, and of its policy.

    Raises:
        ConfigError: something of it cannot be read.
    """
    try:
        return read_inputs(_files(config) | _policy(config), code=_code(config))
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(str(error)) from error


def files_of(config: RunConfig) -> Inputs:
    """The same without what is on a hub: files can be looked at again for nothing."""
    named = _files(config) | _policy(config, ask_hub=False)
    return read_inputs(
        {key: source for key, source in named.items() if isinstance(source, Path)}, code=_code(config)
    )


def _files(config: RunConfig) -> dict[str, Path | str]:
    # A phase that leaves the run's files as they are names them again.
    found: dict[str, Path | str] = {}
    for where, task in tasks_of(config).items():
        for name, source in task.reads().items():
            if source not in found.values():
                found[f"{where}.{name}"] = source
    return found


def _code(config: RunConfig) -> dict[str, Path]:
    """The files of code of the user's own; their labels are the same wherever its folder lies."""
    found: dict[str, Path] = {}
    for where, files in _own_parts(config):
        for file in files:
            if (
                file not in found.values()
            ):  # the first is that which the setting names, the others lie below its folder
                found[f"{where} ({file.relative_to(files[0].parent).as_posix()})"] = file
    return found


def tasks_of(config: RunConfig) -> dict[str, Task]:
    """The tasks of a run, by their keys."""
    phases = {f"phases.{place}.task": phase.task for place, phase in enumerate(config.phases)}
    evaluations = {
        f"evaluation.sets.{name}.task": each.task
        for name, each in config.evaluation.sets.items()
        if each.task is not None
    }
    return {"task": config.task} | phases | evaluations


def policies_of(config: RunConfig) -> dict[str, str]:
    """The policies that a run loads, by their keys."""
    named = {"policy.source": config.policy.source}
    if config.policy.reference != START and reads_reference(config.loops):
        named["policy.reference"] = config.policy.reference
    return named


def _own_parts(config: RunConfig) -> Iterator[tuple[str, Sequence[Path]]]:
    """The files of every part of a run that can be of a user's own, by its key."""
    for where, task in tasks_of(config).items():
        for key, reward in task.rewards().items():
            yield f"{where}.{key}", own_code.files_of(reward.function)
        yield where, files_of_part(task)
        if isinstance(task, Mixture):
            for place, member in enumerate(task.tasks):
                yield f"{where}.tasks.{place}.task", files_of_part(member.task)
    for name, loop in config.loops.items():
        if own_code.is_own(loop.sensor):
            yield f"loops.{name}.sensor", own_code.files_of(loop.sensor)
        for key in ("filter", "reference", "law", "actuator", "feedforward", "dither"):
            yield f"loops.{name}.{key}", files_of_part(getattr(loop, key))
    yield "learner.objective", files_of_part(config.learner.objective)
    yield "learner.advantage", files_of_part(config.learner.advantage)
    for place, detector in enumerate(config.guardrails.own):
        yield f"guardrails.own.{place}", files_of_part(detector)


def _policy(config: RunConfig, *, ask_hub: bool = True) -> dict[str, Path | str]:
    found: dict[str, Path | str] = {}
    for setting, source in policies_of(config).items():
        for name, each in sources.sources_of(source).items():
            key, path = f"{setting} ({name})" if name else setting, sources.local_source(each)
            if path is not None:
                found[key] = path
            elif ask_hub:
                found[f"{key}: {source}"] = sources.hub_commit(each)
    return found
