"""A predictive law that learns what its command does while it holds entropy; nothing to set."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import ClassVar

from controllers.base import Law, Sample, State, Terms
from controllers.identification.effect_filters import NUMBERS, effect, first_beliefs, updated, weights
from controllers.parts.coordinates import FLOOR_NATS

SPREAD = 1.5
"""Standard deviations by which the effect of the command is taken to be larger than its estimate."""

NOISE_SHARE = 1.0
"""Share of the range that the law may spend on one standard deviation of an unpredicted change."""

BACKWARDS = 20.0
"""Readings in a row for which the effect, two deviations up, is below zero before it is taken so."""

OFF = log(1.1)
"""Distance from the reference, predicted at a limit, from which the limit does not hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto(Law):
    """v = neutral + U Σ p (f + K (ln r − ẑ)),   K = min(1 / (max(G, 0) + 1.5 σ_G), 1 / √c0)

    Four Kalman filters each estimate, together with its own doubt, what the full command does:

        x_t = x_{t−1} + d + b f_t + ε(Q),   ln y_t = x_t + c f_t + ν(R),   f_t = λ f_{t−1} + (1 − λ) w_t

    w is the whole command really applied, as a share of the range U; b is a push that accumulates (an
    update's), c an effect at once (a temperature's), d the drift.  ẑ = x + h (d + b f) + c f is where ln y
    would be in h iterations under the command of late.  G = max(0, g_b b + g_c c) is the effect of the full
    command within h and σ_G its standard deviation: the law divides by an upper bound of the effect.  If a
    command does nothing the bound falls, so the gain grows until something happens.  The second bound on K
    spends no more than the range on noise of one standard deviation.

    The filters differ in λ and h (0.5 and 4, or 0.8 and 12.5 iterations) and in how much of an unpredicted
    change they take for noise of the reading (at least 5 %, or 49 %); p is their likelihood, forgotten by 2 % a
    reading.  c0 and c1 are variance and autocovariance of unpredicted changes; R = clip(−c1, share c0, c0 / 2),
    Q = c0 − 2R.  Before anything is known b and d are correlated by −½: what collapses fast can be pushed fast.
    b and c walk by 1 % of themselves an iteration, d by 0.5 % of what moves x.

    No offset: v stays only where ẑ = ln r.  No windup: f is of applied commands.  A gap is predictions
    without an update.  A reading four standard deviations off is not believed until the next one is as far
    off; then the level takes it, and b does not.

    Fails where the command acts backwards (then it goes neutral), where the limit does not hold the
    reference, and where the dead time is far beyond 12 iterations; ``estimates`` and ``complaint`` tell the first two.

    Source: ours.  Dividing by a bound of an uncertain gain is cautious control (Åström and Wittenmark, Adaptive
    Control, 1995, chapter 7); several filters weighed by likelihood are Magill's (IEEE TAC 10:434, 1965).
    """

    kind: ClassVar[str] = "auto"

    def init(self) -> State:
        """Nothing before the first sample; then its neutral command and range, which stay, how many readings in a
        row looked backwards, ln of where the reading goes, whether it is unable, and the beliefs."""
        return ()

    def step(self, state: State, sample: Sample) -> tuple[State, Terms]:
        z, target = log(max(sample.y, FLOOR_NATS)), log(max(sample.r, FLOOR_NATS))
        if state:
            neutral, unit, backwards, _, _, beliefs = state
            beliefs = updated(beliefs, sample, neutral, unit, z)
        else:
            neutral, unit, backwards, beliefs = sample.neutral, _range(sample), 0.0, first_beliefs(z)
        kept = correction = ahead = bound = 0.0
        for weight, belief, numbers in zip(weights(beliefs), beliefs, NUMBERS, strict=True):
            moved, doubt = effect(belief, numbers)
            there = belief[0] + numbers[1] * (belief[1] + belief[2] * belief[14]) + belief[3] * belief[14]
            gain = 1.0 / max(max(moved, 0.0) + SPREAD * doubt, 1e-9)
            gain = min(gain, NOISE_SHARE / sqrt(belief[17]))
            kept += weight * belief[15]
            correction += weight * gain * (target - there)
            ahead += weight * there
            bound += weight * (moved + 2 * doubt)
        backwards = backwards + 1.0 if bound < 0 else 0.0
        terms = {"neutral": neutral, "kept": unit * kept, "correction": unit * correction}
        if backwards >= BACKWARDS:
            terms = {"neutral": sample.neutral, "kept": 0.0, "correction": 0.0}
        v = sum(terms.values())
        unable = (v > sample.high and target - ahead > OFF) or (v < sample.low and ahead - target > OFF)
        return (neutral, unit, backwards, ahead, float(unable), beliefs), terms

    def estimates(self, state: State) -> dict[str, float]:
        """Push, shift and drift of the full command with their standard deviations, and what the guards see.

        ``push`` and ``drift`` are b and d [ln nats per iteration], ``shift`` is c [ln nats], ``noise`` the
        standard deviation of an unpredicted change [ln nats].  ``ahead_nats`` is where the reading goes under the
        command of late [nats/token]: what the limit can hold, while ``unable`` is 1.  ``backwards`` is 1 while
        the command is kept neutral since it acts backwards.  Nothing before the first reading.
        """
        if not state:
            return {}
        _, _, backwards, ahead, unable, beliefs = state
        shares = weights(beliefs)
        found = {}
        for name, at, variance_at in (("push", 2, 11), ("shift", 3, 13), ("drift", 1, 8)):
            mean = square = 0.0
            for weight, belief in zip(shares, beliefs, strict=True):
                mean += weight * belief[at]
                square += weight * (belief[variance_at] + belief[at] * belief[at])
            found[name], found[f"{name}_std"] = mean, sqrt(max(square - mean * mean, 0.0))
        variance = sum(weight * belief[17] for weight, belief in zip(shares, beliefs, strict=True))
        return {
            **found,
            "noise": sqrt(variance),
            "ahead_nats": exp(min(max(ahead, -30.0), 30.0)),
            "unable": unable,
            "backwards": float(backwards >= BACKWARDS),
        }

    def complaint(self, state: State) -> str | None:
        """What keeps the law from holding its reference, in a sentence; None while nothing does."""
        now = self.estimates(state)
        if now.get("backwards"):
            return (
                f"the command acts backwards: all of it moves ln entropy by {now['push']:.2g} an iteration and "
                f"{now['shift']:.2g} at once; it is kept neutral, which leads to {now['ahead_nats']:.3g} nats"
            )
        if now.get("unable"):
            return f"no authority: the command is at its limit, which leads to {now['ahead_nats']:.3g} nats"
        return None


def _range(sample: Sample) -> float:
    """U: the larger finite distance from neutral to a limit; 1 where there is none."""
    widths = (sample.high - sample.neutral, sample.neutral - sample.low)
    return max((width for width in widths if 0 < width < inf), default=1.0)
