"""Checks whether the actuator can hold the target at all: no gain helps if the limits do not allow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan, sqrt

import numpy as np

from controllers.design.errors import DesignError
from controllers.plants.plant import Plant

INTEGRATES = 1e-9
"""A plant whose memory adds up to 1 within this has no level of its own."""

NUM_SIGMA = 2.0
"""Standard deviations of the command's noise between the holding command and a limit: with 2, noise takes the
command to a limit one time in twenty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """What it takes to hold a reference, beside what there is."""

    holding_command: float
    """Command that keeps the measurement at the reference on average [actuator's unit]."""

    holding_command_error: float
    """Standard error of it, from the plant's uncertainty [actuator's unit]."""

    low: float
    """Lowest command [actuator's unit]."""

    high: float
    """Highest command [actuator's unit]."""

    room: float
    """Least distance from the holding command to a limit; negative when it is beyond [actuator's unit]."""

    needed_room: float
    """Distance that the noise in the command asks for [actuator's unit]."""

    @property
    def able(self) -> bool:
        """The holding command is inside of the limits, with room for the noise of the command."""
        return self.room >= self.needed_room


def authority(
    plant: Plant,
    r_nats: float,
    low: float,
    high: float,
    *,
    command_std: float = 0.0,
    num_sigma: float = NUM_SIGMA,
) -> Authority:
    """Whether commands in [low, high] hold the measurement at ``r_nats``.

    ``command_std`` is what noise does to the command; ``num_sigma`` of it have to fit between the holding
    command and the nearer limit.
    """
    if not low <= high:
        raise ValueError(f"low must be <= high = {high}, got {low}")
    if not r_nats > 0:
        raise ValueError(f"r_nats must be > 0, got {r_nats}")
    holding = plant.holding_command(r_nats)
    return Authority(
        holding_command=holding,
        holding_command_error=_holding_error(plant, r_nats, holding),
        low=low,
        high=high,
        room=min(holding - low, high - holding),
        needed_room=num_sigma * command_std,
    )


def require_authority(
    plant: Plant,
    r_nats: float,
    low: float,
    high: float,
    *,
    command_std: float = 0.0,
    num_sigma: float = NUM_SIGMA,
    others: tuple[str, ...] = (),
) -> Authority:
    """The authority over ``r_nats``, or a DesignError that says what is missing.

    ``others`` are actuators that could do it (`able`); the message names them.
    """
    found = authority(plant, r_nats, low, high, command_std=command_std, num_sigma=num_sigma)
    if found.able:
        return found
    reachable = reachable_range(plant, low + found.needed_room, high - found.needed_room)
    cure = f"choose a target in {_interval(*reachable)}" if reachable else "lower the learning rate"
    cure += ", widen the limits" + (f", or use {' or '.join(others)}, which can" if others else "")
    need = f"holding {r_nats:g} nats/token takes a command of {found.holding_command:.4g}"
    if found.room < 0:
        limit, side = (high, "highest") if found.holding_command > high else (low, "lowest")
        drift = "entropy falls" if found.holding_command > high else "entropy rises"
        change = plant.coordinate(r_nats) * (sum(plant.a) - 1.0) + plant.drift + sum(plant.b) * limit
        raise DesignError(
            f"{need}, but the {side} is {limit:g}, at which {drift} by {abs(change):.3g} an iteration "
            f"({plant.coordinates} coordinates): {cure}"
        )
    raise DesignError(
        f"{need} with {found.needed_room:.3g} to spare for noise, and in [{low:g}, {high:g}] there are "
        f"{found.room:.3g}: {cure}, or ask for a calmer law"
    )


def reachable_range(plant: Plant, low: float, high: float) -> tuple[float, float] | None:
    """References that commands in [low, high] hold, lowest and highest [nats/token]; None when there is none.

    They are those whose ``Plant.holding_command`` is in [low, high], also for an estimate whose memory adds
    up to a little more than 1.  A plant that integrates exactly holds any level or none: what counts
    there is drift against push.
    """
    rest, push = 1.0 - sum(plant.a), sum(plant.b)
    if not low <= high:
        return None
    at_limits = sorted(plant.drift + push * limit for limit in (low, high))
    if abs(rest) <= INTEGRATES:
        return (0.0, inf) if at_limits[0] <= 0 <= at_limits[1] else None
    lowest, highest = sorted(value / rest for value in at_limits)
    if isnan(lowest) or isnan(highest) or (plant.coordinates != "log" and highest <= 0):
        return None
    top = inf if highest == inf or (plant.coordinates == "log" and highest > 700) else plant.nats(highest)
    return (0.0 if lowest == -inf else plant.nats(lowest)), top


def able(
    plants: Mapping[str, Plant],
    limits: Mapping[str, tuple[float, float]],
    r_nats: float,
    *,
    command_std: Mapping[str, float] | None = None,
    num_sigma: float = NUM_SIGMA,
) -> tuple[str, ...]:
    """Names of the actuators that can hold ``r_nats``, most room in units of their range first."""
    deviations = command_std or {}
    found = {
        name: authority(
            plant, r_nats, *limits[name], command_std=deviations.get(name, 0.0), num_sigma=num_sigma
        )
        for name, plant in plants.items()
    }

    def share(name: str) -> float:
        span = found[name].high - found[name].low
        return found[name].room / span if 0 < span < inf else inf

    return tuple(sorted((name for name in found if found[name].able), key=share, reverse=True))


def _holding_error(plant: Plant, r_nats: float, holding: float) -> float:
    """Delta method on u = (z_r·(1 − Σa) − drift) / Σb."""
    if not plant.covariance:
        return 0.0
    slopes = np.array([-plant.coordinate(r_nats)] * len(plant.a) + [-holding] * len(plant.b) + [-1.0])
    slopes /= sum(plant.b)
    return sqrt(float(slopes @ np.array(plant.covariance) @ slopes))


def _interval(lowest: float, highest: float) -> str:
    return f"[{lowest:.3g}, {highest:.3g}] nats/token"
