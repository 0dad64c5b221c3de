"""Dual ascent: the command is a Lagrange multiplier of the constraint H >= H*."""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, inf, isfinite
from typing import ClassVar, Literal

from controllers.base import Law, Sample, State, Terms

LARGEST_EXPONENT = 500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DualAscent(Law):
    """Integral action alone, used and then updated; the memory is the command really applied.

    linear:  v_k = u_{k−1} + rate · e_{k−1} · seen_k
    log:     v_k = u_{k−1} · exp(rate · e_{k−1} · seen_k),   that is  ln α ← ln α + rate·e

    Linear is AER (2510.10959, formula reconstructed) and SIREN's adaptive baseline, α ← max(0, α + η·e)
    by a lower limit of 0.  Log is the temperature of SAC in its common code form, whose loss is linear
    in ln α; differentiating α = exp(ln α) exactly would put a further factor α into the step.  Because
    the memory is the applied command, a limit cannot wind it up; published SAC has no limit.

    On a plant that integrates it grows without end (z² − 2z + 1 + c·rate = 0): it needs natural
    regulation stronger than c·rate, or a proportional term, which is ``pid``.
    In log space a command of zero stays zero: give the loop a low limit above it.
    """

    kind: ClassVar[str] = "dual_ascent"

    rate: float
    """Learning rate of the multiplier [command, or ln command, per nat per iteration]."""

    initial: float
    """The command at the first control instant [actuator's unit]."""

    space: Literal["log", "linear"] = "log"
    """``log``: steps multiply, the command stays positive; ``linear``: steps add."""

    def __post_init__(self) -> None:
        if not 0 < self.rate < inf:
            raise ValueError(f"rate must be > 0 and finite, got {self.rate}")
        if self.space not in ("log", "linear"):
            raise ValueError(f"space must be 'log' or 'linear', got {self.space!r}")
        if not isfinite(self.initial):
            raise ValueError(f"initial must be finite, got {self.initial}")
        if self.space == "log" and self.initial <= 0:
            raise ValueError(f"initial must be > 0 in log space, got {self.initial}")

    def init(self) -> State:
        return (0.0, 0.0)

    def step(self, state: State, sample: Sample) -> tuple[State, Terms]:
        last_e, started = state
        if not started:
            return (sample.e, 1.0), {"memory": self.initial, "i": 0.0}
        i = self.rate * last_e * sample.seen
        if self.space == "log":
            i = sample.u * expm1(min(i, LARGEST_EXPONENT))
        return (sample.e, 1.0), {"memory": sample.u, "i": i}
