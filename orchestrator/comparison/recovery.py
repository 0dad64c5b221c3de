"""Effect of a phase that changes the plant on every loop, and the time until the loop has recovered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from controllers.quality.quality import iae_nats, largest_excursion, recovery_iterations, relative_rmse
from orchestrator.comparison.summary import SETTLING_TOLERANCE, Estimate
from orchestrator.storage.run_data import ArmRecords, Array, RunRecords, loop_names

WINDOW = 5  # readings in the moving mean that has to come back
NEAR = 20  # iterations before a change that say what is usual, and at the end of its phase that say what it led to


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One loop of an arm around one change of its plant, over seeds."""

    arm: str
    loop: str
    at: int  # first iteration of the phase
    before: Estimate  # fraction of the setpoint, root mean square, over the iterations before
    excursion: Estimate  # fraction of the setpoint, largest of the moving mean from the change on
    iterations: Estimate  # from the change to the end of the last excursion; nan where there is none
    iae: Estimate  # nats/token · iterations, from the change to the next or the end
    after: Estimate  # fraction of the setpoint, root mean square, over the last of these iterations


def recoveries(arm: ArmRecords) -> tuple[Recovery, ...]:
    """Every loop with a setpoint around every phase that begins after the start, from ended runs."""
    if not arm.over:
        return ()
    config = arm.over[0].info.config
    changes = sorted(int(phase["start"]) for phase in config.get("phases") or () if phase["start"] > 0)
    ends = [*changes, None][1:]
    found = []
    for loop in loop_names(arm.over[0]):
        signals = [_signals(run, loop) for run in arm.over]
        if any(np.isfinite(r).any() for _, r in signals):
            found += [
                _recovery(arm.name, loop, at, [(y[:end], r[:end]) for y, r in signals])
                for at, end in zip(changes, ends, strict=True)
            ]
    return tuple(found)


def _recovery(arm: str, loop: str, at: int, signals: Sequence[tuple[Array, Array]]) -> Recovery:
    known = [(y, r) for y, r in signals if y.size > at]

    def over_seeds(figure: Any) -> Estimate:
        return Estimate(tuple(float(figure(y, r)) for y, r in known))

    start = max(0, at - NEAR)
    return Recovery(
        arm=arm,
        loop=loop,
        at=at,
        before=over_seeds(lambda y, r: relative_rmse(y[start:at], r[start:at])),
        excursion=over_seeds(lambda y, r: largest_excursion(y[at:], r[at:], WINDOW)),
        iterations=over_seeds(lambda y, r: recovery_iterations(y, r, at, SETTLING_TOLERANCE, WINDOW, NEAR)),
        iae=over_seeds(lambda y, r: iae_nats(y[at:], r[at:])),
        after=over_seeds(lambda y, r: relative_rmse(y[at:][-NEAR:], r[at:][-NEAR:])),
    )


def _signals(run: RunRecords, loop: str) -> tuple[Array, Array]:
    """Unfiltered reading and setpoint of a loop at every iteration from 0 on, nan where there is none."""
    settings: Mapping[str, Any] = (run.info.config.get("loops") or {}).get(loop) or {}
    raw = run.train.get(str(settings.get("sensor", "")))
    y = raw if np.isfinite(raw).any() else run.train.get(f"loop/{loop}/y")
    return _by_iteration(run, y), _by_iteration(run, run.train.get(f"loop/{loop}/r"))


def _by_iteration(run: RunRecords, values: Array) -> Array:
    steps = run.train.steps
    signal = np.full(int(steps[-1]) + 1 if steps.size else 0, np.nan)
    signal[steps] = values
    return signal
