"""Kalman filters of what a command does to ln entropy: they learn its effect while it is used.

    x_t = x_{t−1} + d + b f_t + ε(Q),   ln y_t = x_t + c f_t + ν(R),   f_t = λ f_{t−1} + (1 − λ) w_t

Each filter has its own view of the plant, and their likelihoods weigh them (Magill, IEEE TAC 10:434, 1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from controllers.base import Sample, State

START_VARIANCE, START_CHANGES = 0.04, 8.0
"""Variance of an unpredicted change before any was seen, and how many changes that counts as."""

JUMP = 16.0
"""Square of an innovation, in variances, from which the level has jumped."""

FORGETTING = 0.99
"""Weight that a filter's likelihood keeps from reading to reading."""

LONGEST_GAP = 100
"""Iterations of a gap that are predicted; after these nothing is known of the level anyway."""

LIVELY, CALM = 0.05, 0.4
"""Least share that R has of the variance of an unpredicted change, if entropy wanders and if it hardly does."""

CALM_LEVEL = 0.01
"""Q of a calm level, as a share of R."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one filter takes for granted: how the command acts, how lively entropy is, what drifts."""

    kept: float
    """λ: weight kept from iteration to iteration in the filtered command."""
    ahead: float
    """h: iterations that the law looks ahead."""
    calm: bool
    """The level hardly wanders, so that nearly all of an unpredicted change is noise of the reading."""
    drift: float
    """Mean of d before anything is known [ln nats per iteration]: training spends entropy."""
    drift_std: float
    """Its standard deviation."""
    push_std: float
    """Standard deviation of b before anything is known [ln nats per iteration]; 0: the command pushes nothing."""
    shift_std: float
    """Standard deviation of c before anything is known [ln nats]."""

    @property
    def from_shift(self) -> float:
        """g_c = 1 − λ^h: share of a lasting command's direct effect that is there after h iterations."""
        return float(1 - self.kept**self.ahead)

    @property
    def from_push(self) -> float:
        """g_b = h − λ (1 − λ^h) / (1 − λ): iterations of full push within h."""
        return self.ahead - self.kept * self.from_shift / (1 - self.kept)


def _pushing(kept: float, ahead: float, *, calm: bool, drift: float) -> View:
    return View(
        kept=kept,
        ahead=ahead,
        calm=calm,
        drift=-drift / 2,
        drift_std=drift,
        push_std=0.6 * (1 - kept),
        shift_std=0.5,
    )


VIEWS = (
    _pushing(0.5, 5.0, calm=False, drift=0.08),
    _pushing(0.5, 5.0, calm=True, drift=0.02),
    _pushing(0.8, 12.5, calm=False, drift=0.08),
    _pushing(0.8, 12.5, calm=True, drift=0.02),
    View(kept=0.4, ahead=3.0, calm=True, drift=0.0, drift_std=0.01, push_std=0.0, shift_std=2.0),
)
"""Fast and slow effects, each with lively and with calm entropy; and a command that acts at once and pushes nothing.

A temperature moves ln entropy by several units, so little is taken for granted of the last one's effect.
"""
NUMBERS = tuple(
    (v.kept, v.ahead, v.calm, v.from_push, v.from_shift, v.drift_std**2, v.push_std**2, v.shift_std**2)
    for v in VIEWS
)
"""For each view λ, h, whether it is calm, g_b, g_c, prior variances of d, b and c, as a step takes them."""


Given = tuple[float, float]
"""A command of one iteration in units of the range, counted from neutral: all of it, and the law's share."""

NOTHING: Given = (0.0, 0.0)
"""The neutral command, which is in force before the first."""


# A belief is a tuple of 23 floats, since a name for each would double the time of a step:
#
#    0 x    ln of the entropy without the direct effect of the command
#    1 d    drift of x [ln nats per iteration]
#    2 b    push of the full command on x [ln nats per iteration]
#    3 c    direct effect of the full command [ln nats]
#    4-13   their covariance, upper triangle: xx xd xb xc dd db dc bb bc cc
#   14 f    filtered command, whole, in units of U
#   15      the law's part of it
#   16      ln of the last reading that was believed
#   17 c0   variance of a change that was not predicted
#   18 c1   its covariance with the one before
#   19      the last such change
#   20      changes seen, from 8
#   21      1 after a reading that jumped and that the next has yet to confirm
#   22      ln likelihood of the readings, old ones forgotten


