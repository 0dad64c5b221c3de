"""Proportional, integral and derivative action, with anti-windup and a bumpless start."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar, NamedTuple

from controllers.base import Law, Sample, State, Terms
from controllers.parts.coordinates import COORDINATES, Coordinates, error_in


class PIDState(NamedTuple):
    """What a PID keeps from one control instant to the next."""

    integral: float
    """I, the integral action [actuator's unit]."""
    e: float
    """Error of the last control instant [unit of the coordinates]."""
    y: float
    """Measurement of the last control instant [nats/token]."""
    v: float
    """Command of the last control instant, before limits and slew [actuator's unit]."""
    started: float
    """1 after the first control instant, 0 before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PID(Law):
    """v_k = bias + kp·e_k + I_k − kd·(y_k − y_{k−1}) / dt_k

    I_0 = 0,   I_k = I_{k−1} + ki·e_{k−1}·seen_k + anti_windup·(u_{k−1} − v_{k−1})

    seen_k is dt_k without the iterations that the loop held: one reading says nothing about a gap.

    EntroPIC (2511.15248) is kp = 1, ki = 0.01, anti_windup = 0, limits [−1, 1]; as in its code the
    integral is advanced after use, so I_k holds the errors up to k − 1.  Its error has the opposite
    sign, and so has its command.  2606.00096 is kp alone with a lower limit of 0.

    The derivative acts on the measurement, so a step of the reference gives no kick; in relative and
    log coordinates it is the rate of the error at a constant reference.

    Back-calculation (the ``anti_windup`` term) takes out of the integral what the limits or the slew cut
    off the command.  EntroPIC has none and its integral winds up during the usual start far above the
    target.  Conditional integration, the other common remedy, needs the limits inside the law.

    On a plant that integrates with gain c and drift d: kp alone leaves the offset d / (c·kp); with ki
    the loop is stable iff 0 < c·ki < c·kp and 2·c·kp − c·ki < 4; ki alone never settles.
    """

    kind: ClassVar[str] = "pid"

    kp: float
    """Proportional gain [command per unit of error]: how hard to push now.  Too large rings."""

    ki: float
    """Integral gain [command per unit of error per iteration]: removes the offset that drift causes."""

    kd: float = 0.0
    """Derivative gain [command per unit of error, times iterations]: damps, and amplifies noise."""

    bias: float = 0.0
    """Command at zero error, before the integral has learnt it [actuator's unit]."""

    anti_windup: float = 1.0
    """Share of the excess v − u taken out of the integral at each step, 0 to 1; 0 is no anti-windup.
    1 overshoots least, but leaves the limit early where kp·e alone exceeds it, up to twice as slow;
    ki / kp, the textbook's choice, stays longer at the limit."""

    bumpless: bool = False
    """Start the integral so that the first command is the one already in force.  Needs ki > 0."""

    error: Coordinates = "absolute"
    """``absolute``: e; ``relative``: e / r; ``log``: ln(r / y).  Gains are per unit of this."""

    def __post_init__(self) -> None:
        if not 0 <= self.kp < inf:
            raise ValueError(f"kp must be >= 0 and finite, got {self.kp}")
        if not 0 <= self.ki < inf:
            raise ValueError(f"ki must be >= 0 and finite, got {self.ki}")
        if not 0 <= self.kd < inf:
            raise ValueError(f"kd must be >= 0 and finite, got {self.kd}")
        if not isfinite(self.bias):
            raise ValueError(f"bias must be finite, got {self.bias}")
        if not 0 <= self.anti_windup <= 1:
            raise ValueError(f"anti_windup must be in [0, 1], got {self.anti_windup}")
        if self.bumpless and self.ki == 0:
            raise ValueError(
                "bumpless must be false when ki is 0 (nothing would take the start out), got true"
            )
        if self.error not in COORDINATES:
            raise ValueError(f"error must be one of {', '.join(COORDINATES)}, got {self.error!r}")

    def init(self) -> PIDState:
        return PIDState(integral=0.0, e=0.0, y=0.0, v=0.0, started=0.0)

    def step(self, state: State, sample: Sample) -> tuple[PIDState, Terms]:
        last = PIDState(*state)
        integral = last.integral
        e = error_in(self.error, r=sample.r, y=sample.y)
        p, d = self.kp * e, 0.0
        if last.started:
            before = error_in(self.error, r=sample.r, y=last.y)
            d = self.kd * (e - before) / sample.dt
            if self.ki > 0:
                integral += self.ki * last.e * sample.seen + self.anti_windup * (sample.u - last.v)
        elif self.bumpless:
            integral = sample.u - self.bias - p
        terms = {"bias": self.bias, "p": p, "i": integral, "d": d}
        return PIDState(integral=integral, e=e, y=sample.y, v=sum(terms.values()), started=1.0), terms
