"""The interface of a detector: it compares a reading of every iteration with a limit.

A detector is pure, as every part here: its fields are its settings, and its changing values are in a ``State`` of
plain floats.  It trips when ``patience`` readings in a row are beyond the limit, and recovers at the
first that is not.  A reading that is missing or not finite changes nothing.  ``action`` names the response to a
trip; the caller of the detector carries it out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import ClassVar, Literal, get_args

from controllers.base import State

Action = Literal["warn", "hold", "rollback", "stop"]
"""``warn`` says so; ``hold`` keeps the last command of every loop while it lasts; ``rollback`` goes back to
the last good checkpoint with narrower limits of the commands; ``stop`` ends the run."""

Side = Literal["low", "high", "none"]
"""The way in which entropy is off when a detector trips, and so the limit of a command that a rollback moves."""

ENTROPY, SETPOINT = "entropy", "setpoint"
"""What detectors of entropy read; a `Post` says which readings of a run these are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a detector reads from one iteration."""

    value: float
    """What was compared with the limit; nan where there was nothing to read."""

    limit: float
    """What it should not be beyond, in the same unit; nan where there is none yet."""

    excesses: tuple[float, ...]
    """By how much the last readings were beyond it, at most ``patience`` of them."""

    patience: int
    """How many of them in a row it takes."""

    @property
    def sustained(self) -> float:
        """The least of ``patience`` excesses; −inf before there are so many."""
        return min(self.excesses) if len(self.excesses) == self.patience else -inf

    @property
    def tripped(self) -> bool:
        """Whether the last ``patience`` readings all were beyond the limit."""
        return self.sustained > 0

    @property
    def beyond(self) -> bool:
        """Whether the last reading was."""
        return bool(self.excesses) and self.excesses[-1] > 0


class Detector(ABC):
    """Looks for one kind of failure."""

    name: ClassVar[str]
    direction: ClassVar[Literal["below", "above"]]
    """The side of its limit on which a value is a failure."""

    measures: ClassVar[tuple[str, str]]
    """What the value is, and its unit, for a sentence about it."""

    side: ClassVar[Side]

    counts: ClassVar[str] = "iterations"
    """What its patience counts."""

    threshold: float
    patience: int
    action: Action

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Names of the readings without which it says nothing."""

    @abstractmethod
    def init(self) -> State:
        """State before the first iteration."""

    @abstractmethod
    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, Reading]:
        """Take what one iteration measured; give the new state and the detector's reading."""


class Ceiling(Detector):
    """A detector that trips where a reading stays above its threshold; a subclass adds nothing but fields."""

    direction: ClassVar[Literal["below", "above"]] = "above"
    side: ClassVar[Side] = "none"
    reading: ClassVar[str]

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.reading,)

    def init(self) -> State:
        return ()

    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, Reading]:
        value = telemetry.get(self.reading, nan)
        excesses = recent(state, value - self.threshold, self.patience)
        return excesses, Reading(value=value, limit=self.threshold, excesses=excesses, patience=self.patience)


def recent(excesses: State, excess: float, patience: int) -> State:
    """The last ``patience`` excesses, with a new one unless it is not finite."""
    return (*excesses, excess)[-patience:] if isfinite(excess) else excesses


def check_settings(detector: Detector, *, low: float, high: float) -> None:
    """Guard what all detectors have: ``threshold`` strictly between two bounds, ``patience``, ``action``."""
    if not low < detector.threshold < high:
        upper = "" if high == inf else f" and < {high:g}"
        raise ValueError(f"threshold must be > {low:g}{upper}, got {detector.threshold:g}")
    if detector.patience < 1:
        raise ValueError(f"patience must be >= 1, got {detector.patience}")
    if detector.action not in get_args(Action):
        raise ValueError(f"action must be one of {', '.join(get_args(Action))}, got {detector.action!r}")
