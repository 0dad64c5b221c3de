"""How well the main loop of each arm did: the figures of `controllers.quality`, one a run."""

from __future__ import annotations

from dataclasses import dataclass

from controllers.quality import effort, iae_nats, offset_nats, overshoot_nats, rmse_nats
from orchestrator.comparison.summary import Estimate, hold_error, saturation, settling
from orchestrator.storage.run_data import Arm, main_loop, sensed, setpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Figures of an arm's main loop over seeds; all nan where it has no setpoint."""

    arm: str
    rmse: Estimate  # nats/token, unfiltered reading against setpoint, whole run
    hold_error: Estimate  # fraction of the setpoint, last quarter
    iae: Estimate  # nats/token · iterations
    overshoot: Estimate  # nats/token
    offset: Estimate  # nats/token, mean error over the last quarter
    settling: Estimate  # iterations
    effort: Estimate  # path length of the command [actuator's unit]
    saturation: Estimate  # share of iterations


def tracking(arm: Arm) -> Tracking:
    """From the arm's finished runs."""
    signals = [(run, sensed(run), setpoint(run), f"loop/{main_loop(run)}") for run in arm.done]
    return Tracking(
        arm=arm.name,
        rmse=Estimate(tuple(rmse_nats(y, r) for _, y, r, _ in signals)),
        hold_error=Estimate(tuple(hold_error(run) for run, *_ in signals)),
        iae=Estimate(tuple(iae_nats(y, r) for _, y, r, _ in signals)),
        overshoot=Estimate(tuple(overshoot_nats(y, r) for _, y, r, _ in signals)),
        offset=Estimate(tuple(offset_nats(y, r) for _, y, r, _ in signals)),
        settling=Estimate(tuple(settling(run) for run, *_ in signals)),
        effort=Estimate(tuple(effort(run.train.get(f"{loop}/u")) for run, _, _, loop in signals)),
        saturation=Estimate(tuple(saturation(run) for run, *_ in signals)),
    )
