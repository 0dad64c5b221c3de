"""The files that guardrails leave in the folder of a run: their events, and the rollbacks.

Both belong to the run's past.  A run that continues from a checkpoint drops the events that it will
find again, and keeps the effects of a rollback.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestrator.errors import ConfigError, named, short
from orchestrator.storage.files import as_record, read_json, replace_file, write_json
from orchestrator.storage.metrics_log import RESTORE
from orchestrator.storage.sealed import chained, first_broken, without_seal

GOES_BACK_FOR = ("rollback", "stop")
"""Actions after which a run may go back to its last good checkpoint: at once, or when it continues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line of `guardrails.jsonl`: a detector tripped, or a loop's law said what keeps it from its setpoint."""

    iteration: int
    detector: str
    """Its name, or the kind of a law's complaint."""
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
    """Rollbacks before it: iterations are counted from their checkpoint again after each."""


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
    """The user asked for it by continuing a run that had been stopped; no guardrail did."""

    @property
    def goes_back(self) -> bool:
        """Whether it takes iterations back: a run that an evaluation stopped keeps all it has."""
        return self.to <= self.iteration

    @property
    def redraws(self) -> bool:
        """Whether, for want of a limit to change, other responses are drawn instead."""
        return self.goes_back and not self.limits

    @property
    def change(self) -> str:
        """What is different from there on, in words."""
        if not self.goes_back:
            return "nothing else changed"
        limits = ", ".join(f"{name} to [{low:.4g}, {high:.4g}]" for name, (low, high) in self.limits.items())
        return f"limits of {limits}" if limits else "no limit to change, other responses drawn"


def read_events(path: Path) -> list[Event]:
    """The events of a run, in the order found; a torn last line is left out.

    Raises:
        ValueError: a complete line is not an event, or one is changed, missing or there twice.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    events, entries = [], []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{named(path)}: line {number} is not an event: {short(line)}; {RESTORE}"
            ) from error
        where = f"{named(path)}: line {number} is not an event"
        events.append(as_record(Event, without_seal(entry), where, RESTORE))
        entries.append(entry)
    if (broken := first_broken(entries)) is not None:
        raise ConfigError(
            f"{named(path)}: line {broken + 1} is not the one that was written there, by its checksum; {RESTORE}"
        )
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
    """The rollbacks of a run, in their order.

    Raises:
        ConfigError: the file is not what was written.
    """
    if not path.exists():
        return []
    entries, where = read_json(path), f"{named(path)}: not the rollbacks of a run"
    if not isinstance(entries, list):
        raise ConfigError(f"{where} ({short(entries)}); {RESTORE}")
    rollbacks = [as_record(Rollback, without_seal(entry), where, RESTORE) for entry in entries]
    if first_broken(entries) is not None:
        raise ConfigError(f"{named(path)}: is not what was written, by its checksums; {RESTORE}")
    return rollbacks


def write_rollbacks(path: Path, rollbacks: Sequence[Rollback]) -> None:
    """Replace the list as a whole."""
    write_json(path, list(chained(asdict(rollback) for rollback in rollbacks)))


def _write_events(path: Path, events: Sequence[Event]) -> None:
    entries = chained(asdict(event) for event in events)
    lines = [json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries]
    replace_file(path, "".join(f"{line}\n" for line in lines).encode())
