"""Paced: entropy stays where it is while it buys anything, and falls as the reward has it when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar, NamedTuple

from controllers.base import Feedforward, State
from controllers.parts.covariance_feedforward import CovarianceFeedforward, CovarianceState
from controllers.parts.filters import EMA, EMAState

PSI = "coverage/psi"
PSI_ERROR = "coverage/psi_error"


class PacedState(NamedTuple):
    """The moving averages of the prediction, and of what entropy buys."""

    covariance: CovarianceState
    psi: EMAState
    """Average of ψ."""
    variance: float
    """Squared standard error of that average, times its weight squared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced(Feedforward):
    """w = gate · max(0, share · (the command that cancels the predicted fall)),   gate = clip(1 + m / (z · se), 0, 1)

    The command is that of `CovarianceFeedforward`: at a share of 1 it holds entropy, to first order, against the reward
    of this batch, whatever the model, the task and the learning rate; at 0.5 entropy falls half as fast.  Nothing is
    done where the reward raises it.  The gate asks whether that is worth it: m is the moving average of ψ, the slope of
    pass@G in the temperature (``coverage/psi``; `policies.statistics.coverage`), se its standard error, z is
    ``significance``.

        more entropy would let a group find more, or no one can tell    the gate is open
        less would, by z standard errors                                it is shut: the reward may sharpen as it likes

    The actuator is the uniform entropy bonus on all responses, since its effect is what is read.

    So a policy that has too much entropy, as one that knows its task too little, is left to sharpen.  There is no
    setpoint, and no number to choose for a model or task.  A law beside it is added as ever; for none, take an open loop
    with the command 0.

    Source: ours; prediction of 2505.22617, slope of 2505.15201 at k = G.
    """

    kind: ClassVar[str] = "paced"

    share: float = 1.0
    """Part of the predicted fall that is cancelled, above 0."""

    limit: float = 1.0
    """Largest size of the share [actuator's unit]."""

    decay: float = 0.9
    """Weight kept from one reading to the next in all averages, in [0, 1)."""

    significance: float = 2.0
    """Standard errors below zero at which ψ shuts the gate [1], above 0."""

    def __post_init__(self) -> None:
        if not 0 < self.significance < inf:
            raise ValueError(f"significance must be > 0 and finite, got {self.significance}")
        self._covariance  # noqa: B018  # says what is wrong with the other settings

    @property
    def _covariance(self) -> CovarianceFeedforward:
        return CovarianceFeedforward(share=self.share, limit=self.limit, decay=self.decay)

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self._covariance.reads, PSI, PSI_ERROR)

    def init(self) -> PacedState:
        average = EMA(decay=self.decay).init()
        return PacedState(covariance=self._covariance.init(), psi=average, variance=0.0)

    def step(self, state: State, telemetry: Mapping[str, float]) -> tuple[State, float]:
        last, average = PacedState(*state), EMA(decay=self.decay)
        covariance, cancelling = self._covariance.step(last.covariance, telemetry)
        psi, mean = average.step(last.psi, float(telemetry[PSI]))
        variance = self.decay**2 * last.variance + ((1 - self.decay) * float(telemetry[PSI_ERROR])) ** 2
        error = sqrt(variance) / psi.weight
        gate = min(max(1 + mean / (self.significance * error), 0.0), 1.0) if error else float(mean >= 0)
        after = PacedState(covariance=CovarianceState(*covariance), psi=psi, variance=variance)
        return after, gate * max(cancelling, 0.0)
