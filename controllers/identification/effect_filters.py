"""Kalman filters of what a command does to ln entropy: they learn its effect while it is used.

A view takes the command either to push entropy or to shift it at once, and to act after a dead time and a lag:

    x_t = x_{t−1} + d + b f_t + ε(Q),   ln y_t = x_t + c f_t + ν(R),   f_t = λ f_{t−1} + (1 − λ) w_{t−l}

with c = 0 or b = 0.  Each filter has its own view of the plant, and their likelihoods weigh them (Magill, IEEE TAC
10:434, 1965).  With both effects in one filter, c takes what dead time and noise do, and b is learnt later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

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

    pushes: bool
    """The command pushes ln entropy, as an update's does; else it shifts it at once, as a temperature's."""
    kept: float
    """λ: weight kept from iteration to iteration in the filtered command."""
    late: int
    """l: iterations for which a command waits before it can act, beyond a dead time that the law is told."""
    ahead: float
    """h: iterations that the law looks ahead, from when a command can act."""
    calm: bool
    """The level hardly wanders, so that nearly all of an unpredicted change is noise of the reading."""
    drift: float
    """Mean of d before anything is known [ln nats per iteration]: training spends entropy."""
    drift_std: float
    """Its standard deviation."""
    effect_std: float
    """Standard deviation of the effect before anything is known: of b [ln nats per iteration] or of c [ln nats]."""

    @property
    def within(self) -> float:
        """What a lasting command does within h, in effects: 1 − λ^h of a shift, h − λ (1 − λ^h) / (1 − λ) pushes."""
        there = float(1 - self.kept**self.ahead)
        return self.ahead - self.kept * there / (1 - self.kept) if self.pushes else there


def _pushing(kept: float, late: int, ahead: float, *, calm: bool) -> View:
    drift = 0.02 if calm else 0.08
    return View(
        pushes=True,
        kept=kept,
        late=late,
        ahead=ahead,
        calm=calm,
        drift=-drift / 2,
        drift_std=drift,
        effect_std=1 - kept,
    )


def _shifting(late: int, *, calm: bool) -> View:
    return View(
        pushes=False,
        kept=0.4,
        late=late,
        ahead=3.0,
        calm=calm,
        drift=0.0,
        drift_std=0.01 if calm else 0.05,
        effect_std=2.0,
    )


VIEWS = (
    _pushing(0.3, 0, 3.0, calm=False),
    _pushing(0.3, 0, 3.0, calm=True),
    _pushing(0.6, 2, 5.0, calm=False),
    _pushing(0.6, 2, 5.0, calm=True),
    _pushing(0.85, 4, 12.0, calm=False),
    _pushing(0.85, 4, 12.0, calm=True),
    _shifting(0, calm=True),
    _shifting(1, calm=True),
    _shifting(0, calm=False),
)
"""Pushes that come soon, later and late, each with lively and with calm entropy; and commands that act at once.

A temperature moves ln entropy by several units, so little is taken for granted of what shifts.
"""

LAGS = tuple(dict.fromkeys((view.kept, view.late) for view in VIEWS))
"""λ and l of the filtered commands, of which several views have the same."""

LATEST = max(late for _, late in LAGS)
"""The largest l."""

Numbers = tuple[float, float, bool, float, float, float, int]
NUMBERS: tuple[Numbers, ...] = tuple(
    (
        float(v.pushes),
        v.ahead,
        v.calm,
        v.within,
        v.drift_std**2,
        v.effect_std**2,
        LAGS.index((v.kept, v.late)),
    )
    for v in VIEWS
)
"""For each view whether it pushes, h, whether it is calm, effects within h, prior variances of d and of the effect, and
which filtered command it takes; as a step takes them."""


Given = tuple[float, float]
"""A command of one iteration in units of the range, counted from neutral: all of it, and the law's share."""

NOTHING: Given = (0.0, 0.0)
"""The neutral command, which is in force before the first."""


# A belief is a tuple of 16 floats, since a name for each would double the time of a step:
#
#    0 x    ln of the entropy without what the command shifts
#    1 d    drift of x [ln nats per iteration]
#    2 g    effect of the full command: b of a view that pushes [ln nats per iteration], c of another [ln nats]
#    3-8    their covariance, upper triangle: xx xd xg dd dg gg
#    9      ln of the last reading that was believed
#   10 c0   variance of a change that was not predicted
#   11 c1   its covariance with the one before
#   12      the last such change
#   13      changes seen, from 8
#   14      1 after a reading that jumped and that the next has yet to confirm
#   15      ln likelihood of the readings, old ones forgotten


def first_beliefs(z: float, known: float = 0.0) -> tuple[State, ...]:
    """The beliefs of all views at the first reading, ``z`` being ln of it and ``known`` its variance, as in `noise`."""
    return tuple(
        (
            *(z, view.drift, 0.0),
            *(noise(START_VARIANCE, -START_VARIANCE / 2, view.calm, known)[0], 0.0, 0.0),
            # what collapses fast can be pushed fast
            *(view.drift_std**2, -0.5 * view.drift_std * view.effect_std if view.pushes else 0.0),
            view.effect_std**2,
            *(z, START_VARIANCE, -START_VARIANCE / 2, 0.0, START_CHANGES, 0.0, 0.0),
        )
        for view in VIEWS
    )


