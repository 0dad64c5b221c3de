"""References: the entropy that a loop should hold.

A number is not portable between setups: 0.1 nats measured at temperature 0.6 and 0.2 nats at
temperature 1 may be the same policy.  ``InitialAnchored`` avoids the question by asking for a
fraction of what the policy had when the run began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, nan
from typing import ClassVar, NamedTuple

from controllers.base import Reference, State
from controllers.parts.cascade import Cascade  # noqa: F401 - registers it
from controllers.parts.coverage import Coverage
from controllers.parts.moving_references import Shape, check_move, progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Free(Reference):
    """No target: r is not a number.  For open loops, whose law does not look at it."""

    kind: ClassVar[str] = "none"

    def init(self) -> State:
        return ()

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        return state, nan

    def bounds(self) -> tuple[float, float]:
        return nan, nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(Reference):
    """The same target throughout (EntroPIC, Skywork-OR1, SAC)."""

    kind: ClassVar[str] = "constant"

    value_nats: float
    """Target entropy [nats/token]."""

    def __post_init__(self) -> None:
        if not 0 <= self.value_nats < inf:
            raise ValueError(f"value_nats must be >= 0 and finite, got {self.value_nats}")

    def init(self) -> State:
        return ()

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        return state, self.value_nats

    def bounds(self) -> tuple[float, float]:
        return self.value_nats, self.value_nats


class AnchorState(NamedTuple):
    """The measurements that make an anchor."""

    total: float
    """Their sum [nats/token]."""
    num: float
    """How many they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialAnchored(Reference):
    """A fraction of the entropy that the run began with (AER, 2510.10959: about 0.4; E3: 1).

    r = fraction · mean of the first ``num_readings`` measurements.  While those are still being taken
    r = fraction · y, so with fraction 1 nothing moves before the anchor stands, as in E3's code.
    A measurement that is filtered anchors to the filtered value.
    """

    kind: ClassVar[str] = "initial_anchored"

    fraction: float
    """Target as a share of the initial entropy; below 1 lets the policy sharpen."""

    num_readings: int = 1
    """Measurements that make the anchor; more of them make it less noisy."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction < inf:
            raise ValueError(f"fraction must be > 0 and finite, got {self.fraction}")
        if self.num_readings < 1:
            raise ValueError(f"num_readings must be >= 1, got {self.num_readings}")

    def init(self) -> AnchorState:
        return AnchorState(total=0.0, num=0.0)

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        anchor = AnchorState(*state)
        if anchor.num < self.num_readings:
            return AnchorState(total=anchor.total + y, num=anchor.num + 1.0), self.fraction * y
        return anchor, self.fraction * (anchor.total / anchor.num)

    def bounds(self) -> tuple[float, float]:
        return 0.0, inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Reference):
    """A target that moves from one value to another, and stays there."""

    kind: ClassVar[str] = "schedule"

    start_nats: float
    """Target up to ``start_iteration`` [nats/token]."""

    end_nats: float
    """Target from ``start_iteration + num_iterations`` on [nats/token]."""

    num_iterations: int
    """Length of the move."""

    start_iteration: int = 0
    """Iteration at which the move begins."""

    shape: Shape = "linear"
    """``linear``, or ``cosine`` for a move that starts and ends gently."""

    def __post_init__(self) -> None:
        if not 0 <= self.start_nats < inf:
            raise ValueError(f"start_nats must be >= 0 and finite, got {self.start_nats}")
        if not 0 <= self.end_nats < inf:
            raise ValueError(f"end_nats must be >= 0 and finite, got {self.end_nats}")
        check_move(self.start_iteration, self.num_iterations, self.shape)

    def init(self) -> State:
        return ()

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        done = progress(t, self.start_iteration, self.num_iterations, self.shape)
        return state, (1 - done) * self.start_nats + done * self.end_nats

    def bounds(self) -> tuple[float, float]:
        return min(self.start_nats, self.end_nats), max(self.start_nats, self.end_nats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band(Reference):
    """A range to stay in: r is y clipped into it, so inside the error is zero (ERA, AEnt).

    With an infinite ``high_nats`` it is a floor, which makes any law one-sided.
    """

    kind: ClassVar[str] = "band"

    low_nats: float
    """Lower edge [nats/token]."""

    high_nats: float
    """Upper edge [nats/token]; ``.inf`` in YAML for none."""

    def __post_init__(self) -> None:
        if not 0 <= self.low_nats < inf:
            raise ValueError(f"low_nats must be >= 0 and finite, got {self.low_nats}")
        if not self.low_nats <= self.high_nats:
            raise ValueError(f"high_nats must be >= low_nats = {self.low_nats}, got {self.high_nats}")

    def init(self) -> State:
        return ()

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        return state, min(max(y, self.low_nats), self.high_nats)

    def bounds(self) -> tuple[float, float]:
        return self.low_nats, self.high_nats


@dataclass(frozen=True, slots=True, kw_only=True)
class Annealed(Reference):
    """Another reference, multiplied by a factor that moves from 1 to ``final_fraction``.

    E3 anneals its anchored target to 0.9 of itself over the last 40 % of the run, by a cosine.
    """

    kind: ClassVar[str] = "annealed"

    reference: Reference
    """The reference that is scaled."""

    final_fraction: float
    """Factor at the end of the move; 1 changes nothing."""

    start_iteration: int
    """Iteration at which the move begins."""

    num_iterations: int
    """Length of the move."""

    shape: Shape = "cosine"
    """``linear``, or ``cosine`` for a move that starts and ends gently."""

    def __post_init__(self) -> None:
        if not 0 < self.final_fraction < inf:
            raise ValueError(f"final_fraction must be > 0 and finite, got {self.final_fraction}")
        check_move(self.start_iteration, self.num_iterations, self.shape)

    @property
    def reads(self) -> tuple[str, ...]:
        return self.reference.reads

    def of_run(self, *, domain: str | None, num_iterations: int | None) -> Annealed:
        return replace(self, reference=self.reference.of_run(domain=domain, num_iterations=num_iterations))

    def init(self) -> State:
        return self.reference.init()

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        state, r = self.reference.step(state, y, t, telemetry)
        done = progress(t, self.start_iteration, self.num_iterations, self.shape)
        return state, r * ((1 - done) + done * self.final_fraction)

    def bounds(self) -> tuple[float, float]:
        low, high = self.reference.bounds()
        return low * min(1.0, self.final_fraction), high * max(1.0, self.final_fraction)


REFERENCES: dict[str, type[Reference]] = {part.kind: part for part in Reference.__subclasses__()}

AUTO = {"auto": Coverage.kind}
"""The name of the reference that needs no setting."""
