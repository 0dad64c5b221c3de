"""Dual ascent: the command is a Lagrange multiplier of the constraint H >= H*."""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, inf, isfinite, sqrt
from typing import ClassVar, Literal, NamedTuple

from controllers.base import Law, Sample, State, Terms

LARGEST_EXPONENT = 500.0

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's own, which the common code of SAC leaves as they are."""


class DualAscentState(NamedTuple):
    """The direction of the last control instant, and the memory of Adam."""

    direction: float
    """The error, or Adam's direction."""
    started: float
    """1 after the first control instant, 0 before it."""
    mean: float
    """m, Adam's moving average of the error [nats/token]."""
    square: float
    """s, Adam's moving average of the squared error [(nats/token)²]."""
    num: float
    """n, errors that Adam has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DualAscent(Law):
    """Integral action alone, used and then updated; the memory is the command really applied.

    linear:  v_k = u_{k−1} + rate · e_{k−1} · seen_k
    log:     v_k = u_{k−1} · exp(rate · e_{k−1} · seen_k),   that is  ln α ← ln α + rate·e

    Linear is AER (2510.10959, formula reconstructed) and SIREN's adaptive baseline, α ← max(0, α + η·e)
    by a lower limit of 0.  Log is the temperature of SAC in its common code form, whose loss is linear
    in ln α; differentiating α = exp(ln α) exactly would put a further factor α into the step.  Because
    the memory is the applied command, a limit cannot wind it up; published SAC has no limit.

    With ``optimizer`` adam, as in SAC's common code, e is replaced by Adam's direction (1412.6980, algorithm 1)

        m ← β₁ m + (1 − β₁) e,   s ← β₂ s + (1 − β₂) e²,   (m / (1 − β₁ⁿ)) / (√(s / (1 − β₂ⁿ)) + ε)

    whose size is about 1 whatever that of the error: under a constant error of 0.1 a rate of 3e-4 raises the
    command by 9 % in 300 iterations, a plain step by 1 %.

    On a plant that integrates it grows without end (z² − 2z + 1 + c·rate = 0): it needs natural
    regulation stronger than c·rate, or a proportional term, which is ``pid``.
    In log space a command of zero stays zero: give the loop a low limit above it.
    """

    kind: ClassVar[str] = "dual_ascent"

    rate: float
    """Learning rate of the multiplier [command, or ln command, per nat per iteration; of adam, per iteration]."""

    initial: float
    """The command at the first control instant [actuator's unit]."""

    space: Literal["log", "linear"] = "log"
    """``log``: steps multiply, the command stays positive; ``linear``: steps add."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    """``sgd``: steps in proportion to the error; ``adam``: of one size, by the error's recent sign."""

    def __post_init__(self) -> None:
        if self.optimizer not in ("sgd", "adam"):
            raise ValueError(f"optimizer must be 'sgd' or 'adam', got {self.optimizer!r}")
        if not 0 < self.rate < inf:
            raise ValueError(f"rate must be > 0 and finite, got {self.rate}")
        if self.space not in ("log", "linear"):
            raise ValueError(f"space must be 'log' or 'linear', got {self.space!r}")
        if not isfinite(self.initial):
            raise ValueError(f"initial must be finite, got {self.initial}")
        if self.space == "log" and self.initial <= 0:
            raise ValueError(f"initial must be > 0 in log space, got {self.initial}")

    def init(self) -> DualAscentState:
        return DualAscentState(direction=0.0, started=0.0, mean=0.0, square=0.0, num=0.0)

    def step(self, state: State, sample: Sample) -> tuple[DualAscentState, Terms]:
        last = DualAscentState(*state)
        direction, mean, square, num = sample.e, last.mean, last.square, last.num
        if self.optimizer == "adam":
            num += 1.0
            mean = BETA_1 * mean + (1 - BETA_1) * sample.e
            square = BETA_2 * square + (1 - BETA_2) * sample.e**2
            direction = (mean / (1 - BETA_1**num)) / (sqrt(square / (1 - BETA_2**num)) + EPSILON)
        after = DualAscentState(direction=direction, started=1.0, mean=mean, square=square, num=num)
        if not last.started:
            return after, {"memory": self.initial, "i": 0.0}
        i = self.rate * last.direction * sample.seen
        if self.space == "log":
            i = sample.u * expm1(min(i, LARGEST_EXPONENT))
        return after, {"memory": sample.u, "i": i}
