"""Whether the loops of recorded runs held their setpoints: a Markdown row for each loop of each arm.

With z = ln(y / r), y the loop's reading before its filter and r its setpoint:

    held      RMS of z over the last 35 % of the run at most ln 1.1, and never a factor of two beyond r, seen from the
              start, as in `benchmarks.new_plants` but without an oracle
    RMS, offset   root mean square and mean of y / r − 1 over the last half, in %; a positive offset is too high
    IAE       sum of |y / r − 1|
    movement  mean change of the command from one iteration to the next, in its unit

± is the standard deviation over seeds, and – what nothing tells, as without a setpoint.  ``said`` is what keeps the
loop from its setpoint by its own law, with the iteration at which each seed said so.  Only ended runs count.

    python benchmarks/held.py runs/auto [runs/auto_smollm2 ...] [--setpoint 0.2]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import log, nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from controllers.guardrails import DETECTORS  # noqa: E402
from controllers.quality.quality import effort, mean, relative_rmse, tail  # noqa: E402
from orchestrator.storage.run_data import ArmRecords, RunRecords, load_campaign, loop_names  # noqa: E402
from orchestrator.storage.run_folder import CampaignFolder  # noqa: E402

LAST = 0.35
"""Share of a run, at its end, in which it is asked whether the setpoint is held."""

COLUMNS = ("arm", "loop", "law", "seeds", "held", "RMS, %", "offset, %", "IAE", "movement", "said")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Figures of one loop of one run."""

    held: bool | None
    """None where there is no setpoint to hold."""
    rms: float
    """Root mean square of y / r − 1 over the last half."""
    offset: float
    """Mean of y / r − 1 over the last half."""
    iae: float
    movement: float
    """Mean |u_t − u_{t−1}| [the actuator's unit]."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("campaigns", nargs="+", type=Path, help="folders of campaigns")
    parser.add_argument(
        "--setpoint", type=float, help="nats that a loop without a setpoint of its own is judged by"
    )
    given = parser.parse_args(arguments)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for path in given.campaigns:
        for arm in load_campaign(CampaignFolder(path)).arms:
            for row in rows(arm, given.setpoint):
                print("| " + " | ".join(row) + " |")


def rows(arm: ArmRecords, setpoint: float | None) -> list[list[str]]:
    """The cells of each loop of an arm; none without an ended run."""
    found = []
    for loop in loop_names(arm.over[0]) if arm.over else []:
        figures = [figures_of(*signals(run, loop, setpoint)) for run in arm.over]
        law = arm.over[0].info.config["loops"][loop]["law"]["kind"]
        found.append(
            [
                *(arm.name, loop, law),
                ", ".join(str(run.info.seed) for run in arm.over),
                _held(figures),
                _over_seeds([100 * each.rms for each in figures], ".1f"),
                _over_seeds([100 * each.offset for each in figures], "+.1f"),
                _over_seeds([each.iae for each in figures], ".1f"),
                _over_seeds([each.movement for each in figures], ".3f"),
                _said(arm.over, loop),
            ]
        )
    return found


def signals(
    run: RunRecords, loop: str, setpoint: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Reading, setpoint and command of a loop, an entry an iteration; ``setpoint`` where the loop has none."""
    y = run.train.get(run.info.config["loops"][loop]["sensor"])
    r = run.train.get(f"loop/{loop}/r")
    if setpoint is not None:
        r = np.where(np.isfinite(r), r, setpoint)
    return y, r, run.train.get(f"loop/{loop}/u")


def figures_of(y: NDArray[np.float64], r: NDArray[np.float64], u: NDArray[np.float64]) -> Held:
    """What the docstring of this file defines."""
    z = np.log(np.maximum(y, 1e-6) / r)
    known = z[np.isfinite(z)]
    beyond = (-np.where(known[0] < 0, -1.0, 1.0) * known).max() if known.size else nan
    has_setpoint = np.isfinite(r).any()
    holds = bool(np.sqrt(mean(tail(z, LAST) ** 2)) <= log(1.1) and beyond < log(2))
    return Held(
        held=holds if has_setpoint else None,
        rms=relative_rmse(tail(y, 0.5), tail(r, 0.5)),
        offset=mean(tail(y / r, 0.5) - 1),
        iae=float(np.nansum(np.abs(y / r - 1))) if has_setpoint else nan,
        movement=effort(u) / max(np.isfinite(u).sum() - 1, 1),
    )


def _held(figures: Sequence[Held]) -> str:
    judged = [each.held for each in figures if each.held is not None]
    return f"{sum(judged)} of {len(judged)}" if judged else "–"


def _over_seeds(values: Sequence[float], digits: str) -> str:
    if np.isnan(values).all():
        return "–"
    spread = f" ± {np.std(values, ddof=1):{digits.removeprefix('+')}}" if len(values) > 1 else ""
    return f"{np.mean(values):{digits}}{spread}"


def _said(runs: Sequence[RunRecords], loop: str) -> str:
    """Kinds of what the law said of itself, each with the iterations at which a seed said it first."""
    kinds: dict[str, list[str]] = {}
    for run in runs:
        for event in run.events:
            if event.subject == loop and event.detector not in DETECTORS:
                kinds.setdefault(event.detector, []).append(str(event.iteration))
    return "; ".join(f"{kind} at {', '.join(at)}" for kind, at in kinds.items()) or "–"


if __name__ == "__main__":
    main()
