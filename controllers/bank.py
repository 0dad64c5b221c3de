"""Several loops side by side, one owner for each actuator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controllers.base import Complaint, State, Trace
from controllers.loop import FeedbackLoop
from controllers.loop_state import LoopState


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Named loops that step together, with the shape of one loop.

    They share the telemetry and nothing else.  A loop whose sensor is missing holds; the others go
    on.  The state is in the order of the names, so it does not depend on the order in a file.
    """

    loops: Mapping[str, FeedbackLoop]
    """The loops by name."""

    def __post_init__(self) -> None:
        owners: dict[str, str] = {}
        for name, loop in self.loops.items():
            if loop.actuator in owners:
                raise ValueError(
                    f"loops must each own their actuator, got {loop.actuator!r} "
                    f"in both {owners[loop.actuator]!r} and {name!r}"
                )
            owners[loop.actuator] = name

    def init(self) -> State:
        """State before the first step: that of each loop."""
        return tuple(self.loops[name].init() for name in sorted(self.loops))

    def step(self, state: State, telemetry: Mapping[str, float], t: int) -> tuple[State, dict[str, Trace]]:
        """Take the telemetry of iteration ``t``; give the new state and a trace for each loop."""
        states: list[State] = []
        traces: dict[str, Trace] = {}
        for name, loop_state in zip(sorted(self.loops), state, strict=True):
            loop_state, traces[name] = self.loops[name].step(loop_state, telemetry, t)
            states.append(loop_state)
        return tuple(states), traces

    def complaints(self, state: State) -> dict[str, Complaint]:
        """What keeps loops from holding their references, by the name of the loop."""
        told = {
            name: self.loops[name].law.complaint(LoopState(*own).law)
            for name, own in zip(sorted(self.loops), state, strict=True)
        }
        return {name: complaint for name, complaint in told.items() if complaint is not None}

    def commands(self, traces: Mapping[str, Trace]) -> dict[str, float]:
        """The command of each actuator."""
        return {self.loops[name].actuator: trace.u for name, trace in traces.items()}
