"""Coordinates of the error: in nats, as a share of the reference, or as a log-ratio.

The push of an actuator on entropy is roughly proportional to the entropy there is, so a gain found
at 1 nat is far too timid at 0.1 nats.  In relative or log coordinates the same gain serves both.
"""

from __future__ import annotations

from math import log
from typing import Literal

Coordinates = Literal["absolute", "relative", "log"]

COORDINATES = ("absolute", "relative", "log")

FLOOR_NATS = 1e-6
"""Below this a reading counts as this in a ratio: a collapsed policy gives a large error, not an
infinite one."""


def error_in(coordinates: Coordinates, *, r: float, y: float) -> float:
    """Error between reference and measurement; positive when entropy is too low.

    absolute  r − y            [nats/token]
    relative  (r − y) / r      [1]; at most 1, however low the entropy
    log       ln(r / y)        [1]; symmetric: half and double the reference are equally wrong
    """
    if coordinates == "absolute":
        return r - y
    if coordinates == "relative":
        return (r - y) / max(r, FLOOR_NATS)
    return log(max(r, FLOOR_NATS) / max(y, FLOOR_NATS))
