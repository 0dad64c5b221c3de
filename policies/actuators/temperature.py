"""Sampling temperature: the command multiplies the configured one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from policies.actuators.base import Command, SamplingActuator


@dataclass(frozen=True, kw_only=True)
class Temperature(SamplingActuator):
    """Samples at u times the configured temperature.  E3 [code: LiaoMengqi/E3-RL4LLMs].

    Acts on entropy at once, and not on the policy's weights: entropy is measured after temperature.  The
    update has to use the same temperature, or the probability ratio is off (METHODS 9).
    """

    kind: ClassVar[str] = "temperature"
    command: ClassVar[Command] = Command(low=0.2, high=5.0, neutral=1.0, unit="times the temperature")

    def temperature(self, base: float, u: float) -> float:
        return base * u
