"""Writes the state of a run to its folder: its status, its end and the reason, and the rules for its graders."""

from __future__ import annotations

import logging
import os

from orchestrator.storage.files import write_json
from orchestrator.storage.run_folder import RunFolder, RunInfo, RunState, Status
from orchestrator.training.going_on import where_to_go_on
from orchestrator.training.ranks import Ranks
from tasks.grading.confinement import NOT_HELD

log = logging.getLogger(__name__)


def interruption(folder: RunFolder) -> str:
    """The message of a run that was told to stop: the iteration it continues from, and what it could not save."""
    unsaved = folder.read_status().reason
    try:
        found = where_to_go_on(folder)
    except ValueError as error:
        return f"told to stop; {error}"
    said = f"told to stop; it continues from iteration {found.iteration if found else 0}"
    return f"{said}; {unsaved}" if unsaved else said


def tell_failure(folder: RunFolder, info: RunInfo, ranks: Ranks, reason: str) -> None:
    """The rank that fails first says why; the others only miss it, and that after it has said so."""
    if ranks.size == 1:
        tell_state(folder, info, "failed", reason)
    elif folder.read_status().status not in ("failed", "interrupted"):
        tell_state(folder, info, "failed", f"rank {ranks.rank} of {ranks.size}: {reason}")


def stay_silent(_: RunState, __: str | None = None) -> None:
    """Write nothing, as every rank does but the first."""


def tell_state(folder: RunFolder, info: RunInfo, state: RunState, reason: str | None = None) -> None:
    """Write how the run is, and why, with what was noted of it before."""
    folder.write_status(
        Status(
            status=state,
            reason=reason,
            notes=folder.read_status().notes,
            iteration=_measured_iterations(folder),
            num_iterations=info.config["learner"]["iterations"],
            pid=os.getpid() if state == "running" else None,
        )
    )


def record_confinement(folder: RunFolder, confinement: dict[str, str]) -> None:
    """Say what graders are held to, and above all what this system does not hold them to."""
    write_json(folder.graders_path, confinement)
    log.info("graders: %s", "; ".join(f"{rule}: {held}" for rule, held in confinement.items()))
    if lacking := [rule for rule, held in confinement.items() if NOT_HELD in held]:
        log.warning(
            "this system does not enforce these rules on graders: %s; see docs/security.md",
            ", ".join(lacking),
        )


def _measured_iterations(folder: RunFolder) -> int:
    try:
        return max((record.step + 1 for record in folder.records() if record.kind == "train"), default=0)
    except ValueError:  # a broken metrics file fails the run with a reason of its own
        return 0
