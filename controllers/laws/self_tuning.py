"""A PI that measures the effect of its own command and sets its gains by it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import inf, log
from typing import ClassVar, Literal, NamedTuple

from controllers.base import Law, Sample, State, Terms
from controllers.identification.recursive import RLS, RLSState
from controllers.laws.pid import PID, PIDState
from controllers.parts.coordinates import FLOOR_NATS

CALM = 0.9
"""Weight kept from row to row in the mean command that excitation is measured from."""

ROUNDING = 1e-9
"""Difference between v and u, relative, that is no limit's doing."""


class SelfTuningState(NamedTuple):
    """The states of the PI and of the estimator, and what lies between them."""

    pi: PIDState
    estimator: RLSState
    kp: float
    """Proportional gain in force [command per unit of z]."""
    mean: tuple[float, ...]
    """The recent mean command, none before the first [actuator's unit]."""
    pending: tuple[float, ...]
    """Commands that have not begun to act, oldest first [actuator's unit]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTuning(Law):
    """Recursive least squares on   (z_t − z_{t−dt}) / dt = b·ū + d + noise,   and gains by SIMC from b:

        θ = delay − ½,   kp = clip(1 / (b (τc + θ)), kp_low, kp_high),   ki = kp / (4 (τc + θ))

    z is ln y or y and ū the mean of the commands that acted in between.  The ½ is the zero-order hold of
    one iteration (Skogestad 2003, for an integrator; 4 (τc + θ) gives a damping of 1).  The step itself is
    that of ``pid``: same back-calculation, and the integral is a command, so new gains give no bump at
    zero error.

    Noise that moves entropy itself does no harm to the estimate: ū is older than the noise it meets.  Noise of
    the readings does: the command answers it, the next difference takes it back, and a true b of 0.2 is read
    as 0.29, 0.43 and 0.92 at 3, 5 and 8 % of it, which makes the gains too small.  A dither is not needed, the
    law's own answer to noise excites it.  What natural regulation there is counts as push, which errs on
    the side of smaller gains too.  Feedforward and dither of the same loop are not in
    the ``u`` that a law is shown and count as noise; as the law answers them too, b comes out too small and
    the gains too large (simulated: by 12 % with a PRBS that pushes z by 0.6 of the noise, 30 % with 1.8).

    Nothing is learnt from a command that a limit or the slew cut, or that stays within ``excitation`` of
    its mean, nor from an interval in which the loop held.  An estimate that is not positive leaves the gains as they were.
    """

    kind: ClassVar[str] = "self_tuning"

    push: float
    """b to begin with [unit of z per command per iteration], above 0: from an identified plant."""

    push_std: float
    """How far b may be off to begin with, one standard deviation; 0 keeps it, and the gains, for ever."""

    drift_std: float
    """How large d may be, one standard deviation around 0 [unit of z per iteration]."""

    noise_std: float
    """Standard deviation of one iteration's random change [unit of z]: too small, and b follows noise."""

    time_constant: float
    """τc, the closed loop's [iterations].  Smaller is faster; below the delay it is not robust."""

    kp_low: float
    """Least proportional gain [command per unit of z], above 0: a bound from the design."""

    kp_high: float
    """Largest proportional gain [command per unit of z]: a bound from the design."""

    delay: int = 1
    """Iterations from a command to its first effect; 1 is the next reading."""

    forgetting: float = 0.99
    """Weight of old rows in the estimate, in (0, 1]; remembers about 1 / (1 − forgetting) of them."""

    excitation: float = 0.0
    """Rows with a command nearer to its recent mean than this teach nothing [actuator's unit]."""

    bias: float = 0.0
    """Command at zero error, before the integral has learnt it [actuator's unit]."""

    anti_windup: float = 1.0
    """As in ``pid``: share of the excess v − u taken out of the integral, 0 to 1."""

    error: Literal["absolute", "log"] = "log"
    """``log``: z = ln y and the error is ln(r / y); ``absolute``: z = y and it is r − y."""

    def __post_init__(self) -> None:
        if not 0 < self.push < inf:
            raise ValueError(f"push must be > 0 and finite, got {self.push}")
        if not 0 <= self.push_std < inf:
            raise ValueError(f"push_std must be >= 0 and finite, got {self.push_std}")
        if not 0 <= self.drift_std < inf:
            raise ValueError(f"drift_std must be >= 0 and finite, got {self.drift_std}")
        if not 0 < self.noise_std < inf:
            raise ValueError(f"noise_std must be > 0 and finite, got {self.noise_std}")
        if not 0 < self.time_constant < inf:
            raise ValueError(f"time_constant must be > 0 and finite, got {self.time_constant}")
        if not 0 < self.kp_low < inf:
            raise ValueError(f"kp_low must be > 0 and finite, got {self.kp_low}")
        if not self.kp_low <= self.kp_high < inf:
            raise ValueError(f"kp_high must be >= kp_low = {self.kp_low} and finite, got {self.kp_high}")
        if self.delay < 1:
            raise ValueError(f"delay must be >= 1, got {self.delay}")
        if not 0 < self.forgetting <= 1:
            raise ValueError(f"forgetting must be in (0, 1], got {self.forgetting}")
        if not 0 <= self.excitation < inf:
            raise ValueError(f"excitation must be >= 0 and finite, got {self.excitation}")
        if self.error not in ("absolute", "log"):
            raise ValueError(f"error must be 'absolute' or 'log', got {self.error!r}")
        self._pid(self.kp_low)  # checks what it shares

    def init(self) -> SelfTuningState:
        kp = self._kp(self.push)
        pi, estimator = self._pid(kp).init(), self._estimator().init()
        return SelfTuningState(pi=pi, estimator=estimator, kp=kp, mean=(), pending=())

    def step(self, state: State, sample: Sample) -> tuple[SelfTuningState, Terms]:
        pi, estimator, kp, mean, pending = SelfTuningState(*state)
        last, estimator = PIDState(*pi), RLSState(*estimator)
        if last.started:
            num = max(1, round(sample.dt))
            commands = (*pending, *([sample.u] * num))
            known = len(pending) == self.delay - 1
            pending = commands[max(0, len(commands) - self.delay + 1) :]
            u = sum(commands[:num]) / num
            mean = (CALM * mean[0] + (1 - CALM) * u,) if mean else (u,)
            cut = abs(sample.u - last.v) > ROUNDING * (1.0 + abs(last.v))
            if sample.lost:
                pending = ()  # a hold kept another command than the law's
            elif known and not cut and abs(u - mean[0]) >= self.excitation:
                change = (self._z(sample.y) - self._z(last.y)) / num
                estimator = self._estimator().step(estimator, (u, 1.0), change)
            push = self._estimator().estimate(estimator)[0]
            kp = self._kp(push) if push > 0 else kp
        pi, terms = self._pid(kp).step(last, sample)
        return SelfTuningState(pi=pi, estimator=estimator, kp=kp, mean=mean, pending=pending), terms

    def push_estimate(self, state: State) -> float:
        """b as it is estimated now [unit of z per command per iteration]."""
        return self._estimator().estimate(SelfTuningState(*state).estimator)[0]

    @property
    def _horizon(self) -> float:
        """τc + θ [iterations]."""
        return self.time_constant + self.delay - 0.5

    def _kp(self, push: float) -> float:
        # a push so small that the product is 0 asks for the largest gain, not for a division by it
        product = push * self._horizon
        return min(max(1.0 / product, self.kp_low), self.kp_high) if product > 0 else self.kp_high

    def _pid(self, kp: float) -> PID:
        ki = kp / (4.0 * self._horizon)
        return PID(kp=kp, ki=ki, bias=self.bias, anti_windup=self.anti_windup, error=self.error)

    def _estimator(self) -> RLS:
        return _estimator(self.push, self.push_std, self.drift_std, self.noise_std, self.forgetting)

    def _z(self, y: float) -> float:
        return log(max(y, FLOOR_NATS)) if self.error == "log" else y


@cache
def _estimator(push: float, push_std: float, drift_std: float, noise_std: float, forgetting: float) -> RLS:
    return RLS(prior=(push, 0.0), prior_std=(push_std, drift_std), noise_std=noise_std, forgetting=forgetting)
