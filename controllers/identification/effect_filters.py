"""Kalman filters of what a command does to ln entropy: they learn its effect while it is used.

    x_t = x_{t−1} + d + b f_t + ε(Q),   ln y_t = x_t + c f_t + ν(R),   f_t = λ f_{t−1} + (1 − λ) w_t

Each filter has its own view of the plant, and their likelihoods weigh them (Magill, IEEE TAC 10:434, 1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from controllers.base import Sample, State

SHIFT_STD = 0.5
"""Standard deviation of c before anything is known [ln nats]."""

MOST_CC = SHIFT_STD**2
"""Its variance."""

START_VARIANCE, START_CHANGES = 0.04, 8.0
"""Variance of an unpredicted change before any was seen, and how many changes that counts as."""

JUMP = 16.0
"""Square of an innovation, in variances, from which the level has jumped."""

FORGETTING = 0.98
"""Weight that a filter's likelihood keeps from reading to reading."""

LONGEST_GAP = 100
"""Iterations of a gap that are predicted; after these nothing is known of the level anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one filter takes for granted: how slow the command's effect is, and how noisy the readings."""

    kept: float
    """λ: weight kept from iteration to iteration in the filtered command."""
    ahead: float
    """h: iterations that the law looks ahead."""
    least_reading: float
    """R is at least this share of the variance of an unpredicted change."""
    drift_std: float
    """Standard deviation of d before anything is known [ln nats per iteration]."""

    @property
    def push_std(self) -> float:
        """Standard deviation of b before anything is known [ln nats per iteration]."""
        return 0.6 * (1 - self.kept)

    @property
    def from_shift(self) -> float:
        """g_c = 1 − λ^h: share of a lasting command's direct effect that is there after h iterations."""
        return float(1 - self.kept**self.ahead)

    @property
    def from_push(self) -> float:
        """g_b = h − λ (1 − λ^h) / (1 − λ): iterations of full push within h."""
        return self.ahead - self.kept * self.from_shift / (1 - self.kept)


VIEWS = tuple(
    View(kept=kept, ahead=ahead, least_reading=reading, drift_std=drift)
    for kept, ahead in ((0.5, 4.0), (0.8, 12.5))
    for reading, drift in ((0.05, 0.08), (0.49, 0.02))
)
"""Fast and slow effects, each with lively and with calm entropy."""
NUMBERS = tuple(
    (v.kept, v.ahead, v.least_reading, v.from_push, v.from_shift, v.drift_std**2, v.push_std**2)
    for v in VIEWS
)
"""The numbers of each view as a step takes them: λ, h, least share of R, g_b, g_c, prior variances of d and b."""


# A belief is a tuple of 23 floats, since a name for each would double the time of a step:
#
#    0 x    ln of the entropy without the direct effect of the command
#    1 d    drift of x [ln nats per iteration]
#    2 b    push of the full command on x [ln nats per iteration]
#    3 c    direct effect of the full command [ln nats]
#    4-13   their covariance, upper triangle: xx xd xb xc dd db dc bb bc cc
#   14 f    filtered command, whole, as a share of U
#   15      the law's part of it
#   16      ln of the last reading that was believed
#   17 c0   variance of a change that was not predicted
#   18 c1   its covariance with the one before
#   19      the last such change
#   20      changes seen, from 8
#   21      1 after a reading that jumped and that the next has yet to confirm
#   22      ln likelihood of the readings, old ones forgotten


def first_beliefs(z: float) -> tuple[State, ...]:
    """The beliefs of all views at the first reading, ``z`` being ln of it."""
    return tuple(
        (
            *(z, 0.0, 0.0, 0.0),
            *(_noise(START_VARIANCE, -START_VARIANCE / 2, view.least_reading)[0], 0.0, 0.0, 0.0),
            *(view.drift_std**2, -0.5 * view.drift_std * view.push_std, 0.0),
            *(view.push_std**2, 0.0, SHIFT_STD**2),
            *(0.0, 0.0, z, START_VARIANCE, -START_VARIANCE / 2, 0.0, START_CHANGES, 0.0, 0.0),
        )
        for view in VIEWS
    )


def _noise(variance: float, covariance: float, least: float) -> tuple[float, float]:
    """R of the reading and Q of the level."""
    reading = min(max(-covariance, least * variance), 0.5 * variance)
    return reading, max(variance - 2 * reading, 1e-3 * variance)


