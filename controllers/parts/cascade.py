"""Cascade: an outer loop that moves the setpoint by the reward of exploration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import ClassVar, NamedTuple

from controllers.base import Reference, State


class LineSums(NamedTuple):
    """Sums over the readings P of a period, x being iterations into it."""

    n: float = 0.0
    x: float = 0.0
    p: float = 0.0
    xx: float = 0.0
    xp: float = 0.0
    pp: float = 0.0


class CascadeState(NamedTuple):
    """The setpoint, and the period that its next move is made from."""

    log_r: float
    """ln r [ln nats/token]."""
    first: tuple[float, ...]
    """The period's first iteration, none before the first step."""
    sums: LineSums


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade(Reference):
    """ln r moves, every ``period`` iterations, by   clip(gain · ΔP − relaxation, −slew, slew)

    ΔP is the change of the pass rate over the period: the slope of a least-squares line through its
    readings times the period, where that slope is at least ``significance`` of its own standard errors away
    from zero, and 0 where it is not.  Without that test r follows the noise of a flat pass rate.  r stays in
    [low_nats, high_nats]; where it is clipped nothing winds up.

        pass rate rises   r goes up while gain · ΔP exceeds the relaxation: explore while it pays
        flat              r sinks by the relaxation to ``low_nats``: nothing to find, sharpen
        falls             r sinks faster: what is explored is noise

    It follows, it does not optimise: a pass rate that rises for another reason raises r too, one that falls
    because entropy has collapsed is answered by less entropy still, down to ``low_nats``, and the start
    of training, when everything improves, drives r up.  Let the limits be ones that you could live with.

    Readings with noise of standard deviation s give ΔP one of s · √(12 / period), and the test lets through what
    is twice that.  Make the period long enough for the rises that you expect, and several times the inner loop's
    settling, or the two loops fight.
    """

    kind: ClassVar[str] = "cascade"

    initial_nats: float
    """Setpoint until the first period ends [nats/token]."""

    low_nats: float
    """Lowest setpoint [nats/token], above 0."""

    high_nats: float
    """Highest setpoint [nats/token]."""

    gain: float
    """Change of ln r for a pass rate that rises by 1 [1]; 5 raises r by 5 % when 1 % more is solved."""

    relaxation: float
    """What ln r sinks by in each period that nothing is gained [1]; 0 never comes down from a plateau."""

    period: int = 20
    """Iterations from one move of the setpoint to the next, 2 at least."""

    slew: float = 0.1
    """Largest change of ln r in one period [1]; 0.1 is about 10 %."""

    significance: float = 2.0
    """Standard errors that the slope of the pass rate must be away from zero to count [1]; 0 counts every one."""

    reading: str = "pass_rate"
    """What has to rise for entropy to pay: a reading's name."""

    def __post_init__(self) -> None:
        if not 0 < self.low_nats < inf:
            raise ValueError(f"low_nats must be > 0 and finite, got {self.low_nats}")
        if not self.low_nats <= self.high_nats < inf:
            raise ValueError(
                f"high_nats must be >= low_nats = {self.low_nats} and finite, got {self.high_nats}"
            )
        if not self.low_nats <= self.initial_nats <= self.high_nats:
            raise ValueError(
                "initial_nats must be in [low_nats, high_nats] = "
                f"[{self.low_nats}, {self.high_nats}], got {self.initial_nats}"
            )
        if not 0 <= self.gain < inf:
            raise ValueError(f"gain must be >= 0 and finite, got {self.gain}")
        if not 0 <= self.relaxation < inf:
            raise ValueError(f"relaxation must be >= 0 and finite, got {self.relaxation}")
        if self.period < 2:
            raise ValueError(f"period must be >= 2, got {self.period}")
        if not 0 < self.slew < inf:
            raise ValueError(f"slew must be > 0 and finite, got {self.slew}")
        if not 0 <= self.significance < inf:
            raise ValueError(f"significance must be >= 0 and finite, got {self.significance}")
        if self.significance and self.period < 3:
            raise ValueError(
                f"period must be >= 3 to tell a slope from noise (significance {self.significance}), got {self.period}"
            )
        if not self.reading:
            raise ValueError("reading must be a name, got ''")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.reading,)

    def init(self) -> CascadeState:
        return CascadeState(log_r=log(self.initial_nats), first=(), sums=LineSums())

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        log_r, begun, sums = CascadeState(*state)
        first, sums = begun[0] if begun else float(t), LineSums(*sums)
        if t - first >= self.period:
            rise = self.period * _slope(sums, self.significance)
            moved = log_r + min(max(self.gain * rise - self.relaxation, -self.slew), self.slew)
            log_r = min(max(moved, log(self.low_nats)), log(self.high_nats))
            first, sums = float(t), LineSums()
        sums = _added(sums, t - first, float(telemetry[self.reading]))
        r = min(max(exp(log_r), self.low_nats), self.high_nats)
        return CascadeState(log_r=log_r, first=(first,), sums=sums), r

    def bounds(self) -> tuple[float, float]:
        return self.low_nats, self.high_nats


def _added(sums: LineSums, x: float, p: float) -> LineSums:
    row = LineSums(n=1.0, x=x, p=p, xx=x * x, xp=x * p, pp=p * p)
    return LineSums(*(total + each for total, each in zip(sums, row, strict=True)))


def _slope(sums: LineSums, significance: float) -> float:
    """Slope of the least-squares line [per iteration]; 0 if it is not significant or has too few readings."""
    n, x, p, xx, xp, pp = sums
    spread = xx - x * x / n
    if spread <= 0:
        return 0.0
    slope = (xp - x * p / n) / spread
    if not significance:
        return slope
    left = max(0.0, (pp - p * p / n) - slope * slope * spread)  # sum of squared residuals
    error = sqrt(left / (n - 2) / spread) if n > 2 else inf
    return slope if abs(slope) >= significance * error else 0.0
