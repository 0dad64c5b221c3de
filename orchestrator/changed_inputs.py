"""Refuses to continue a stored run on changed inputs, unless the user accepts the change."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.storage.inputs import Inputs, changes, now, said
from orchestrator.storage.run_folder import RunFolder, RunInfo

ACCEPT = "--accept-changed-inputs"
CURE = f"restore the old input, choose another name, or continue with the new input by {ACCEPT}, which is recorded"
NOT_RECORDED = "their inputs were not recorded when they began, so a change cannot be detected"

Change = Mapping[str, Any]


def refuse_changes(name: str, stored: Sequence[tuple[str, RunInfo]], inputs: Mapping[str, Inputs]) -> None:
    """Make sure that runs continue with the inputs they began with, and that runs that join them have the same.

    Args:
        name: of the campaign or study.
        stored: runs, and what to call them.
        inputs: the inputs as they are now, by arm.  For an arm that is missing, only the inputs that it shares
            with the others count.

    Raises:
        ConfigError: an input has changed; it names the files, as they were and as they are.
    """
    everything = {label: state for each in inputs.values() for label, state in each.items()}
    for called, info in stored:
        found = changed(info, inputs.get(info.arm, everything))
        if info.arm not in inputs:
            found = [change for change in found if change["old"] and change["new"]]
        if found:
            raise ConfigError(
                f"name: {name!r} has stored {called}, which read other inputs: {said(found)}; {CURE}"
            )


def changed(info: RunInfo, inputs: Inputs) -> list[dict[str, Any]]:
    """The inputs of a stored run that have changed since it read them; none if they were not recorded."""
    return [] if info.inputs is None else changes(now(info.inputs, info.accepted), inputs)


def continued(stored: RunInfo, info: RunInfo, folder: RunFolder) -> RunInfo:
    """The record of a run that continues: its first inputs stay, and changed inputs are added.

    Args:
        stored: the record so far.
        info: what it would be if it began now.
        folder: of the run, which knows how far it got.
    """
    assert info.inputs is not None
    began = stored.inputs
    if began is None:
        if folder.read_status().status in ("done", "stopped"):
            return replace(info, inputs=None, accepted=stored.accepted, fingerprint=stored.fingerprint)
        began = {}
    found = changes(now(began, stored.accepted), info.inputs, learned=True)
    status = folder.read_status()
    entries = [{**each, "when": time.time(), "iteration": status.iteration} for each in found]
    accepted = [*stored.accepted, *entries]
    return replace(info, inputs=began, accepted=accepted, fingerprint=stored.fingerprint)


def tell_unrecorded(
    name: str, stored: Sequence[RunInfo], inputs: Inputs, tell: Callable[[str], None]
) -> None:
    """Say that old runs continue without a comparison of inputs, if they read any."""
    if inputs and any(info.inputs is None for info in stored):
        tell(f"{name}: has stored runs of an earlier version; {NOT_RECORDED}")
