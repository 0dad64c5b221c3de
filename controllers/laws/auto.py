"""A predictive law that learns what its command does while it holds entropy; nothing to set."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, fsum, inf, log, sqrt
from typing import ClassVar, NamedTuple

from controllers.base import Complaint, Law, Sample, State, Terms
from controllers.identification.effect_filters import (
    LAGS,
    LATEST,
    NOTHING,
    NUMBERS,
    Given,
    filtered,
    first_beliefs,
    foreseen,
    given,
    noise,
    updated,
    weights,
)
from controllers.parts.coordinates import FLOOR_NATS

SPREAD = 1.2
"""Standard deviations by which the effect of the command is taken to be larger than its estimate."""

CAREFUL = 10.0
"""Readings over which the correction that lowers entropy grows to all of itself."""

BACKWARDS = 20.0
"""Readings in a row for which the effect, two deviations up, is below zero before it is taken so."""

OFF = log(1.1)
"""Distance from the reference, predicted at a limit, from which the limit does not hold it; and what noise may cost."""

UNABLE = 10.0
"""Readings in a row for which a limit does not hold the reference before the law says so."""

PATIENT = 100.0
"""Iterations within which a limit that moves the reading towards the reference at the pace of late has to be there."""

LATELY = 20
"""Readings at a limit whose slope is the pace of late, if it is below what the filters believe."""

FEWEST = 15
"""Readings at a limit from which their slope counts."""

AVERAGED = 10.0
"""Readings that the filter of a calm level averages: 1 / √(Q / R) of `CALM_LEVEL`."""

ENOUGH = 20.0
"""Readings before the law says that they are too noisy."""

MEMORY = 0.05
"""Least weight of a new batch in the mean variance of a reading."""


class AutoState(NamedTuple):
    """What `Auto` remembers."""

    neutral: float
    """The neutral command of the first sample, which stays [the law's unit]."""
    unit: float
    """U: the smaller side of the range of the first sample, which stays [the law's unit]."""
    num: float
    """Readings so far."""
    backwards: float
    """Readings in a row for which the command looked as if it acted backwards."""
    ahead: float
    """ln of where the reading goes under the command of late."""
    unable: float
    """Readings in a row for which the limit did not hold the reference."""
    known: float
    """Mean variance of ln y, as the batches tell it; 0 where none did."""
    told: float
    """How many of them did."""
    shares: State
    """p: how likely each view is."""
    beliefs: tuple[State, ...]
    """What each view believes, see `controllers.identification.effect_filters`."""
    commands: tuple[Given, ...] = (NOTHING,) * len(LAGS)
    """Filtered commands, see `controllers.identification.effect_filters.filtered`."""
    waiting: tuple[Given, ...] = ()
    """Commands of late, oldest first: as many as can be without an effect yet to the view with the longest wait."""
    limited: tuple[float, ...] = ()
    """ln of the readings of late since the law came to the limit where it is, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto(Law):
    """v = neutral + U Σ p (f + K (ln r − ẑ)),   K = 1 / (max(G, 0) + 1.2 σ_G)

    Nine Kalman filters each estimate, together with its own doubt, what the full command does:

        x_t = x_{t−1} + d + b f_t + ε(Q),   ln y_t = x_t + c f_t + ν(R),   f_t = λ f_{t−1} + (1 − λ) w_{t−l}

    w is the whole command really applied, in units of the range U; b is a push that accumulates (an
    update's), c an effect at once (a temperature's), d the drift.  A filter has b or c, and the other is 0.  ẑ is
    where ln y would be when all commands that still wait have acted and h iterations more have passed under the last
    f, as a Smith predictor has it; the f of v is that one.  G is the effect of the full command within h,
    b (h − λ (1 − λ^h) / (1 − λ)) or c (1 − λ^h), and σ_G its standard deviation: the law divides by an upper bound
    of the effect.  If a command does nothing the bound falls, so the gain grows until something happens.

    Six filters push: with λ = 0.3, 0.6 and 0.85, l = 0, 2 and 4, h = 3, 5 and 12 iterations, each with two views of
    how lively entropy and its drift are (Q what an unpredicted change has beyond twice R, or 0.01 R).  Three shift,
    with λ = 0.4 and h = 3: calm ones with l = 0 and 1, and a lively one with l = 0.  With a known ``dead_time`` a
    command waits that much longer; K is then h / (h + dead_time) of itself, since what the filters have wrong shows
    that much later.  p is their likelihood, forgotten by 1 % a reading.  R is the mean variance that the batches tell
    (``Sample.noise``), or, where they tell none, what the autocovariance of unpredicted changes says.  Before
    anything is known b and d are correlated by −½: what collapses fast can be pushed fast; and the drift is
    thought to be downward, as training spends entropy.  For the same reason the correction that lowers entropy grows
    to all of itself over the first 10 readings.  b and c walk by 1 % of themselves an iteration, d by 0.5 % of
    what moves x.

    No offset: v stays only where ẑ = ln r.  No windup: f is of applied commands.  A gap is predictions
    without an update.  A reading four standard deviations off is not believed until the next one is as far
    off; then the level takes it, and b does not.

    ``authority`` is said where a limit does not lead to the reference, nor would within 100 iterations at the pace of late:
    what the filters believe or, if less, the slope of the last 20 readings at the limit.  It comes late if the
    limit first moved the reading a lot: the slope has to forget that.  Under noise of 20 % it is said wrongly of half
    the integrators that need most of the 100 iterations.

    Fails where the command acts backwards (then it goes neutral), where a limit other than neutral does not hold the
    reference, where readings are too noisy, and where the dead time is far beyond 12 iterations; ``estimates`` and
    ``complaint`` tell the first three.

    Source: ours.  Dividing by a bound of an uncertain gain is cautious control (Åström and Wittenmark, Adaptive
    Control, 1995, chapter 7); several filters weighed by likelihood are Magill's (IEEE TAC 10:434, 1965).
    """

    kind: ClassVar[str] = "auto"

    def init(self) -> AutoState:
        """Without shares and beliefs, which come with the first sample."""
        return AutoState(0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, (), ())

    def step(self, state: State, sample: Sample) -> tuple[State, Terms]:
        z, target = log(max(sample.y, FLOOR_NATS)), log(max(sample.r, FLOOR_NATS))
        neutral, unit, num, backwards, _, unable, known, told, _, beliefs, commands, waiting, limited = (
            AutoState(*state)
        )
        known, told = _variance(known, told, sample)
        longest = sample.dead_time + LATEST
        if beliefs:
            new = given(sample, neutral, unit)
            queue = ((NOTHING,) * longest + waiting + new)[-(longest + len(new)) :]
            waiting = queue[len(new) :]
            before = commands
            commands, ways = filtered(before, queue[: len(queue) - sample.dead_time], len(new))
            beliefs = updated(beliefs, before, ways, sample, z, known)
        else:
            neutral, beliefs, waiting = sample.neutral, first_beliefs(z, known), (NOTHING,) * longest
            unit = full_command(sample.low, sample.high, neutral)
        num += 1.0
        shares = weights(beliefs)
        kept = correction = ahead = pace = bound = 0.0
        then = foreseen(commands, waiting, sample.dead_time)
        for weight, belief, numbers in zip(shares, beliefs, NUMBERS, strict=True):
            pushes, horizon, _, within, _, _, lag = numbers
            f, share, until, waits = then[lag]
            x, d, g = belief[:3]
            push = g * pushes
            there = x + (waits + horizon) * d + push * (until + horizon * f) + (g - push) * f
            moved, doubt = within * g, within * sqrt(max(belief[8], 0.0))
            largest = max((moved if moved > 0 else 0.0) + SPREAD * doubt, 1e-9)
            kept += weight * share
            slower = horizon / (horizon + sample.dead_time)
            correction += weight * slower * (target - there) / largest
            ahead += weight * there
            pace += weight * (d + push * f)
            bound += weight * (moved + 2 * doubt)
        if correction < 0 and num < CAREFUL:
            correction *= num / CAREFUL
        backwards = backwards + 1.0 if bound < 0 else 0.0
        terms = {"neutral": neutral, "kept": unit * kept, "correction": unit * correction}
        if backwards >= BACKWARDS:
            terms = {"neutral": sample.neutral, "kept": 0.0, "correction": 0.0}
        v = sum(terms.values())
        # A limit at the neutral command is no want of authority: that side was not wished for, or is not there.
        above, below = v > sample.high > sample.neutral, v < sample.low < sample.neutral
        side = 1.0 if above else -1.0 if below else 0.0
        short = side * (target - ahead)
        limited = (*limited, z)[-LATELY:] if side else ()
        nearing = side * pace
        if len(limited) >= FEWEST:
            # The drift of a filter stays above zero long after a level that has settled stands still.
            nearing = min(nearing, side * _slope(limited) / (sample.dt - sample.lost))
        unable = unable + 1.0 if short > max(OFF, PATIENT * nearing) else 0.0
        now = AutoState(
            neutral,
            unit,
            num,
            backwards,
            ahead,
            unable,
            known,
            told,
            tuple(shares),
            beliefs,
            commands,
            waiting,
            limited,
        )
        return now, terms

    def estimates(self, state: State) -> dict[str, float]:
        """Push, shift and drift of the full command with their standard deviations, and what the guards see.

        The full command is U, the smaller side of the limits (`full_command`), not the larger one.
        ``push`` and ``drift`` are b and d [ln nats per iteration], ``shift`` is c [ln nats], ``noise`` the
        standard deviation of an unpredicted change [ln nats].  ``more_tokens`` is how many times as many tokens an
        iteration it takes until noise alone moves the entropy held by no more than 10 %: Σ p (R / n + Q) / ln² 1.1.
        A correction averages n readings, h of them, or 10 if the level is calm and that is more; Q, the random change
        of one iteration, is there before anything can answer it.  Both go by one over the tokens, from whose
        sampling they are.
        ``ahead_nats`` is where the reading goes under the command of late [nats/token]: what the limit can
        hold, while ``unable`` is 1.  ``backwards`` is 1 while the command is kept neutral since it acts backwards.
        Nothing before the first reading.
        """
        now = AutoState(*state)
        if not now.beliefs:
            return {}
        push = shift = drift = push_2 = shift_2 = drift_2 = variance = more = 0.0
        for p, belief, numbers in zip(now.shares, now.beliefs, NUMBERS, strict=True):
            d, g = belief[1:3]
            drift += p * d
            drift_2 += p * (belief[6] + d * d)
            if numbers[0]:
                push += p * g
                push_2 += p * (belief[8] + g * g)
            else:
                shift += p * g
                shift_2 += p * (belief[8] + g * g)
            variance += p * belief[10]
            reading, level = noise(belief[10], belief[11], numbers[2], now.known)
            averaged = max(numbers[1], AVERAGED) if numbers[2] else numbers[1]
            more += p * (reading / averaged + level)
        return {
            "push": push,
            "push_std": sqrt(max(push_2 - push * push, 0.0)),
            "shift": shift,
            "shift_std": sqrt(max(shift_2 - shift * shift, 0.0)),
            "drift": drift,
            "drift_std": sqrt(max(drift_2 - drift * drift, 0.0)),
            "noise": sqrt(variance),
            "more_tokens": more / (OFF * OFF),
            "ahead_nats": exp(min(max(now.ahead, -30.0), 30.0)),
            "unable": float(now.unable >= UNABLE),
            "backwards": float(now.backwards >= BACKWARDS),
        }

    def complaint(self, state: State) -> Complaint | None:
        """``backwards``, ``authority`` after 10 readings in a row, or ``noise`` after 20 in all."""
        now = self.estimates(state)
        if not now:
            return None
        if now["backwards"]:
            return Complaint(
                kind="backwards",
                sentence=f"the command acts backwards: all of it moves ln of the reading by {now['push']:.2g} an iteration "
                f"and {now['shift']:.2g} at once; it is kept neutral, which leads to {now['ahead_nats']:.3g}",
            )
        last = AutoState(*state)
        if last.unable >= UNABLE:
            return Complaint(
                kind="authority",
                sentence="no authority: the command is at its limit, which leads to a reading of "
                f"{now['ahead_nats']:.3g}",
            )
        if now["more_tokens"] > 1 and last.num >= ENOUGH:
            return Complaint(
                kind="noise",
                sentence=f"readings are too noisy: about {max(now['more_tokens'], 1.1):.2g} times as many tokens an "
                "iteration are needed",
            )
        return None


def _variance(known: float, told: float, sample: Sample) -> tuple[float, float]:
    """Mean variance of ln y with that of a sample, and how many told it; ln y has the relative error of y.

    A reading that is not larger than its error tells nothing.
    """
    if not sample.noise or sample.noise >= sample.y:
        return known, told
    new = max(1 / (told + 1), MEMORY)
    return known + new * ((sample.noise / sample.y) ** 2 - known), told + 1


def _slope(values: tuple[float, ...]) -> float:
    """Slope of a straight line through equidistant values, by least squares."""
    num = len(values)
    middle = (num - 1) / 2
    return fsum((k - middle) * value for k, value in enumerate(values)) / (num * (num * num - 1) / 12)


def full_command(low: float, high: float, neutral: float) -> float:
    """U: the smaller finite distance from neutral to a limit, but at least a tenth of the larger; 1 where there is none.

    The larger one of a temperature, 4 of 0.2 to 5, moves entropy by orders of magnitude.
    """
    widths = (high - neutral, neutral - low)
    finite = [width for width in widths if 0 < width < inf]
    return max(min(finite), 0.1 * max(finite)) if finite else 1.0
