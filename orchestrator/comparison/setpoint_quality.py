"""Control quality of the main loop of each arm: the figures of `controllers.quality.quality`, one per run."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from controllers.quality.quality import (
    effort,
    iae_nats,
    mean,
    offset_nats,
    overshoot_nats,
    tail,
)
from orchestrator.comparison.summary import Estimate, Summary
from orchestrator.storage.run_data import ArmRecords, Array, sensed, setpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class SetpointQuality:
    """Figures of an arm's main loop over seeds; all nan where it has no setpoint."""

    arm: str
    rmse: Estimate  # nats/token, unfiltered reading against setpoint, whole run
    hold_error: Estimate  # fraction of the setpoint, last quarter
    iae: Estimate  # nats/token · iterations
    overshoot: Estimate  # nats/token
    offset: Estimate  # fraction of the setpoint, mean error over the last quarter: positive is too low
    settling: Estimate  # iterations, of the mean of five readings
    effort: Estimate  # path length of the command [actuator's unit]
    saturation: Estimate  # share of iterations
    harris: Estimate  # mean square error over the least that noise and delay allow, last half
    dead_time: int | None  # iterations, that harris goes by; None: 1 was assumed


def setpoint_quality(arm: ArmRecords, summary: Summary) -> SetpointQuality:
    """Control quality of an arm, from its ended runs and its summary."""
    signals = [(sensed(run), setpoint(run)) for run in arm.over]
    return SetpointQuality(
        arm=arm.name,
        rmse=summary.rmse,
        hold_error=summary.hold_error,
        iae=Estimate(tuple(iae_nats(y, r) for y, r in signals)),
        overshoot=Estimate(tuple(overshoot_nats(y, r) for y, r in signals)),
        offset=Estimate(tuple(_offset(y, r) for y, r in signals)),
        settling=summary.settling,
        effort=Estimate(tuple(effort(run.train.get(f"loop/{run.main_loop}/u")) for run in arm.over)),
        saturation=summary.saturation,
        harris=summary.harris,
        dead_time=summary.dead_time,
    )


def _offset(y: Array, r: Array) -> float:
    """Mean error of the last quarter as a share of the mean setpoint there."""
    level = mean(tail(r))
    return offset_nats(y, r) / level if level else nan
