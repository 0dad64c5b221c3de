"""The feedback loop: filter, reference and law in a row, with limits at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, nan

from controllers.base import Dither, Feedforward, Filter, Law, Reference, Sample, State, Terms, Trace
from controllers.loop_state import LoopState, PastCommand
from controllers.parts.filters import Hold

STANDARD_ERROR = "standard_error"
"""After a sensor's name and a slash, the name of the reading that is its standard error, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackLoop:
    """From telemetry to one command, once an iteration.

        reading ─► filter ─ y ─► reference ─ r ─► dead band ─► law ─► (+) ─ v ─► limits ─► slew ─► u
                                                                feedforward, dither ─┘

    A control instant is every ``period``-th iteration, the first call among them; in between the
    filter and the reference go on and ``u`` is kept.

    The loop holds when a reading it needs (the sensor's, or another that a part ``reads``) is missing or not
    finite, or when ``v`` is not finite.  No part changes and the trace says ``held``; from the first control
    instant that is missed on, ``u`` is the mean of the last 10 commands that were not held, within limits and
    slew.  The next control instant has the time lost in its ``dt``, and says so in ``lost``.  A trace
    that held for want of a reading has nan for ``y``, ``r`` and ``e``.

    A state may be of the same loop with other limits: what these cut off its command is gone at once, whatever
    the slew.

    The terms of every trace add up to ``v``.  In an iteration in which the law does not speak, a loop with a
    dither has two: ``dither``, its share of the command in force, and ``kept``, the rest.
    """

    sensor: str
    """Name of the reading in the telemetry."""

    reference: Reference
    """The setpoint: what the measurement should be."""

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

    unit: float = 1.0
    """Command that the law counts as 1 [actuator's unit]: its gains, limits and memory are in this."""

    origin: float = 0.0
    """Command that the law counts as 0 [actuator's unit]."""

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

    dead_time: int = 0
    """Iterations for which a command waits before it can act at all: its first effect is in the reading after those."""

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
        if not 0 < self.unit < inf:
            raise ValueError(f"unit must be > 0 and finite, got {self.unit}")
        if not isfinite(self.origin):
            raise ValueError(f"origin must be finite, got {self.origin}")
        if not self.slew > 0:
            raise ValueError(f"slew must be > 0, got {self.slew}")
        if not 0 <= self.dead_band_nats < inf:
            raise ValueError(f"dead_band_nats must be >= 0 and finite, got {self.dead_band_nats}")
        if self.period < 1:
            raise ValueError(f"period must be >= 1, got {self.period}")
        if self.dead_time < 0:
            raise ValueError(f"dead_time must be >= 0, got {self.dead_time}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of all readings that it needs, its sensor first."""
        further = [part.reads for part in (self.reference, self.law, self.feedforward) if part is not None]
        return (self.sensor, *(name for names in further for name in names))

    def inside(self, command: float) -> float:
        """The command cut to the limits."""
        return min(max(command, self.low), self.high)

    def init(self) -> LoopState:
        """State before the first step."""
        return LoopState(
            filter=self.filter.init(),
            reference=self.reference.init(),
            law=self.law.init(),
            feedforward=self.feedforward.init() if self.feedforward else (),
            u=float(self.neutral),
            dither=0.0,
            share=float(self.neutral),
            recent=(),
            applied=float(self.neutral) * (self.period - 1),
            elapsed=float(self.period - 1),
        )

    def step(self, state: State, telemetry: Mapping[str, float], t: int) -> tuple[LoopState, Trace]:
        """Take the telemetry of iteration ``t``; give the new state and the trace, whose ``u`` counts."""
        last = LoopState(*state).within(self.low, self.high)
        dt = last.elapsed + 1.0
        if not all(isfinite(telemetry.get(name, nan)) for name in self.reads):
            return self._hold(last, t, y=nan, r=nan)
        filter_state, y = self.filter.step(last.filter, float(telemetry[self.sensor]))
        reference_state, r = self.reference.step(last.reference, y, t, telemetry)
        if dt < self.period:
            between = last._replace(
                filter=filter_state,
                reference=reference_state,
                recent=last.remembered(PastCommand(u=last.u, dither=last.dither, added=last.u - last.share)),
                applied=last.applied + last.u,
                elapsed=dt,
            )
            return between, self._kept(between, t, y=y, r=r, held=False)

        sample = Sample(
            t=t,
            dt=dt,
            y=y,
            r=self._reference_shown(y, r),
            u=self._in_units(last.share),
            lost=dt - self.period,
            applied=self._in_units((last.applied + last.u) / dt),
            added=self._added_so_far(last) / self.unit,
            low=self._in_units(self.low),
            high=self._in_units(self.high),
            neutral=self._in_units(self.neutral),
            noise=self._noise(telemetry),
            dead_time=self.dead_time,
            telemetry=telemetry,
        )
        law_state, terms = self._law_step(last.law, sample)
        feedforward_state, added = self._added(last.feedforward, telemetry, t)
        terms = {**terms, **added}
        v = float(sum(terms.values()))
        if not isfinite(v):
            return self._hold(last, t, y=y, r=r)
        u = self._applied(v, last.u)
        given = PastCommand(u=u, dither=added.get("dither", 0.0), added=float(sum(added.values())))
        spoken = LoopState(
            filter=filter_state,
            reference=reference_state,
            law=law_state,
            feedforward=feedforward_state,
            u=u,
            dither=given.dither,
            share=u - given.added,
            recent=last.remembered(given),
            applied=0.0,
            elapsed=0.0,
        )
        return spoken, Trace(
            t=t,
            y=y,
            r=r,
            e=r - y,
            v=v,
            u=u,
            terms=terms,
            saturated=u != v,
            held=False,
            estimates=self.law.estimates(law_state),
            dead_time=self.dead_time,
        )

    def _noise(self, telemetry: Mapping[str, float]) -> float | None:
        """Standard error of the measurement, if it is told and no filter has changed it."""
        error = telemetry.get(f"{self.sensor}/{STANDARD_ERROR}", nan)
        return float(error) if isinstance(self.filter, Hold) and isfinite(error) and error > 0 else None

    def _in_units(self, command: float) -> float:
        return (command - self.origin) / self.unit

    def _law_step(self, state: State, sample: Sample) -> tuple[State, Terms]:
        """The law's step with its terms in the actuator's unit."""
        state, terms = self.law.step(state, sample)
        if self.unit != 1:
            terms = {name: self.unit * term for name, term in terms.items()}
        return state, terms | ({"origin": self.origin} if self.origin else {})

    def _hold(self, last: LoopState, t: int, *, y: float, r: float) -> tuple[LoopState, Trace]:
        """Wait with the mean of the recent commands, once a control instant is missed."""
        u, dither, dt = last.u, last.dither, last.elapsed + 1.0
        if dt >= self.period and last.recent:
            usual = last.usual()
            u, dither = self._applied(usual.u, last.u), usual.dither
        waiting = last._replace(u=u, dither=dither, applied=last.applied + last.u, elapsed=dt)
        return waiting, self._kept(waiting, t, y=y, r=r, held=True)

    def _added_so_far(self, last: LoopState) -> float:
        """Mean of what others than the law added since the last control instant: its own, and what a hold kept."""
        if not last.recent:
            return 0.0
        lost = last.elapsed + 1.0 - self.period
        own, kept = PastCommand(*last.recent[-1]).added, last.usual().added if lost else 0.0
        return float((self.period * own + lost * kept) / (last.elapsed + 1.0))

    def _kept(self, state: LoopState, t: int, *, y: float, r: float, held: bool) -> Trace:
        """Trace of an iteration at which the law did not speak."""
        u, dither, e = state.u, state.dither, r - y
        terms = {} if self.dither is None else {"kept": u - dither, "dither": dither}
        return Trace(
            t=t, y=y, r=r, e=e, v=u, u=u, terms=terms, saturated=False, held=held, dead_time=self.dead_time
        )

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
        return float(min(max(self.inside(v), last_u - self.slew), last_u + self.slew))


def replay(loop: FeedbackLoop, telemetries: Iterable[Mapping[str, float]]) -> list[Trace]:
    """What the loop would have commanded, from its first step on, given recorded telemetry."""
    state, traces = loop.init(), []
    for t, telemetry in enumerate(telemetries):
        state, trace = loop.step(state, telemetry, t)
        traces.append(trace)
    return traces
