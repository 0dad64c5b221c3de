"""The feedback loop: filter, reference and law in a row, with limits at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, nan
from typing import Any

from controllers.base import Dither, Feedforward, Filter, Law, Reference, Sample, State, Terms, Trace
from controllers.filters import Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackLoop:
    """From telemetry to one command, once an iteration.

        reading ─► filter ─ y ─► reference ─ r ─► dead band ─► law ─► (+) ─ v ─► limits ─► slew ─► u
                                                                feedforward, dither ─┘

    A control instant is every ``period``-th iteration, the first call among them; in between the
    filter and the reference go on and ``u`` is kept.  At a reading that is missing or not finite, the
    sensor's or another that a part ``reads``, or a ``v`` that is not finite, the loop holds: ``u`` is
    kept, no part changes, the trace says ``held``, and the time lost is in the ``dt`` of the next
    control instant.  A trace that held for
    want of a reading has nan for ``y``, ``r`` and ``e``.
    """

    sensor: str
    """Name of the reading in the telemetry."""

    reference: Reference
    """Where the measurement should be."""

    law: Law
    """What turns the error into a command."""

    actuator: str
    """Name of what the command moves."""

    low: float
    """Lowest command [actuator's unit]."""

    high: float
    """Highest command [actuator's unit]."""

    neutral: float
    """Command in force before the first step [actuator's unit]."""

    filter: Filter = field(default_factory=Hold)
    """What turns readings into the measurement."""

    feedforward: Feedforward | None = None
    """Answers a disturbance that another reading shows; its share is the term ``feedforward``."""

    dither: Dither | None = None
    """Moves the command for identification; its share is the term ``dither``."""

    slew: float = inf
    """Largest change of the command from one iteration to the next [actuator's unit]."""

    dead_band_nats: float = 0.0
    """Errors up to this are zero to the law, larger ones smaller by it [nats/token]."""

    period: int = 1
    """Iterations from one control instant to the next."""

    def __post_init__(self) -> None:
        if not self.sensor:
            raise ValueError("sensor must be a name, got ''")
        if not self.actuator:
            raise ValueError("actuator must be a name, got ''")
        if not self.low <= self.high:
            raise ValueError(f"low must be <= high = {self.high}, got {self.low}")
        if not self.low <= self.neutral <= self.high:
            raise ValueError(
                f"neutral must be in [low, high] = [{self.low}, {self.high}], got {self.neutral}"
            )
        if not isfinite(self.neutral):
            raise ValueError(f"neutral must be finite, got {self.neutral}")
        if not self.slew > 0:
            raise ValueError(f"slew must be > 0, got {self.slew}")
        if not 0 <= self.dead_band_nats < inf:
            raise ValueError(f"dead_band_nats must be >= 0 and finite, got {self.dead_band_nats}")
        if self.period < 1:
            raise ValueError(f"period must be >= 1, got {self.period}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of all readings that it needs, its sensor first."""
        further = [part.reads for part in (self.reference, self.law, self.feedforward) if part is not None]
        return (self.sensor, *(name for names in further for name in names))

    def init(self) -> State:
        """State before the first step: that of each part, ``u``, how much of it is not the law's, and
        the iterations since an instant."""
        feedforward = self.feedforward.init() if self.feedforward else ()
        parts = self.filter.init(), self.reference.init(), self.law.init(), feedforward
        return (*parts, float(self.neutral), 0.0, float(self.period - 1))

    def step(self, state: State, telemetry: Mapping[str, float], t: int) -> tuple[State, Trace]:
        """Take the telemetry of iteration ``t``; give the new state and the trace, whose ``u`` counts."""
        filter_state, reference_state, law_state, feedforward_state, last_u, last_added, elapsed = state
        dt = elapsed + 1.0
        waiting = (*state[:-1], dt)

        if not all(isfinite(telemetry.get(name, nan)) for name in self.reads):
            return waiting, _keep(t, y=nan, r=nan, u=last_u, held=True)
        filter_state, y = self.filter.step(filter_state, float(telemetry[self.sensor]))
        reference_state, r = self.reference.step(reference_state, y, t, telemetry)
        if dt < self.period:
            between = (filter_state, reference_state, *state[2:-1], dt)
            return between, _keep(t, y=y, r=r, u=last_u, held=False)

        shown = self._reference_shown(y, r)
        sample = Sample(t=t, dt=dt, y=y, r=shown, u=last_u - last_added, telemetry=telemetry)
        law_state, terms = self.law.step(law_state, sample)
        feedforward_state, added = self._added(feedforward_state, telemetry, t)
        terms = {**terms, **added}
        v = float(sum(terms.values()))
        if not isfinite(v):
            return waiting, _keep(t, y=y, r=r, u=last_u, held=True)
        u = self._applied(v, last_u)
        trace = Trace(t=t, y=y, r=r, e=r - y, v=v, u=u, terms=terms, saturated=u != v, held=False)
        extra = float(sum(added.values()))
        return (filter_state, reference_state, law_state, feedforward_state, u, extra, 0.0), trace

    def _added(self, state: State, telemetry: Mapping[str, float], t: int) -> tuple[State, Terms]:
        """What joins the law's command: a term for each part that is there."""
        terms: Terms = {}
        if self.feedforward is not None:
            state, terms["feedforward"] = self.feedforward.step(state, telemetry)
        if self.dither is not None:
            terms["dither"] = self.dither.value(t)
        return state, terms

    def _reference_shown(self, y: float, r: float) -> float:
        """The reference moved toward ``y`` by the dead band, as far as ``y``: a continuous dead zone."""
        e = r - y
        if abs(e) <= self.dead_band_nats:
            return y
        return r - self.dead_band_nats if e > 0 else r + self.dead_band_nats

    def _applied(self, v: float, last_u: float) -> float:
        """Limits first, then slew: from inside the limits, slew cannot lead out of them."""
        wanted = min(max(v, self.low), self.high)
        return float(min(max(wanted, last_u - self.slew), last_u + self.slew))


def _keep(t: int, *, y: float, r: float, u: float, held: bool) -> Trace:
    """Trace of an iteration at which the law did not speak."""
    return Trace(t=t, y=y, r=r, e=r - y, v=u, u=u, terms={}, saturated=False, held=held)


def restore(jsonable: Sequence[Any]) -> State:
    """The state that a JSON file or a checkpoint gave back as nested lists."""
    return tuple(restore(item) if isinstance(item, (list, tuple)) else float(item) for item in jsonable)


def replay(loop: FeedbackLoop, telemetries: Iterable[Mapping[str, float]]) -> list[Trace]:
    """What the loop would have commanded, from its first step on, given recorded telemetry."""
    state, traces = loop.init(), []
    for t, telemetry in enumerate(telemetries):
        state, trace = loop.step(state, telemetry, t)
        traces.append(trace)
    return traces
