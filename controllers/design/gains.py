"""Designs a law from a plant and a specification, with its predicted behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt

import numpy as np

from controllers.base import Filter
from controllers.design.authority import NUM_SIGMA, require_authority
from controllers.design.gain_search import Gains, GainSearch, Structure
from controllers.design.margins import Margins, loop_margins
from controllers.design.response import horizon, minimum_variance, noise_variances, spectral_radius, steps
from controllers.design.specifications import Specification
from controllers.design.transfer import Loop, gain_in_z
from controllers.laws.pid import PID
from controllers.plants.plant import Plant


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Predictions of linear theory for a loop on its plant, to be compared with a run."""

    settling_iterations: float
    """Until a step of the reference is 95 % done; inf when it never is."""

    recovery_iterations: float
    """Until a step of the drift is 95 % forgotten."""

    overshoot_fraction: float
    """Excursion beyond a step of the reference, as a share of it."""

    output_std: float
    """Standard deviation of z that noise leaves, about its mean [unit of z]."""

    output_std_nats: float
    """The same of the measurement, at the reference designed for [nats/token]."""

    command_std: float
    """Standard deviation of the command that noise causes [actuator's unit]."""

    harris_index: float
    """Variance of z over the least that any law can reach; 1 is the best there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A law for a plant, with its margins and what it promises."""

    law: PID
    """In the plant's coordinates, ready for a loop."""

    specification: Specification
    """What was asked for."""

    structure: Structure
    """Gains that were allowed to differ from 0."""

    margins: Margins
    """Margins of the loop of law, filter and plant."""

    promise: Promise
    """What to expect of it while the command is inside of its limits."""

    holding_command: float
    """Command that keeps the measurement at the reference, which the law starts from [actuator's unit]."""


def design(
    plant: Plant,
    specification: Specification,
    *,
    structure: Structure = "pi",
    filter: Filter | None = None,
    r_nats: float | None = None,
    low: float = -inf,
    high: float = inf,
    num_sigma: float = NUM_SIGMA,
) -> Design:
    """The law that answers a specification on a plant, every iteration a control instant (period 1).

    ``r_nats`` is the reference it is for, the level of the plant unless given.  The law starts from the
    command that holds it there, and integral action learns the rest.  ``low`` and ``high`` are the limits
    of the command; ``num_sigma`` standard deviations of what noise makes of it have to fit between them and
    the holding command.

    Raises:
        DesignError: the specification cannot be met, or the limits do not hold the reference; with the cure.
    """
    r_nats = plant.level_nats if r_nats is None else r_nats
    search = GainSearch(plant=plant, structure=structure, filter=filter)
    gains = specification.gains(search)
    loop = search.close(gains)
    promised = promise(plant, loop, r_nats)
    authority = require_authority(
        plant, r_nats, low, high, command_std=promised.command_std, num_sigma=num_sigma
    )
    per_z = gain_in_z(plant, plant.coordinates, r_nats)
    law = PID(
        kp=gains.kp / per_z,
        ki=gains.ki / per_z,
        kd=gains.kd / per_z,
        bias=authority.holding_command,
        anti_windup=_anti_windup(gains),
        error=plant.coordinates,
    )
    return Design(
        law=law,
        specification=specification,
        structure=structure,
        margins=loop_margins(loop),
        promise=promised,
        holding_command=authority.holding_command,
    )


def promise(plant: Plant, loop: Loop, r_nats: float) -> Promise:
    """What one loop on a plant promises at a reference [nats/token]; all nan for one that is not stable."""
    radius = float(spectral_radius(loop.characteristic))
    if radius >= 1:
        return Promise(**dict.fromkeys(Promise.__dataclass_fields__, nan))
    answer = steps(loop, horizon(radius))
    output, command = (float(variance) for variance in noise_variances(loop))
    std = plant.noise_std * sqrt(output)
    nats_per_z = {"absolute": 1.0, "relative": plant.level_nats, "log": r_nats}[plant.coordinates]
    return Promise(
        settling_iterations=float(answer.settling),
        recovery_iterations=float(answer.recovery),
        overshoot_fraction=float(answer.overshoot),
        output_std=std,
        output_std_nats=std * nats_per_z,
        command_std=plant.noise_std * sqrt(command),
        harris_index=output / float(minimum_variance(loop.memory, plant.dead_time)),
    )


def _anti_windup(gains: Gains) -> float:
    """Anti-windup: back-calculation in sqrt(kp / ki) iterations.

    Åström and Hägglund (2006, 3.5) put that time between the derivative's and the integral's, at their
    geometric mean; one iteration takes the place of a derivative time that is shorter.
    """
    if gains.ki == 0 or not isfinite(gains.kp / gains.ki):
        return 1.0
    return float(np.clip(sqrt(gains.ki / gains.kp), 0.0, 1.0)) if gains.kp > 0 else 1.0
