"""Checks, before a run trains, that its inputs are those that its record names."""

from __future__ import annotations

from orchestrator.configuration.inputs import files_of
from orchestrator.configuration.models import RunConfig
from orchestrator.storage.inputs import changes, now, said
from orchestrator.storage.run_folder import RunInfo


class InputsChangedError(ValueError):
    """A file that the run reads is not the one that its record names."""


def require_inputs(config: RunConfig, info: RunInfo) -> None:
    """What is read now is what was there when the run was written down, which may be long ago.

    Raises:
        InputsChangedError: it is not.
    """
    if info.inputs is None:
        return
    there = files_of(config)
    recorded = {label: state for label, state in now(info.inputs, info.accepted).items() if "bytes" in state}
    if found := changes(recorded, there):
        raise InputsChangedError(f"{said(found)}; give the command again, which says what to do")
