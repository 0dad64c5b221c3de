"""Coverage: the setpoint follows what a nat of entropy buys in pass@G, and at the end in pass@1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log, nan, sqrt
from typing import ClassVar, NamedTuple

from controllers.base import Reference, State

PSI = "psi"
PSI_AT_1 = "psi_at_1"

LEAST_READINGS = 3
"""Readings of a period below which its mean has no error worth the name."""


class PsiSums(NamedTuple):
    """Sums over the slopes ψ that a period has read."""

    n: float = 0.0
    total: float = 0.0
    square: float = 0.0


class CoverageState(NamedTuple):
    """The anchor, the setpoint as a share of it, and the period that the next move is made from."""

    total: float
    """Sum of the measurements that make the anchor [nats/token]."""
    num: float
    """How many they are."""
    log_share: float
    """ln(r / H0)."""
    first: tuple[float, ...]
    """The period's first iteration, none before the first step."""
    sums: PsiSums
    """What the period has read."""
    at_1: float
    """1 once the slope of pass@1 is followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage(Reference):
    """ln r moves, every ``period`` iterations, by   gain · clip(m / (2 se), −1, 1)   where |m| >= significance · se

    m is the mean of ψ over the period's readings and se its standard error.  ψ is the slope of pass@G in the
    temperature until ``sharpen_from`` of the run, that of pass@1 after (``coverage/psi``, ``coverage/psi_at_1``;
    `policies.statistics.coverage`).  H0 is the mean of the first ``num_readings`` measurements.  Until they are there
    r = y, an error of 0: a loop that already pulled y to its setpoint would lower the anchor that it is a share of.
    Then r is ``start_fraction`` · H0, and it stays in [low_fraction, high_fraction] · H0.

        more entropy would let a group find more    r rises
        less would                                  r falls
        neither differs significantly from zero     r stays

    A period with fewer than three readings of ψ moves nothing, so r stays at its start where nothing measures ψ
    (groups of one, another trainer).  No number of it is in nats, and none of rewards: it needs no tuning to a model or
    task.  The derivative is of the policy as it is now: what a nat will buy after more training it cannot know.

    Source: ours; the estimator of the slope is that of arXiv 2505.15201 at k = G.
    """

    kind: ClassVar[str] = "coverage"

    start_fraction: float = 0.7
    """Setpoint at the start, as a share of H0."""

    low_fraction: float = 0.05
    """Lowest setpoint, as a share of H0."""

    high_fraction: float = 3.0
    """Highest setpoint, as a share of H0.  A guard and no target: at 1.2, the first choice, a policy that began far
    below the entropy it needed stopped there (docs/log.md, 2026-11-30)."""

    num_readings: int = 3
    """Measurements that make H0; the setpoint is the measurement until they are there.  More of them make it less
    noisy, and the loop has longer to move what it is anchored to (docs/log.md, 2026-11-30)."""

    period: int = 10
    """Iterations from one move of the setpoint to the next, 3 at least."""

    gain: float = 0.15
    """Largest change of ln r in one period [1]; 0 keeps the start."""

    significance: float = 2.0
    """Standard errors that the mean of ψ must be away from zero for r to move [1]; 0 lets every one move it, by less
    where it is less certain."""

    sharpen_from: float = 0.6
    """Share of the run after which pass@1 is followed instead of pass@G [1]; 1 never does."""

    num_iterations: int | None = None
    """Length of the run [iterations]; null takes the run's, and without either pass@G is followed throughout."""

    domain: str | None = None
    """Kind of problem whose ψ is read; null is the loop's own, or all."""

    def __post_init__(self) -> None:
        if not 0 < self.low_fraction < inf:
            raise ValueError(f"low_fraction must be > 0 and finite, got {self.low_fraction}")
        if not self.low_fraction <= self.high_fraction < inf:
            raise ValueError(
                f"high_fraction must be >= low_fraction = {self.low_fraction} and finite, got {self.high_fraction}"
            )
        if not self.low_fraction <= self.start_fraction <= self.high_fraction:
            raise ValueError(
                "start_fraction must be in [low_fraction, high_fraction] = "
                f"[{self.low_fraction}, {self.high_fraction}], got {self.start_fraction}"
            )
        if self.num_readings < 1:
            raise ValueError(f"num_readings must be >= 1, got {self.num_readings}")
        if self.period < LEAST_READINGS:
            raise ValueError(f"period must be >= {LEAST_READINGS}, got {self.period}")
        if not 0 <= self.gain < inf:
            raise ValueError(f"gain must be >= 0 and finite, got {self.gain}")
        if not 0 <= self.significance < inf:
            raise ValueError(f"significance must be >= 0 and finite, got {self.significance}")
        if not 0 <= self.sharpen_from <= 1:
            raise ValueError(f"sharpen_from must be in [0, 1], got {self.sharpen_from}")
        if self.num_iterations is not None and self.num_iterations < 1:
            raise ValueError(f"num_iterations must be >= 1, got {self.num_iterations}")

    def of_run(self, *, domain: str | None, num_iterations: int | None) -> Coverage:
        return replace(
            self, domain=self.domain or domain, num_iterations=self.num_iterations or num_iterations
        )

    def init(self) -> CoverageState:
        return CoverageState(
            total=0.0, num=0.0, log_share=log(self.start_fraction), first=(), sums=PsiSums(), at_1=0.0
        )

    def step(self, state: State, y: float, t: int, telemetry: Mapping[str, float]) -> tuple[State, float]:
        total, num, log_share, begun, sums, at_1 = CoverageState(*state)
        if num < self.num_readings:
            total, num = total + y, num + 1.0
        first, sums = begun[0] if begun else float(t), PsiSums(*sums)
        if at_1 != self._sharpens(t):  # what was read of the other slope is left out
            first, sums, at_1 = float(t), PsiSums(), self._sharpens(t)
        if t - first >= self.period:
            moved = log_share + self._move(sums)
            log_share = min(max(moved, log(self.low_fraction)), log(self.high_fraction))
            first, sums = float(t), PsiSums()
        psi = telemetry.get(self._reading(at_1), nan)
        if isfinite(psi):
            sums = PsiSums(n=sums.n + 1.0, total=sums.total + psi, square=sums.square + psi * psi)
        now = CoverageState(total=total, num=num, log_share=log_share, first=(first,), sums=sums, at_1=at_1)
        share = min(max(exp(log_share), self.low_fraction), self.high_fraction)
        return now, share * (total / num) if num >= self.num_readings else y

    def bounds(self) -> tuple[float, float]:
        return 0.0, inf

    def _sharpens(self, t: int) -> float:
        length = self.num_iterations
        return float(length is not None and self.sharpen_from < 1 and t >= self.sharpen_from * length)

    def _reading(self, at_1: float) -> str:
        slope = PSI_AT_1 if at_1 else PSI
        return f"coverage/domain/{self.domain}/{slope}" if self.domain else f"coverage/{slope}"

    def _move(self, sums: PsiSums) -> float:
        """Change of ln r by the readings of a period."""
        if sums.n < LEAST_READINGS:
            return 0.0
        m = sums.total / sums.n
        error = sqrt(max(sums.square / sums.n - m * m, 0.0) / (sums.n - 1.0))
        if m == 0 or abs(m) < self.significance * error:
            return 0.0
        return self.gain * (min(max(m / (2.0 * error), -1.0), 1.0) if error else (1.0 if m > 0 else -1.0))
