"""What the JSON files of a campaign and a run hold: settings, and how far it got."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from orchestrator.storage.files import read_record

RunState = Literal["pending", "running", "done", "failed", "interrupted", "stopped"]
"""``stopped``: by a guardrail, as its campaign says; such a run has ended as one that is done has."""

OVER: tuple[RunState, ...] = ("done", "stopped")
"""States that the same command again leaves as they are."""

Info = TypeVar("Info", "CampaignInfo", "RunInfo", "Status")


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignInfo:
    """What `campaign.json` holds."""

    name: str
    description: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    created: float = 0.0  # seconds since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What `run.json` holds."""

    campaign: str
    arm: str
    seed: int
    method: str
    config: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    execution: dict[str, Any] = field(default_factory=dict)  # what changes no result
    inputs: dict[str, dict[str, Any]] | None = (
        None  # what it read when it began; None where that was not recorded
    )
    accepted: list[dict[str, Any]] = field(
        default_factory=list
    )  # what of it was another later, and was taken
    hidden: list[list[str | int]] = field(default_factory=list)
    """Keys that lead to the settings that are here without their credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `status.json` holds; `iteration` counts the finished ones."""

    status: RunState = "pending"
    reason: str | None = None
    """Why it ended so; of a run that goes on, why its last save failed."""
    notes: list[str] = field(default_factory=list)
    """What happened to its files and was made good, and where its best policy is, a sentence each."""
    iteration: int = 0
    num_iterations: int = 0
    updated: float = field(default_factory=time.time)  # seconds since 1970
    pid: int | None = None


def read_info_file(kind: type[Info], path: Path) -> Info:
    """The content of such a file; one that is damaged is refused with its cure."""
    return read_record(kind, path, f"delete the folder {path.parent}")
