"""Clip-higher: the command raises the upper bound of the probability ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from policies.actuators.base import Command, RatioActuator, UpdateFacts
from policies.objectives import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class ClipRange(RatioActuator):
    """Moves the bounds [1 - low, 1 + high] to [1 - low, 1 + high + u].  DAPO, arXiv 2503.14476: u = 0.08.

    An unlikely token meets the upper bound sooner than a likely one (1.2 · 0.01 is far, 1.2 · 0.9 is
    above 1), so a higher bound lets unlikely right tokens grow.  The upper bound stays at 1 or above:
    below -high the command has no further effect.
    """

    kind: ClassVar[str] = "clip_range"
    command: ClassVar[Command] = Command(low=-0.2, high=2.5, neutral=0.0, unit="ratio")

    def bounds(self, low: float, high: float, u: float) -> tuple[float, float]:
        return low, max(0.0, high + u)

    def why_inert(self, facts: UpdateFacts) -> str | None:
        if not OBJECTIVES[facts.objective].has_bounds:
            return f"objective {facts.objective!r} does not bound the probability ratio"
        if facts.ratio_stays_at_one:
            return "with one optimiser step a batch the probability ratio is 1 and meets no bound"
        return None
