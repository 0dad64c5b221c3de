"""Fixed steps up or down: only the sign of the error counts."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar, NamedTuple

from controllers.base import Law, Sample, State, Terms


class IncrementState(NamedTuple):
    """The memory, and whether its gate is open."""

    memory: float
    """m, the command behind the gate [actuator's unit]."""
    gate: float
    """1 open, 0 shut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment(Law):
    """A memory that goes up by ``step`` while entropy is too low and down while it is too high.

    gated:      v_k = m_k · 1[e_{k−1} > 0],   m_{k+1} = clip(m_k + (step if e_k > 0 else −step), low, high)
    two-sided:  v_k = m_k,                    m_{k+1} = clip(m_k + step · sign(e_k), low, high)

    Gated is Skywork-OR1 (verl ``core_algos``; step 1e-4, high 0.005), whose code uses the coefficient
    for the batch after the one that was measured; the gate lags with it.  TRL's port opens the gate
    at e = 0 too.  Two-sided is MAI-Thinking-1 (step 0.25 on the upper ratio bound, high 2.5).

    One step a control instant, whatever ``dt`` is.  Ends in a limit cycle whose width grows with
    ``step``; a dead band stops the two-sided one.
    """

    kind: ClassVar[str] = "increment"

    step_size: float
    """Change of the memory at each control instant [actuator's unit]."""

    low: float
    """Lowest value of the memory [actuator's unit]."""

    high: float
    """Highest value of the memory [actuator's unit]."""

    initial: float
    """Value of the memory, and the command, at the first control instant [actuator's unit]."""

    gated: bool = False
    """Command 0 after every reading that was not below the reference, keeping the memory."""

    def __post_init__(self) -> None:
        if not 0 < self.step_size < inf:
            raise ValueError(f"step_size must be > 0 and finite, got {self.step_size}")
        if not -inf < self.low < inf:
            raise ValueError(f"low must be finite, got {self.low}")
        if not self.low <= self.high < inf:
            raise ValueError(f"high must be >= low = {self.low} and finite, got {self.high}")
        if not self.low <= self.initial <= self.high:
            raise ValueError(
                f"initial must be in [low, high] = [{self.low}, {self.high}], got {self.initial}"
            )

    def init(self) -> IncrementState:
        return IncrementState(memory=self.initial, gate=1.0)

    def step(self, state: State, sample: Sample) -> tuple[IncrementState, Terms]:
        last = IncrementState(*state)
        up = sample.e > 0
        down = not up if self.gated else sample.e < 0
        stepped = min(max(last.memory + self.step_size * (up - down), self.low), self.high)
        opened = 1.0 if up or not self.gated else 0.0
        return IncrementState(memory=stepped, gate=opened), {"memory": last.memory * last.gate}
