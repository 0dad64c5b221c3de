"""A command that doubles or halves by the sign of the error, and changes its own sign at its smallest."""

from __future__ import annotations

from dataclasses import dataclass
from math import copysign, inf
from typing import ClassVar, NamedTuple

from controllers.base import Law, Sample, State, Terms


class DoublingState(NamedTuple):
    """The memory."""

    command: float
    """v of the next control instant [actuator's unit]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubling(Law):
    """v times ``factor`` towards what the error asks for, and v divided by it where v is of the other sign.

        e > 0:  v ← min(v · factor, largest) if v > 0, else v / factor, and +smallest where |v / factor| < smallest
        e < 0:  the same with the signs turned round;    e = 0: v stays

    No windup: where limits or slew let through less of v, of the same sign, the move starts from that, but from
    ``smallest`` at the least.

    REPO's controller (2603.11682): its ζ is doubled or halved by entropy against that of the start, and changes
    sign at the smallest [from notes, METHODS 8.15, unverified].  It spans orders of magnitude in few iterations, so no
    step size has to be known; by the sign of the error alone it ends in a limit cycle.  One move a control instant,
    whatever ``dt`` is.  The command of an instant is the one that its own error has moved.
    """

    kind: ClassVar[str] = "doubling"

    initial: float
    """Command before the first move; its size is within the limits below [actuator's unit]."""

    smallest: float
    """Smallest size of the command, above 0, at which it changes its sign [actuator's unit]."""

    largest: float
    """Largest size of the command [actuator's unit]."""

    factor: float = 2.0
    """What a move multiplies or divides by, above 1."""

    def __post_init__(self) -> None:
        if not 0 < self.smallest < inf:
            raise ValueError(f"smallest must be > 0 and finite, got {self.smallest}")
        if not self.smallest <= self.largest < inf:
            raise ValueError(f"largest must be >= smallest = {self.smallest} and finite, got {self.largest}")
        if not self.smallest <= abs(self.initial) <= self.largest:
            raise ValueError(
                f"initial must have a size in [smallest, largest] = [{self.smallest}, {self.largest}], got {self.initial}"
            )
        if not 1 < self.factor < inf:
            raise ValueError(f"factor must be > 1 and finite, got {self.factor}")

    def init(self) -> DoublingState:
        return DoublingState(command=self.initial)

    def step(self, state: State, sample: Sample) -> tuple[DoublingState, Terms]:
        (v,) = DoublingState(*state)
        # a command of exactly 0 is one that has not been yet, or a limit that ends there
        let_through = sample.u or min(max(v, sample.low), sample.high)
        if v * let_through >= 0 and abs(let_through) < abs(v):
            v = copysign(max(abs(let_through), self.smallest), v)
        if sample.e > 0:
            v = self._raised(v)
        elif sample.e < 0:
            v = -self._raised(-v)
        return DoublingState(command=v), {"memory": v}

    def _raised(self, v: float) -> float:
        if v > 0:
            return min(v * self.factor, self.largest)
        return v / self.factor if -v / self.factor >= self.smallest else self.smallest
