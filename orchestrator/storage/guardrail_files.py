"""What guardrails leave in the folder of a run: what they found, and what was rolled back.

Both belong to the run's past: a run that continues from a checkpoint forgets the events that it is going to
find again, and keeps what a rollback did.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestrator.configuration.errors import ConfigError, named, short
from orchestrator.storage.files import as_record, read_json, replace_file, write_json

GOES_BACK_FOR = ("rollback", "stop")
"""Actions after which a run may go back to its last good checkpoint: at once, or when it is taken up again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line of `guardrails.jsonl`: a detector tripped."""

    iteration: int
    detector: str
    subject: str = ""
    """The loop that was looked at; "" is the whole run."""
    value: float = 0.0
    threshold: float = 0.0
    """The limit that the value was beyond, in its unit."""
    patience: int = 1
    action: str = "warn"
    reason: str = ""
    """A sentence."""
    attempt: int = 0
    """Rollbacks before it: iterations are counted anew after each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """One entry of `rollbacks.json`."""

    iteration: int
    """At which it was decided."""
    to: int
    """Iterations that are left."""
    detector: str
    reason: str
    limits: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Lowest and highest command of the loops whose limits changed, by name."""
    requested: bool = False
    """By whoever took the run up again after it had been stopped, not by a guardrail."""

    @property
    def redraws(self) -> bool:
        """Whether, for want of a limit to change, other responses are drawn instead."""
        return not self.limits

    @property
    def change(self) -> str:
        """What is different from there on, in words."""
        limits = ", ".join(f"{name} to [{low:.4g}, {high:.4g}]" for name, (low, high) in self.limits.items())
        return f"limits of {limits}" if limits else "no limit to change, other responses drawn"


def read_events(path: Path) -> list[Event]:
    """The events of a run, in the order found; a torn last line is left out.

    Raises:
        ValueError: a complete line is not an event.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    events = []
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{named(path)}: not an event: {short(line)}; delete this line") from error
        events.append(as_record(Event, content, f"{named(path)}: not an event", "delete this line"))
    return events


def append_event(path: Path, event: Event) -> None:
    """Add an event; the file is replaced whole, which is cheap for what is rare."""
    _write_events(path, [*read_events(path), event])


def forget_events(path: Path, iteration: int, attempt: int) -> None:
    """Keep the events before ``iteration``, and those of attempts that a rollback has ended."""
    events = read_events(path)
    kept = [event for event in events if event.attempt < attempt or event.iteration < iteration]
    if len(kept) < len(events):
        _write_events(path, kept)


def read_rollbacks(path: Path) -> list[Rollback]:
    """The rollbacks of a run, in their order."""
    if not path.exists():
        return []
    content, cure = read_json(path), f"delete the folder {path.parent}"
    if not isinstance(content, list):
        raise ConfigError(f"{named(path)}: not a list of rollbacks ({short(content)}); {cure}")
    return [as_record(Rollback, entry, f"{named(path)}: not a rollback", cure) for entry in content]


def write_rollbacks(path: Path, rollbacks: Sequence[Rollback]) -> None:
    """Replace the list as a whole."""
    write_json(path, [asdict(rollback) for rollback in rollbacks])


def _write_events(path: Path, events: Sequence[Event]) -> None:
    lines = [json.dumps(asdict(event), ensure_ascii=False, allow_nan=False) for event in events]
    replace_file(path, "".join(f"{line}\n" for line in lines).encode())
