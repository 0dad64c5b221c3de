"""The legend of letters, and the shape that every part of a control loop has.

One letter means one thing everywhere in Entrostat:

    ======  ==========================================================  ============
    letter  meaning                                                     unit
    ======  ==========================================================  ============
    t       index of the training iteration, from 0                     iterations
    dt      iterations since the last control instant (1 unless held)   iterations
    y       measurement after the filter                                nats/token
    r       reference, also called setpoint                             nats/token
    e       error, r - y: positive when entropy is too low              nats/token
    v       command of the law, before limits and slew                  actuator's
    u       command really applied, after limits and slew               actuator's
    ======  ==========================================================  ============

Sign convention: raising ``u`` raises entropy, whatever the actuator.

A part (filter, reference, law) is a frozen dataclass whose fields are its gains; everything that
changes while it runs is in a ``State`` of plain floats that the caller keeps.  So a part is its own
configuration, a state survives a JSON round trip exactly, and a resumed loop continues bit for bit.

A state of several items is a ``NamedTuple`` of the part's own module, and ``init`` and ``step`` give that class.
A file gives back a plain tuple of the same items, so ``step`` also takes one: its first line is
``PIDState(*state)`` or alike, and the same for a state within it.  The names are for the code alone: a
named state equals the plain tuple, and a checkpoint holds no names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

State = tuple[Any, ...]
"""Floats and tuples of them, plain or named, nothing else."""

Terms = dict[str, float]
"""The named contributions to a command; their sum is ``v``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a law sees at one control instant.

    ``u`` is the law's share of the command that the last control instant applied: all of it but
    feedforward and dither, which others added.  Because a law is shown it, back-calculation
    anti-windup needs no knowledge of the limits, and the published incremental rules are one line each.
    """

    t: int
    dt: float
    y: float
    r: float
    u: float
    lost: float = 0.0
    """Iterations of ``dt`` that the loop held.  Nothing was read in them, so an integral leaves them out."""
    applied: float | None = None
    """Mean of the whole command over the last ``dt`` iterations, with what a hold kept; None: ``u``."""
    added: float = 0.0
    """Mean over the same iterations of what others added to the law's share of it: feedforward and dither."""
    low: float = -1.0
    """Lowest command that the loop lets through, in the law's unit."""
    high: float = 1.0
    """Highest one."""
    neutral: float = 0.0
    """The command that does nothing, in the law's unit."""
    noise: float | None = None
    """Standard error of ``y``, as its batch tells it [nats/token]; None where it does not."""
    dead_time: int = 0
    """Iterations for which a command waits before it can act: those of the last so many have not shown yet."""
    telemetry: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """All readings of the iteration, for a law that ``reads`` more than the measurement."""

    @property
    def e(self) -> float:
        """Error r - y [nats/token]."""
        return self.r - self.y

    @property
    def seen(self) -> float:
        """Iterations that the error of the last control instant stands for: ``dt`` without what was lost."""
        return self.dt - self.lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What keeps a law from holding its reference."""

    kind: str
    """One word: the same for all complaints of a kind."""
    sentence: str
    """What it is, with figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One step of a loop, complete: what it saw, what it wanted, what it commanded and why."""

    t: int
    y: float
    r: float
    e: float
    v: float
    u: float
    terms: Mapping[str, float]
    saturated: bool
    held: bool
    estimates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """What the law has learnt of its plant; no contribution to ``v``."""
    dead_time: int = 0
    """Iterations for which ``u`` waits before it can act."""


class Filter(ABC):
    """Smooths the measurement.  Only finite readings reach it."""

    kind: ClassVar[str]

    @abstractmethod
    def init(self) -> State:
        """State before the first reading."""

    @abstractmethod
    def step(self, state: State, reading: float) -> tuple[State, float]:
        """Take one reading [nats/token]; give the new state and the measurement ``y``."""


class Reads:
    """What a part looks at besides the measurement; while one of these is missing, its loop holds."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the further readings, in the telemetry."""
        return ()


class Reference(Reads, ABC):
    """Says where entropy should be."""

    kind: ClassVar[str]

    @abstractmethod
    def init(self) -> State:
        """State before the first measurement."""

    @abstractmethod
    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        """Give the new state and the reference ``r`` [nats/token] at iteration ``t``."""

    def of_run(self, *, domain: str | None, num_iterations: int | None) -> Reference:
        """The same reference in a run of that length, for a loop on that kind of problem (None is all kinds).

        Itself where it needs neither.
        """
        return self

    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest ``r`` it can ever give; infinite where only a run can tell."""


class Law(Reads, ABC):
    """Turns the error into a command."""

    kind: ClassVar[str]

    @abstractmethod
    def init(self) -> State:
        """State before the first sample."""

    @abstractmethod
    def step(self, state: State, sample: Sample) -> tuple[State, Terms]:
        """Give the new state and the terms whose sum is the command ``v`` before limits."""

    def estimates(self, state: State) -> dict[str, float]:
        """What a law in this state has learnt of its plant, by name; nothing unless it learns."""
        return {}

    def complaint(self, state: State) -> Complaint | None:
        """What keeps a law in this state from holding its reference, as far as it can tell; None while nothing does."""
        return None


class Feedforward(Reads, ABC):
    """A share of the command that answers a disturbance before entropy shows it."""

    kind: ClassVar[str]

    @abstractmethod
    def init(self) -> State:
        """State before the first reading."""

    @abstractmethod
    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, float]:
        """Give the new state and the share [actuator's unit] that is added to the law's command."""


class Dither(ABC):
    """A known movement added to a command, for identification; a function of the iteration alone."""

    kind: ClassVar[str]

    @abstractmethod
    def value(self, t: int) -> float:
        """What is added at iteration ``t`` [actuator's unit]."""

    @abstractmethod
    def of_run(self, seed: int) -> Dither:
        """The same movement from another place, for the run of this seed; 0 leaves it as it is.

        Runs that all move alike cannot tell the command's effect from what happens to every run at that
        iteration, such as the transient of a start."""
