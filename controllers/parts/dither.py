"""Dither: a small known movement added to a command, so that its effect can be distinguished from noise.

Feedback makes command and entropy depend on each other; only a movement from outside the
loop shows the command's own effect.  A dither depends on the iteration alone, so a run that is
resumed moves the same; runs of other seeds begin at another place of it (``of_run``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import cos, inf, pi
from typing import ClassVar

import numpy as np

from controllers.base import Dither


@dataclass(frozen=True, slots=True, kw_only=True)
class PRBS(Dither):
    """Pseudo-random binary sequence: ±amplitude, switching at multiples of ``hold`` by a shift register.

    Its spectrum is flat up to about 1 / (2.3 · hold) cycles an iteration; it repeats after
    ``hold · (2^bits − 1)`` iterations, with a mean of amplitude / (2^bits − 1).  It has the most power
    of all signals between two limits.
    """

    kind: ClassVar[str] = "prbs"

    amplitude: float
    """Half of the distance between the two levels [actuator's unit]."""

    hold: int = 2
    """Iterations that a level lasts at least.  Longer looks at slower behaviour."""

    bits: int = 6
    """Length of the shift register, 3 to 16."""

    seed: int = 1
    """Start of the register, 1 to 2^bits − 1: another one is the same sequence from another place."""

    start: int = 0
    """First iteration with dither."""

    def __post_init__(self) -> None:
        _check(self.amplitude, self.start)
        if self.hold < 1:
            raise ValueError(f"hold must be >= 1, got {self.hold}")
        if not 3 <= self.bits <= 16:
            raise ValueError(f"bits must be in [3, 16], got {self.bits}")
        if not 1 <= self.seed < 2**self.bits:
            raise ValueError(f"seed must be in [1, 2^bits - 1] = [1, {2**self.bits - 1}], got {self.seed}")

    def value(self, t: int) -> float:
        if t < self.start:
            return 0.0
        levels = _levels(self.bits, self.seed)
        return self.amplitude * levels[(t - self.start) // self.hold % len(levels)]

    def of_run(self, seed: int) -> PRBS:
        """Another start of the register for each of the first 2^bits − 1 seeds."""
        return replace(self, seed=1 + (self.seed - 1 + seed) % (2**self.bits - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Multisine(Dither):
    """Sum of sines of equal size between two periods, with phases that keep the peak low (Schroeder 1970).

    All of its power is in the band that is asked for, where a PRBS spends some on the switching.  The
    frequencies are multiples of 1 / ``longest_period``, so it repeats after that many iterations.
    """

    kind: ClassVar[str] = "multisine"

    amplitude: float
    """Largest excursion [actuator's unit]."""

    shortest_period: float = 4.0
    """Period of the fastest sine [iterations], above 2."""

    longest_period: float = 64.0
    """Period of the slowest sine [iterations]."""

    start: int = 0
    """First iteration with dither."""

    shift: float = 0.0
    """Iterations into the repetition that it begins at."""

    def __post_init__(self) -> None:
        _check(self.amplitude, self.start)
        if not self.shortest_period > 2:
            raise ValueError(f"shortest_period must be > 2, got {self.shortest_period}")
        if not self.shortest_period <= self.longest_period < inf:
            raise ValueError(
                f"longest_period must be >= shortest_period = {self.shortest_period} and finite, "
                f"got {self.longest_period}"
            )
        if not 0 <= self.shift < inf:
            raise ValueError(f"shift must be >= 0 and finite, got {self.shift}")

    def value(self, t: int) -> float:
        if t < self.start:
            return 0.0
        peak = _peak(self.shortest_period, self.longest_period)
        place = t - self.start + self.shift
        return self.amplitude / peak * _sines(place, self.shortest_period, self.longest_period)

    def of_run(self, seed: int) -> Multisine:
        """A golden section of the repetition further for each seed, so that no two begin close together."""
        shift = (self.shift + seed * GOLDEN * self.longest_period) % self.longest_period
        return replace(self, shift=shift) if seed else self


GOLDEN = (5**0.5 - 1) / 2

DITHERS: dict[str, type[Dither]] = {part.kind: part for part in Dither.__subclasses__()}


@cache
def _levels(bits: int, seed: int) -> tuple[int, ...]:
    from scipy.signal import max_len_seq  # half a second to import, and most loops have no dither

    state = [seed >> bit & 1 for bit in range(bits)]
    sequence = max_len_seq(bits, state=np.array(state))[0]
    return tuple(2 * int(level) - 1 for level in sequence)


def _sines(t: float, shortest: float, longest: float) -> float:
    num = int(longest / shortest)
    return sum(cos(2 * pi * k * t / longest - pi * k * (k - 1) / num) for k in range(1, num + 1))


@cache
def _peak(shortest: float, longest: float) -> float:
    """Largest excursion over one repetition, between iterations too."""
    return max(abs(_sines(t, shortest, longest)) for t in np.arange(0.0, longest, 0.1))


def _check(amplitude: float, start: int) -> None:
    if not 0 < amplitude < inf:
        raise ValueError(f"amplitude must be > 0 and finite, got {amplitude}")
    if start < 0:
        raise ValueError(f"start must be >= 0, got {start}")
