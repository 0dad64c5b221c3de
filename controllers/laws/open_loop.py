"""The law without feedback: a command fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from controllers.base import Law, Sample, State, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoop(Law):
    """v = value.

    The fixed entropy bonus, clip-higher, Clip-Cov and every other method with constant coefficients;
    with the actuator's neutral value, the arm without control.
    """

    kind: ClassVar[str] = "open_loop"

    value: float
    """The command [actuator's unit]."""

    def __post_init__(self) -> None:
        if not isfinite(self.value):
            raise ValueError(f"value must be finite, got {self.value}")

    def init(self) -> State:
        return ()

    def step(self, state: State, sample: Sample) -> tuple[State, Terms]:
        return state, {"value": self.value}
