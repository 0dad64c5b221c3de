"""Sensors of a user's own: functions of the whole batch of an iteration that give one number.

A run says once which it has (`use`); `measure` then reads them with the others.  Every rank is shown the whole batch,
so all of them read the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from policies.statistics.batch import TokenBatch

OWN = "own/"
"""What the names of their readings begin with."""

Sensor = Callable[[TokenBatch], float]

_in_use: dict[str, Sensor] = {}


def use(sensors: Mapping[str, Sensor]) -> None:
    """Read these from now on, and no others."""
    _in_use.clear()
    _in_use.update(sensors)


def own_readings(batch: TokenBatch) -> dict[str, float]:
    """The reading of each; nan says that there was nothing to read, and a loop holds.

    Raises:
        ValueError: one gives something else than a number.
    """
    found = {}
    for name, sensor in _in_use.items():
        value = sensor(batch)
        try:
            found[name] = float(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the sensor {name} must give one number, got {value!r:.60}; mend it") from error
    return found
