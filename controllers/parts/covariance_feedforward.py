"""Feedforward: counters a disturbance before entropy shows it, and leaves the rest to the law.

Feedback waits for an error.  If a reading predicts the effect of the coming update, the command
can cancel it in the same update.  An error of the prediction is a smaller disturbance for the law.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar, NamedTuple

from controllers.base import Feedforward, State
from controllers.parts.filters import EMA, EMAState


class CovarianceState(NamedTuple):
    """The moving averages of the two readings."""

    change: EMAState
    """Average of the predicted change."""
    effect: EMAState
    """Average of the effect of a command of 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CovarianceFeedforward(Feedforward):
    """w = −share · mean(predicted change) / mean(effect of a command of 1),   clipped to ±limit

    Predicted change is ΔH ≈ −Cov(S, A) for a step of unknown size η (2505.22617, 2602.03392); the effect
    of the entropy bonus, E[S (ln π + H)], is for the same η, which cancels: there is no gain to fit.  Both
    means are moving averages, so slow drift is answered and the noise of one batch is not.

    First order, state by state: parameters that states share, clipping and second order are left to the
    law.  ``entropy/bonus_effect`` is the push of the actuator ``bonus`` with uniform allocation; for
    another actuator give ``effect_per_unit`` instead.  If the effect is 0, as at a policy without
    entropy, the share is 0.
    """

    kind: ClassVar[str] = "covariance"

    limit: float
    """Largest size of the share [actuator's unit]; what bounds it where the effect is all but gone."""

    share: float = 1.0
    """Part of the predicted change that is cancelled, above 0; below 1 where predictions run high."""

    decay: float = 0.9
    """Weight kept from one reading to the next in both averages, in [0, 1); 0 takes each as it comes."""

    change: str = "entropy/predicted_change"
    """Reading that predicts what the coming update does to entropy [nats per unit step]."""

    effect: str | None = "entropy/bonus_effect"
    """Reading of what a command of 1 adds to that [nats per unit step and unit of command]; null where
    ``effect_per_unit`` is given."""

    effect_per_unit: float | None = None
    """The same as a number, for an actuator without such a reading: its identified push b divided by the
    slope of the measured on the predicted changes."""

    def __post_init__(self) -> None:
        if not 0 < self.limit < inf:
            raise ValueError(f"limit must be > 0 and finite, got {self.limit}")
        if not 0 < self.share < inf:
            raise ValueError(f"share must be > 0 and finite, got {self.share}")
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {self.decay}")
        if not self.change:
            raise ValueError("change must be a reading's name, got ''")
        if (self.effect is None) == (self.effect_per_unit is None):
            raise ValueError(
                "effect or effect_per_unit must be given, and not both (set effect to null for a number), "
                f"got {self.effect!r} and {self.effect_per_unit}"
            )
        if self.effect == "":
            raise ValueError("effect must be a reading's name, got ''")
        if self.effect_per_unit is not None and not 0 < abs(self.effect_per_unit) < inf:
            raise ValueError(f"effect_per_unit must be finite and not 0, got {self.effect_per_unit}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.change,) if self.effect is None else (self.change, self.effect)

    def init(self) -> CovarianceState:
        average = EMA(decay=self.decay).init()
        return CovarianceState(change=average, effect=average)

    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, float]:
        last, average = CovarianceState(*state), EMA(decay=self.decay)
        change_state, change = average.step(last.change, float(telemetry[self.change]))
        effect_state, effect = average.step(last.effect, self._effect(telemetry))
        wanted = -self.share * change
        # before the division, which may overflow
        within = abs(wanted) < self.limit * abs(effect)
        limited = self.limit * ((wanted * effect > 0) - (wanted * effect < 0))
        after = CovarianceState(change=change_state, effect=effect_state)
        return after, wanted / effect if within else limited

    def _effect(self, telemetry: Mapping[str, float]) -> float:
        if self.effect is None:
            return float(self.effect_per_unit or 0.0)
        return float(telemetry[self.effect])