def first_beliefs(z: float, known: float = 0.0) -> tuple[State, ...]:
    """The beliefs of all views at the first reading, ``z`` being ln of it and ``known`` its variance, as in `noise`."""
    return tuple(
        (
            *(z, view.drift, 0.0, 0.0),
            *(noise(START_VARIANCE, -START_VARIANCE / 2, view.calm, known)[0], 0.0, 0.0, 0.0),
            *(view.drift_std**2, -0.5 * view.drift_std * view.push_std, 0.0),
            *(view.push_std**2, 0.0, view.shift_std**2),
            *(0.0, 0.0, z, START_VARIANCE, -START_VARIANCE / 2, 0.0, START_CHANGES, 0.0, 0.0),
        )
        for view in VIEWS
    )


def noise(variance: float, covariance: float, calm: float, known: float) -> tuple[float, float]:
    """R of the reading and Q of the level.

    R is ``known``, or −c1 where that is 0: where the batch does not tell it.  It is limited to shares of c0, the
    variance of an unpredicted change: to 5 % and more if the level is lively, 40 % and more if it is calm,
    and to 100 % or, if estimated, half.  So a batch that tells half or twice the noise spoils little.
    """
    if known:
        reading = min(max(known, (CALM if calm else LIVELY) * variance), variance)
    else:
        reading = min(max(-covariance, (CALM if calm else LIVELY) * variance), 0.5 * variance)
    return reading, CALM_LEVEL * reading if calm else max(variance - 2 * reading, LIVELY * variance)


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


def given(sample: Sample, neutral: float, unit: float) -> tuple[Given, ...]:
    """The command of each of the sample's ``dt`` iterations: all of it, and the law's share.

    ``neutral`` and ``unit`` are the command that counts as 0 and the range that counts as 1.
    """
    whole = ((sample.u if sample.applied is None else sample.applied) - neutral) / unit
    # a hold keeps the mean of the whole command, so the law's share is what others did not add to that
    own = whole - sample.added / unit if sample.lost else (sample.u - neutral) / unit
    return ((whole, own),) * min(max(round(sample.dt), 1), LONGEST_GAP)


def updated(
    beliefs: tuple[State, ...], commands: Sequence[Given], sample: Sample, z: float, known: float = 0.0
) -> tuple[State, ...]:
    """The beliefs carried over iterations with these commands, then corrected by the sample's reading, ln of it ``z``.

    ``known`` as in `noise`.
    """
    seen = max(sample.seen, 1.0)
    return tuple(
        _one(belief, numbers, commands, seen, sample.lost, z, known)
        for belief, numbers in zip(beliefs, NUMBERS, strict=True)
    )


def foreseen(
    belief: State, numbers: tuple[float, ...], commands: Sequence[Given]
) -> tuple[float, float, float]:
    """x, f and the law's part of f after iterations with commands that have been given and not shown yet."""
    x, d, b = belief[:3]
    f, share, kept = belief[14], belief[15], numbers[0]
    for whole, own in commands:
        f = kept * f + (1 - kept) * whole
        share = kept * share + (1 - kept) * own
        x += d + b * f
    return x, f, share


def _one(
    belief: State,
    numbers: tuple[float, ...],
    commands: Sequence[Given],
    seen: float,
    lost: float,
    z: float,
    known: float,
) -> State:
    """One filter carried over iterations with these commands, then corrected by the reading ``z``."""
    x, d, b, c, xx, xd, xb, xc, dd, db, dc, bb, bc, cc, f, share, before, c0, c1, last, num, suspect, fit = (
        belief
    )
    kept, _, calm, _, _, most_dd, most_bb, most_cc = numbers
    reading, level = noise(c0, c1, calm, known)
    level /= seen
    taken = 1 - kept
    expected = before - c * f
    for whole, own in commands:
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
        if cc < most_cc:
            cc = min(cc + 1e-4 * c * c, most_cc)
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