def weights(beliefs: Sequence[State]) -> list[float]:
    """How likely each view is; they add up to 1."""
    best = max(belief[22] for belief in beliefs)
    shares = [exp(belief[22] - best) for belief in beliefs]
    total = sum(shares)
    return [share / total for share in shares]


def effect(belief: State, numbers: tuple[float, ...]) -> tuple[float, float]:
    """Effect of the full command on ln y within h iterations, and its standard deviation."""
    by_push, by_shift = numbers[3], numbers[4]
    variance = by_push * by_push * belief[11] + 2 * by_push * by_shift * belief[12]
    return by_push * belief[2] + by_shift * belief[3], sqrt(
        max(variance + by_shift * by_shift * belief[13], 0.0)
    )


def updated(
    beliefs: tuple[State, ...], sample: Sample, neutral: float, unit: float, z: float
) -> tuple[State, ...]:
    """The beliefs carried over the sample's ``dt`` iterations, then corrected by its reading, ln of it ``z``.

    ``neutral`` and ``unit`` are the command that counts as 0 and the range that counts as 1.
    """
    whole = ((sample.u if sample.applied is None else sample.applied) - neutral) / unit
    # a hold keeps the mean of the whole command, from which no share can be told
    own = whole if sample.lost else (sample.u - neutral) / unit
    steps = min(max(round(sample.dt), 1), LONGEST_GAP)
    seen = max(sample.seen, 1.0)
    return tuple(
        _one(belief, numbers, whole, own, steps, seen, sample.lost, z)
        for belief, numbers in zip(beliefs, NUMBERS, strict=True)
    )


def _one(
    belief: State,
    numbers: tuple[float, ...],
    whole: float,
    own: float,
    steps: int,
    seen: float,
    lost: float,
    z: float,
) -> State:
    """One filter carried over ``steps`` iterations under a command, then corrected by the reading ``z``."""
    x, d, b, c, xx, xd, xb, xc, dd, db, dc, bb, bc, cc, f, share, before, c0, c1, last, num, suspect, fit = (
        belief
    )
    kept, _, least, _, _, most_dd, most_bb = numbers
    reading, level = _noise(c0, c1, least)
    level /= seen
    taken = 1 - kept
    expected = before - c * f
    for _ in range(steps):
        f = kept * f + taken * whole
        share = kept * share + taken * own
        push = b * f
        x += d + push
        expected += d + push
        xx += 2 * (xd + f * (xb + db)) + dd + f * f * bb + level
        xd += dd + f * db
        xb += db + f * bb
        xc += dc + f * bc
        # what was learnt walks, and is never forgotten beyond the start
        if dd < most_dd:
            dd = min(dd + 2.5e-5 * max(d * d, push * push), most_dd)
        if bb < most_bb:
            bb = min(bb + 1e-4 * b * b, most_bb)
        if cc < MOST_CC:
            cc = min(cc + 1e-4 * c * c, MOST_CC)
    there = x + c * f
    innovation, surprise = z - there, z - expected - c * f
    px, pd, pb, pc = xx + f * xc, xd + f * dc, xb + f * bc, xc + f * cc
    spread = px + f * pc + reading
    square = innovation * innovation
    fit = FORGETTING * fit - 0.5 * (log(spread) + min(square / spread, JUMP))
    if square > JUMP * spread:
        if not suspect:
            state = x, d, b, c, xx, xd, xb, xc, dd, db, dc, bb, bc, cc, f, share
            return (*state, there, c0, c1, 0.0, num, 1.0, fit)
        xx += square
        px += square
        spread += square
    if not lost and surprise * surprise <= JUMP * c0:
        new = max(1 / (num + 1), 0.02)
        c0 = max((1 - new) * c0 + new * surprise * surprise, 1e-8)
        c1 = (1 - new) * c1 + new * surprise * last
        num += 1.0
    else:
        surprise = 0.0
    kx, kd, kb, kc = px / spread, pd / spread, pb / spread, pc / spread
    x, d, b, c = x + kx * innovation, d + kd * innovation, b + kb * innovation, c + kc * innovation
    xx, xd, xb, xc = xx - kx * px, xd - kx * pd, xb - kx * pb, xc - kx * pc
    dd, db, dc, bb, bc, cc = (
        dd - kd * pd,
        db - kd * pb,
        dc - kd * pc,
        bb - kb * pb,
        bc - kb * pc,
        cc - kc * pc,
    )
    return (x, d, b, c, xx, xd, xb, xc, dd, db, dc, bb, bc, cc, f, share, z, c0, c1, surprise, num, 0.0, fit)
