"""A relay with three positions: too low, within, too high."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from controllers.base import Law, Sample, State, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay(Law):
    """v = up where e > dead_band, down where e < −dead_band, middle between them.

    The law of Entrocraft (2604.26326) on a band, inside which e is 0: below it only wrong responses teach, above it
    only right ones.  On a setpoint it is a relay with a dead zone, and ends in a limit cycle unless the dead zone
    is wider than what one iteration of a full command moves.
    """

    kind: ClassVar[str] = "relay"

    up: float
    """Command while entropy is too low [actuator's unit]."""

    down: float
    """Command while entropy is too high; not above ``middle`` [actuator's unit]."""

    middle: float = 0.0
    """Command in between; not above ``up`` [actuator's unit]."""

    dead_band_nats: float = 0.0
    """Error that is let pass, either way [nats/token]."""

    def __post_init__(self) -> None:
        for name in ("up", "down", "middle"):
            if not isfinite(value := getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {value}")
        if not self.down <= self.middle <= self.up:
            raise ValueError(f"middle must be in [down, up] = [{self.down}, {self.up}], got {self.middle}")
        if not self.down < self.up:
            raise ValueError(f"up must be above down = {self.down}, got {self.up}")
        if not (isfinite(self.dead_band_nats) and self.dead_band_nats >= 0):
            raise ValueError(f"dead_band_nats must be >= 0 and finite, got {self.dead_band_nats}")

    def init(self) -> State:
        return ()

    def step(self, state: State, sample: Sample) -> tuple[State, Terms]:
        if sample.e > self.dead_band_nats:
            return state, {"position": self.up}
        return state, {"position": self.down if sample.e < -self.dead_band_nats else self.middle}
