"""State of the saves of a run, for its status: a failed save that a later one replaced, or one still missing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from orchestrator.storage.run_folder import RunFolder, Status

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Saves:
    """Counts the saves that failed since the last that did not; ``tell`` is called whenever that changes."""

    tell: Callable[[Saves], None] = field(default=lambda _: None)
    wanting: str | None = None
    """Why the last save failed; None where it did not."""
    num_failed: int = 0
    first_iteration: int = 0
    notes: list[str] = field(default_factory=list)
    """What was made good, since the process began."""

    def failed(self, iteration: int, reason: str) -> None:
        """Note a save that the disk did not take."""
        self.first_iteration = self.first_iteration if self.num_failed else iteration
        self.num_failed += 1
        self.wanting = reason
        self.tell(self)

    def succeeded(self, iteration: int) -> None:
        """Note a save that is whole, and that it made good those before it."""
        if self.wanting is None:
            return
        number = "1 save" if self.num_failed == 1 else f"{self.num_failed} saves"
        self.notes.append(
            f"{number} failed from iteration {self.first_iteration} on and iteration {iteration} was saved: {self.wanting}"
        )
        self.wanting, self.num_failed = None, 0
        self.tell(self)


def told_in(folder: RunFolder) -> Saves:
    """Saves that tell the status of a run that is at work."""
    return Saves(tell=lambda saves: _tell(folder, saves))


def _tell(folder: RunFolder, saves: Saves) -> None:
    reason = None
    if saves.wanting is not None:
        reason = f"not saved since iteration {saves.first_iteration}: {saves.wanting}"
    try:
        add_notes(folder, saves.notes, reason=reason)
    except OSError as error:  # the disk that does not take the checkpoint may not take this
        log.warning("the status is not written: %s", error)


def add_notes(folder: RunFolder, notes: list[str], **changes: str | None) -> None:
    """Put sentences that are new into the status of a run, with other changes of it."""
    status: Status = folder.read_status()
    fresh = [note for note in notes if note not in status.notes]
    folder.write_status(replace(status, notes=[*status.notes, *fresh], **changes))  # type: ignore[arg-type]
