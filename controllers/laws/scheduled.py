"""Gain scheduling: a PID whose gains follow the learning rate and the current entropy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log
from typing import ClassVar, NamedTuple

from controllers.base import Law, Sample, State, Terms
from controllers.laws.pid import PID, PIDState
from controllers.parts.coordinates import FLOOR_NATS

LEARNING_RATE = "learning_rate"

LEAST_LEARNING_RATE = 1e-30
"""A rate below this counts as this: the factor is then at its limit."""


class ScheduledPIDState(NamedTuple):
    """The state of the PID whose gains are scheduled, and the last factor on them."""

    pid: PIDState
    factor: float
    """Factor at the last control instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledPID(Law):
    """kp, ki, kd of a PID, times   clip((reference rate / learning rate)^α · (y / level)^β, low, high)

    An update moves entropy by its step size times something, so the push of a command grows with the
    learning rate η, and the loop's gain with it: α = 1 undoes that.  The command that holds entropy
    against the RL gradient is the same at every η, as drift and push grow alike, so the integral and the
    bias, which are commands, are left as they are: a change of η gives no bump at zero error.

    The push grows with entropy too.  β = −1 with error ``absolute`` undoes that, and is close to error
    ``log``, which has it built in and wants β = 0.  y is noisy, and so are gains that follow it: filter
    the sensor, or prefer ``log``.

    While a limit cuts the command, the integral goes by the reference gains, in what it gathers and in what
    anti-windup takes out of it: in the warm-up of a learning rate gains are large and the limits cut most
    of p, and an integral scaled with them would be far off when the gains have come down.

    What the schedule knows it knows beforehand; ``auto`` finds out.
    """

    kind: ClassVar[str] = "scheduled_pid"

    pid: PID
    """The law at the reference rate and the level."""

    learning_rate_reference: float
    """Learning rate that the gains were found at [per optimiser step]."""

    learning_rate_exponent: float = 1.0
    """α: 1 for gains inversely proportional to the rate, 0 for gains that do not look at it."""

    level_nats: float = 1.0
    """Entropy that the gains were found at [nats/token]."""

    level_exponent: float = 0.0
    """β: −1 for gains inversely proportional to entropy, 0 for gains that do not look at it."""

    factor_low: float = 1e-3
    """Least factor on the gains, above 0 and at most 1."""

    factor_high: float = 1e3
    """Largest factor on the gains, 1 at least.  A rate of 1e-6 under gains found at 3e-4 takes 300."""

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate_reference < inf:
            raise ValueError(
                f"learning_rate_reference must be > 0 and finite, got {self.learning_rate_reference}"
            )
        if not isfinite(self.learning_rate_exponent):
            raise ValueError(f"learning_rate_exponent must be finite, got {self.learning_rate_exponent}")
        if not 0 < self.level_nats < inf:
            raise ValueError(f"level_nats must be > 0 and finite, got {self.level_nats}")
        if not isfinite(self.level_exponent):
            raise ValueError(f"level_exponent must be finite, got {self.level_exponent}")
        if not 0 < self.factor_low <= 1:
            raise ValueError(f"factor_low must be in (0, 1], got {self.factor_low}")
        if not 1 <= self.factor_high < inf:
            raise ValueError(f"factor_high must be >= 1 and finite, got {self.factor_high}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (LEARNING_RATE,) if self.learning_rate_exponent else ()

    def init(self) -> ScheduledPIDState:
        return ScheduledPIDState(pid=self.pid.init(), factor=1.0)

    def step(self, state: State, sample: Sample) -> tuple[ScheduledPIDState, Terms]:
        own, last_factor = ScheduledPIDState(*state)
        last, factor, pid = PIDState(*own), self.factor(sample), self.pid
        cut = last_factor > 1.0 and (last.v - sample.u) * last.e > 0
        scaled = replace(
            pid,
            kp=pid.kp * factor,
            ki=pid.ki if cut else pid.ki * factor,
            kd=pid.kd * factor,
            anti_windup=pid.anti_windup / max(1.0, last_factor),
        )
        own, terms = scaled.step(last, sample)
        return ScheduledPIDState(pid=own, factor=factor), terms

    def factor(self, sample: Sample) -> float:
        """What the gains are multiplied with at this sample."""
        log_factor = self.level_exponent * log(max(sample.y, FLOOR_NATS) / self.level_nats)
        if self.learning_rate_exponent:
            rate = max(float(sample.telemetry[LEARNING_RATE]), LEAST_LEARNING_RATE)
            log_factor -= self.learning_rate_exponent * log(rate / self.learning_rate_reference)
        return exp(min(max(log_factor, log(self.factor_low)), log(self.factor_high)))
