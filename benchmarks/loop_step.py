"""What one step of a feedback loop costs, for every law and for the loops with the most parts.

A step is plain Python on floats.  Each loop runs against a noisy integrator; the time is the median over
steps, the best of several rounds.

    python benchmarks/loop_step.py [--quick]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from controllers import LAWS, PID, PRBS, Cascade, Constant, CovarianceFeedforward, FeedbackLoop  # noqa: E402
from controllers.base import Law  # noqa: E402
from controllers.parts.filters import EMA  # noqa: E402

GOAL_MICROSECONDS = 50.0
SETTINGS: dict[str, dict[str, object]] = {
    "auto": {},
    "open_loop": {"value": 0.1},
    "pid": {"kp": 1.0, "ki": 0.05, "kd": 0.3, "error": "log"},
    "increment": {"step_size": 0.01, "low": 0.0, "high": 1.0, "initial": 0.0},
    "dual_ascent": {"space": "log", "rate": 0.01, "initial": 0.01},
    "log_ratio": {"vocabulary_size": 32000},
    "relay": {"up": 0.1, "down": -0.1},
    "doubling": {"initial": 0.01, "smallest": 0.001, "largest": 1.0},
    "scheduled_pid": {"pid": PID(kp=1.0, ki=0.05, error="log"), "learning_rate_reference": 3e-4},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    arguments = parser.parse_args()
    rounds, steps = (3, 1000) if arguments.quick else (10, 5000)
    missing = sorted(set(LAWS) - set(SETTINGS))
    assert not missing, f"laws without settings here: {', '.join(missing)}"
    loops = {kind: _loop(LAWS[kind](**SETTINGS[kind])) for kind in LAWS}
    full = replace(
        loops["auto"],
        filter=EMA(decay=0.5),
        reference=Cascade(initial_nats=0.2, low_nats=0.1, high_nats=0.4, gain=5.0, relaxation=0.01),
        feedforward=CovarianceFeedforward(limit=0.5),
        dither=PRBS(amplitude=0.1),
        slew=0.1,
        dead_band_nats=0.001,
    )
    loops["auto, every part"] = full
    for name, loop in loops.items():
        cost = 1e6 * min(_seconds(loop, steps) for _ in range(rounds))
        bound = "within" if cost <= GOAL_MICROSECONDS else "above"
        print(f"{name:26}{cost:8.1f} µs   ({bound} the goal of {GOAL_MICROSECONDS:.0f} µs)")


def _loop(law: Law) -> FeedbackLoop:
    return FeedbackLoop(
        sensor="entropy",
        reference=Constant(value_nats=0.2),
        law=law,
        actuator="bonus",
        low=-1.0,
        high=1.0,
        neutral=0.0,
    )


def _seconds(loop: FeedbackLoop, steps: int) -> float:
    """Median time of a step, so that what else the machine does is in none or in few of them."""
    rng, state, y, times = random.Random(0), loop.init(), 0.3, []
    for t in range(steps):
        readings = {
            "entropy": y,
            "pass_rate": 0.5,
            "learning_rate": 3e-4,
            "entropy/predicted_change": -0.01,
            "entropy/bonus_effect": 0.05,
        }
        start = time.perf_counter()
        state, trace = loop.step(state, readings, t)
        times.append(time.perf_counter() - start)
        y = max(0.01, y + 0.02 * trace.u - 0.004 + rng.gauss(0, 0.01))
    return statistics.median(times)


if __name__ == "__main__":
    main()
