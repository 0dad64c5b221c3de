"""The state of a loop: all that changes in it, how much of it other limits leave, and how it comes back from a file."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import Any, NamedTuple

from controllers.base import State

HOLD_COMMANDS = 10
"""Commands whose mean a hold keeps: the last one alone has the noise of one reading in it."""


class PastCommand(NamedTuple):
    """A command that was not held."""

    u: float
    """The command [actuator's unit]."""
    dither: float
    """The dither's share of it."""
    added: float
    """All that others than the law added to it, the dither among them."""


class LoopState(NamedTuple):
    """All that changes in a loop: tuples of floats, as every state."""

    filter: State
    reference: State
    law: State
    feedforward: State
    u: float
    """Command in force [actuator's unit]."""
    dither: float
    """The dither's share of it."""
    share: float
    """The law's share of the command of the last control instant."""
    recent: tuple[tuple[float, float, float], ...]
    """The last commands that were not held, oldest first, each as `PastCommand`."""
    applied: float
    """Sum of the commands since the last control instant, without the one in force."""
    elapsed: float
    """Iterations since the last control instant."""

    def within(self, low: float, high: float, *, acted: bool = True) -> LoopState:
        """The same state with its command inside limits, which may have become narrower since it was given.

        What they cut off is the law's.  If the command ``acted`` before the limits changed it counts as applied, whole,
        for the iteration that has just ended.  If not, what is left of it acts in what is read next, and counts alone.
        """
        u = min(max(self.u, low), high)
        cut = self.u - u
        if not cut:
            return self
        return self._replace(u=u, share=self.share - cut, applied=self.applied + (cut if acted else 0.0))

    def remembered(self, given: PastCommand) -> tuple[tuple[float, float, float], ...]:
        """``recent`` with one command more."""
        return (*self.recent, given)[-HOLD_COMMANDS:]

    def usual(self) -> PastCommand:
        """The mean of the recent commands, of which there must be one."""
        return PastCommand(*(_mean(each) for each in zip(*self.recent, strict=True)))


def restore(jsonable: Sequence[Any]) -> State:
    """The state as plain tuples, of one with names or of what a JSON file or a checkpoint gave back as lists.

    A state of any part will do, as well as a loop's.
    """
    return tuple(restore(item) if isinstance(item, (list, tuple)) else float(item) for item in jsonable)


def fits(stored: State, fresh: State) -> bool:
    """Whether a stored state of a loop has the items of a fresh one, or is another loop's or version's.

    The same goes for those of its parts whose items have names; others, as a window of readings, may grow.
    """
    return len(stored) == len(fresh) and all(
        not hasattr(new, "_fields") or (isinstance(old, Sequence) and len(old) == len(new))
        for old, new in zip(stored, fresh, strict=True)
    )


def _mean(values: Sequence[float]) -> float:
    """The mean; exactly the value where all are the same."""
    return values[0] + fsum(value - values[0] for value in values) / len(values)
