"""References that move by a plan: a band whose edges move, and a path through given points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import cos, inf, pi
from typing import ClassVar, Literal

from controllers.base import Reference, State

Shape = Literal["linear", "cosine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledBand(Reference):
    """A range to stay in whose edges move: r is y clipped into it, so inside the error is zero at any time.

    Entrocraft (2604.26326) lowers [0.6, 0.7] to [0.4, 0.5].  ``annealed`` around ``band`` is another thing: it scales
    the clipped reading, so that inside the band the error is not zero.
    """

    kind: ClassVar[str] = "scheduled_band"

    start_nats: tuple[float, float]
    """Edges up to ``start_iteration``, lower and upper [nats/token]."""

    end_nats: tuple[float, float]
    """Edges from ``start_iteration + num_iterations`` on [nats/token]."""

    num_iterations: int
    """Length of the move."""

    start_iteration: int = 0
    """Iteration at which the move begins."""

    shape: Shape = "linear"
    """``linear``, or ``cosine`` for a move that starts and ends gently."""

    def __post_init__(self) -> None:
        for name in ("start_nats", "end_nats"):
            low, high = getattr(self, name)
            if not 0 <= low <= high < inf:
                raise ValueError(
                    f"{name} must be a lower edge >= 0 and a finite upper one that is not below it, got "
                    f"[{low}, {high}]"
                )
        check_move(self.start_iteration, self.num_iterations, self.shape)

    def init(self) -> State:
        return ()

    def edges(self, t: int) -> tuple[float, float]:
        """Lower and upper edge at iteration ``t`` [nats/token]."""
        done = progress(t, self.start_iteration, self.num_iterations, self.shape)
        low, high = (
            (1 - done) * start + done * end for start, end in zip(self.start_nats, self.end_nats, strict=True)
        )
        return low, high

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        low, high = self.edges(t)
        return state, min(max(y, low), high)

    def bounds(self) -> tuple[float, float]:
        return min(self.start_nats[0], self.end_nats[0]), max(self.start_nats[1], self.end_nats[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Piecewise(Reference):
    """A path through given points, straight between them; the first value before them, the last after them.

    For setpoints that go up and down, as flexible entropy control (2602.09782) takes them for a clip range, and for a
    setpoint that is held and then released.
    """

    kind: ClassVar[str] = "piecewise"

    points: tuple[tuple[int, float], ...]
    """Points ``[iteration, nats]`` in ascending order of iterations, at least two of them [nats/token]."""

    def __post_init__(self) -> None:
        if len(self.points) < 2:
            raise ValueError(
                f"points must be at least two, got {len(self.points)}; one point is 'constant' with its value"
            )
        for t, value in self.points:
            if t < 0:
                raise ValueError(f"points must have iterations >= 0, got {t}")
            if not 0 <= value < inf:
                raise ValueError(f"points must have values >= 0 and finite, got {value} at iteration {t}")
        for (before, _), (after, _) in pairwise(self.points):
            if not before < after:
                raise ValueError(f"points must have ascending iterations, got {after} after {before}")

    def init(self) -> State:
        return ()

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        for (start, first), (end, last) in pairwise(self.points):
            if t < end:
                done = progress(t, start, end - start, "linear")
                return state, (1 - done) * first + done * last
        return state, self.points[-1][1]

    def bounds(self) -> tuple[float, float]:
        values = [value for _, value in self.points]
        return min(values), max(values)


def progress(t: int, start_iteration: int, num_iterations: int, shape: Shape) -> float:
    """Share of a move that is done at iteration ``t``: 0 before it, 1 after it."""
    done = min(max((t - start_iteration) / num_iterations, 0.0), 1.0)
    return done if shape == "linear" else (1 - cos(pi * done)) / 2


def check_move(start_iteration: int, num_iterations: int, shape: str) -> None:
    """Raise ``ValueError`` unless it begins at an iteration, takes one at the least, and has a known shape."""
    if start_iteration < 0:
        raise ValueError(f"start_iteration must be >= 0, got {start_iteration}")
    if num_iterations < 1:
        raise ValueError(f"num_iterations must be >= 1, got {num_iterations}")
    if shape not in ("linear", "cosine"):
        raise ValueError(f"shape must be 'linear' or 'cosine', got {shape!r}")
