"""Compares what the trials of a stored study have in common with the study as it is now.

A stored definition lacks the settings that came after it.  Read by today's classes it has their defaults, which keep
what trials did before them, so it is the same definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.configuration.stored import differences, differing_keys
from orchestrator.storage.renamed import up_to_date
from orchestrator.storage.run_folder import CampaignFolder
from orchestrator.tuning.models import ConstraintsConfig, Dimension, SimulationConfig
from orchestrator.tuning.study import AFTER_SIMULATION, Study

SECTIONS: Mapping[str, Any] = {
    "space": dict[str, Dimension],
    "constraints": ConstraintsConfig,
    "simulation": SimulationConfig,
}


def differing(study: Study, stored: Mapping[str, Any], definition: Mapping[str, Any]) -> list[str]:
    """Keys, with both values, for which trials of before and of now cannot be compared; none if they can.

    Args:
        study: as its file says now.
        stored: the definition when it began.
        definition: the study's own now, or that of its simulated trials.
    """
    before = _as_read_today(up_to_date(stored))
    arm = before.pop("arm")
    others = {key: value for key, value in definition.items() if key != "arm"}
    return [*_differing_of_arm(study, arm), *differences(before, others)]


def _as_read_today(stored: Mapping[str, Any]) -> dict[str, Any]:
    read = dict(stored)
    for key in SECTIONS.keys() & stored.keys():
        adapter = TypeAdapter(SECTIONS[key])
        unused = set(AFTER_SIMULATION) if key == "simulation" else None
        with suppress(ValidationError):  # it has a setting that there is no more, which then differs
            section = adapter.validate_python(stored[key])
            read[key] = adapter.dump_python(section, mode="json", exclude=unused)
    return read


def _differing_of_arm(study: Study, stored: Mapping[str, Any] | str) -> list[str]:
    """The keys of the arm.

    A study of an earlier version has a hash of its arm, and the arm itself in its folder on the machine that began it.
    """
    if isinstance(stored, str):
        if stored == study.arm.fingerprint:
            return []
        folder = CampaignFolder(study.folder)
        stored_arm = folder.read_info().config.get("arm") if folder.exists() else None
        if not stored_arm:
            return [f"arm: stored {stored!r}, now {study.arm.fingerprint!r}"]
        stored = {key: value for key, value in stored_arm.items() if key != "name"}
    return [f"arm.{each}" for each in differing_keys(dict(stored), study.arm)]
