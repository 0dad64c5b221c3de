"""Reduces a plant of any order to first order with a delay, the form that tuning rules need."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

import numpy as np

from controllers.design.errors import DesignError
from controllers.plants.plant import Plant


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstOrder:
    """z_t = pole·z_{t−1} + gain·u_{t−delay} + drift, where the delay may be a fraction."""

    gain: float
    """Push of one unit of command in one iteration [unit of z per actuator's unit]."""

    pole: float
    """Share of z that is left after one iteration, 0 to 1; 1 integrates."""

    delay: float
    """Iterations from a command to its effect, with what the faster poles and the zeros add to it."""

    drift: float
    """What moves z by itself in one iteration [unit of z]."""

    @property
    def time_constant(self) -> float:
        """Iterations in which 63 % of a step's effect shows; inf when it integrates."""
        if self.pole <= 0:
            return 0.0
        return -1.0 / log(self.pole) if self.pole < 1 else inf

    @property
    def slope(self) -> float:
        """Slope with which the same process in continuous time starts to answer a unit step."""
        rest = 1.0 - self.pole
        return self.gain * (1.0 if rest == 0 else -log(self.pole) / rest) if self.pole > 0 else inf

    @property
    def dead_time(self) -> float:
        """Dead time of that process [iterations]: delay + pole / (1 − pole) − time constant.

        Its steps have the same mean residence time.  The dead time is delay − 0.5 for a plant that integrates (a
        command held for an iteration acts half an iteration late on average), and delay at pole 0.
        """
        rest = 1.0 - self.pole
        if rest < 1e-6:
            return self.delay - 0.5
        return self.delay + self.pole / rest - self.time_constant


def reduce(plant: Plant) -> FirstOrder:
    """The plant with its slowest pole kept; the others, and the zeros, become gain and delay.

    With B/A = G / (1 − pole·q): gain = G(1) and delay = G'(1) / G(1), the mean residence time of what is
    left out, so that both agree at low frequency.  Skogestad's half rule (2003) gives half of the next
    lag to the time constant; the whole as delay is the more cautious.

    A pole above 1 counts as 1.  Raises DesignError where no single pole dominates.
    """
    poles = plant.poles
    positive = [float(pole.real) for pole in poles if abs(pole.imag) < 1e-9 and pole.real > 0]
    pole = max(positive, default=0.0)
    rest = [complex(other) for other in poles]
    if positive:
        rest.remove(min(rest, key=lambda other: abs(other - pole)))
    slowest = max(rest, key=abs, default=0j)
    if (abs(slowest) > pole and slowest.real > 0) or any(abs(1 - other) < 1e-3 for other in rest):
        named = ", ".join(f"{other:.3g}" for other in poles)
        raise DesignError(
            f"no single pole of the plant dominates (they are {named}), which a rule for first-order "
            "plants needs: use a sensitivity peak, a settling time or minimum variance instead"
        )
    push = np.array(plant.b)
    # G = q^delay·B / Π(1 − p_i q): d ln G / dq at q = 1 is the sum of what each factor adds
    residence = plant.delay + float(np.arange(push.size) @ push / push.sum())
    residence += sum((other / (1 - other)).real for other in rest)
    others = float(np.prod([1 - other for other in rest]).real) if rest else 1.0
    return FirstOrder(
        gain=float(push.sum()) / others,
        pole=min(pole, 1.0),
        delay=residence,
        drift=plant.drift / others,
    )