def noise(variance: float, covariance: float, calm: bool, known: float) -> tuple[float, float]:
    """R of the reading and Q of the level.

    R is ``known``, or −c1 where that is 0: where the batch does not tell it.  It is limited to shares of c0, the
    variance of an unpredicted change: to 5 % and more if the level is lively, 40 % and more if it is calm,
    and to 100 % or, if estimated, half.  So a batch that tells half or twice the noise spoils little.
    """
    # min and max would take a tenth of a step's time
    least = (CALM if calm else LIVELY) * variance
    reading, most = (known, variance) if known else (-covariance, 0.5 * variance)
    reading = most if reading > most else least if reading < least else reading
    if calm:
        return reading, CALM_LEVEL * reading
    level, least = variance - 2 * reading, LIVELY * variance
    return reading, level if level > least else least


def weights(beliefs: Sequence[State]) -> list[float]:
    """How likely each view is; they add up to 1."""
    best = max(belief[15] for belief in beliefs)
    shares = [exp(belief[15] - best) for belief in beliefs]
    total = sum(shares)
    return [share / total for share in shares]


def given(sample: Sample, neutral: float, unit: float) -> tuple[Given, ...]:
    """The command of each of the sample's ``dt`` iterations: all of it, and the law's share.

    ``neutral`` and ``unit`` are the command that counts as 0 and the range that counts as 1.
    """
    whole = ((sample.u if sample.applied is None else sample.applied) - neutral) / unit
    # a hold keeps the mean of the whole command, so the law's share is what others did not add to that
    own = whole - sample.added / unit if sample.lost else (sample.u - neutral) / unit
    return ((whole, own),) * min(max(round(sample.dt), 1), LONGEST_GAP)


def filtered(
    before: Sequence[Given], commands: Sequence[Given], num: int
) -> tuple[tuple[Given, ...], list[list[float]]]:
    """The filtered commands of `LAGS` after ``num`` iterations, the law's part of each with it, and f of each iteration.

    ``commands`` are those given of late, oldest first, up to the last that could act if none had to wait.
    """
    after, ways = [], []
    end = len(commands)
    for (kept, late), (f, share) in zip(LAGS, before, strict=True):
        way = []
        for whole, own in commands[end - late - num : end - late]:
            f = kept * f + (1 - kept) * whole
            share = kept * share + (1 - kept) * own
            way.append(f)
        after.append((f, share))
        ways.append(way)
    return tuple(after), ways


def updated(
    beliefs: tuple[State, ...],
    before: Sequence[Given],
    ways: Sequence[Sequence[float]],
    sample: Sample,
    z: float,
    known: float = 0.0,
) -> tuple[State, ...]:
    """The beliefs carried over iterations, then corrected by the sample's reading, ln of it ``z``.

    ``before`` and ``ways`` are the filtered commands of `LAGS` before the iterations and in each; ``known`` as in `noise`.
    """
    seen = max(sample.seen, 1.0)
    return tuple(
        _one(belief, numbers, before[numbers[6]][0], ways[numbers[6]], seen, sample.lost, z, known)
        for belief, numbers in zip(beliefs, NUMBERS, strict=True)
    )


def foreseen(
    now: Sequence[Given], waiting: Sequence[Given], dead_time: int
) -> list[tuple[float, float, float, int]]:
    """For each of `LAGS` f and the law's part of it once all commands act, the sum of f until then, and in how many iterations.

    ``waiting`` are the commands given of late, oldest first, `LATEST` and ``dead_time`` of them.
    """
    found = []
    for (kept, late), (f, share) in zip(LAGS, now, strict=True):
        total = 0.0
        for whole, own in waiting[LATEST - late :]:
            f = kept * f + (1 - kept) * whole
            share = kept * share + (1 - kept) * own
            total += f
        found.append((f, share, total, late + dead_time))
    return found


def _one(
    belief: State,
    numbers: Numbers,
    f: float,
    way: Sequence[float],
    seen: float,
    lost: float,
    z: float,
    known: float,
) -> State:
    """One filter carried over iterations in which f goes its way, then corrected by the reading ``z``."""
    x, d, g, xx, xd, xg, dd, dg, gg, before, c0, c1, last, num, suspect, fit = belief
    pushes, _, calm, _, most_dd, most_gg, _ = numbers
    reading, level = noise(c0, c1, calm, known)
    level /= seen
    shifts = 1 - pushes
    expected = before - g * f * shifts
    for f in way:
        row = pushes * f
        push = g * row
        x += d + push
        expected += d + push
        xx += 2 * (xd + row * (xg + dg)) + dd + row * row * gg + level
        xd += dd + row * dg
        xg += dg + row * gg
        # what was learnt walks, and is never forgotten beyond the start
        if dd < most_dd:
            walked = dd + 2.5e-5 * (d * d if abs(d) > abs(push) else push * push)
            dd = walked if walked < most_dd else most_dd
        if gg < most_gg:
            walked = gg + 1e-4 * g * g
            gg = walked if walked < most_gg else most_gg
    row = shifts * f
    shift = g * row
    innovation, surprise = z - x - shift, z - expected - shift
    px, pd, pg = xx + row * xg, xd + row * dg, xg + row * gg
    spread = px + row * pg + reading
    square = innovation * innovation
    fit = FORGETTING * fit - 0.5 * (log(spread) + min(square / spread, JUMP))
    if square > JUMP * spread:
        if not suspect:
            return x, d, g, xx, xd, xg, dd, dg, gg, x + shift, c0, c1, 0.0, num, 1.0, fit
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
    kx, kd, kg = px / spread, pd / spread, pg / spread
    x, d, g = x + kx * innovation, d + kd * innovation, g + kg * innovation
    xx, xd, xg = xx - kx * px, xd - kx * pd, xg - kx * pg
    dd, dg, gg = dd - kd * pd, dg - kd * pg, gg - kg * pg
    return x, d, g, xx, xd, xg, dd, dg, gg, z, c0, c1, surprise, num, 0.0, fit
