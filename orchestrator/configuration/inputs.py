"""Lists the files that a run reads besides its settings, by the settings that name them."""

from __future__ import annotations

from pathlib import Path

from orchestrator.configuration.models import RunConfig
from orchestrator.errors import ConfigError
from orchestrator.storage.inputs import Inputs, read_inputs
from policies.model import sources
from tasks import own_code


def inputs_of(config: RunConfig) -> Inputs:
    """Everything that a run of this configuration reads: of its tasks, those of phases too, and of its policy.

    Raises:
        ConfigError: something of it cannot be read.
    """
    try:
        return read_inputs(_files(config) | _policy(config))
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(str(error)) from error


def files_of(config: RunConfig) -> Inputs:
    """The same without what is on a hub: files can be looked at again for nothing."""
    named = _files(config) | _policy(config, ask_hub=False)
    return read_inputs({key: source for key, source in named.items() if isinstance(source, Path)})


def _files(config: RunConfig) -> dict[str, Path | str]:
    tasks = {"task": config.task} | {
        f"phases.{place}.task": phase.task for place, phase in enumerate(config.phases)
    }
    # A phase that leaves the run's files as they are names them again.
    found: dict[str, Path | str] = {}
    for where, task in tasks.items():
        for name, source in task.reads().items():
            if source not in found.values():
                found[f"{where}.{name}"] = source
        for key, reward in task.rewards().items():
            for file in own_code.files_of(reward.function):
                if file not in found.values():
                    found[f"{where}.{key} ({file.name})"] = file
    return found


def _policy(config: RunConfig, *, ask_hub: bool = True) -> dict[str, Path | str]:
    source = config.policy.source
    if not ask_hub and source != sources.BUILTIN and sources.local_source(source) is None:
        return {}
    found: dict[str, Path | str] = {}
    for name, each in sources.reads(source).items():
        key = f"policy.source ({name})" if name else "policy.source"
        found[key if isinstance(each, Path) else f"{key}: {source}"] = each
    return found
