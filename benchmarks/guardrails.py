"""What guardrails with their defaults say of recorded runs: a replay, so old runs are judged by today's rules.

For each run: its reward at first, at best and at last (means of ten iterations), an exclamation mark where half
of the best is gone, and for each detector the worst value that lasted for its patience, with the iteration where it
tripped first.  Then, for each detector, in how many runs it tripped, and in how many of those the reward
was gone.

    python benchmarks/guardrails.py runs/failures [runs/quickstart ...]
    python benchmarks/guardrails.py runs/loops --set stagnation.threshold=0.02    # with other settings than the defaults
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from math import inf, isfinite, nan
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from controllers.guardrails import DETECTORS  # noqa: E402
from controllers.guardrails.base import ENTROPY, SETPOINT, Detector  # noqa: E402
from controllers.guardrails.watch import Post, Watch  # noqa: E402
from orchestrator.storage.run_folder import RunFolder  # noqa: E402

WINDOW = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("campaigns", nargs="+", type=Path, help="folders of campaigns")
    parser.add_argument("--set", action="append", default=[], metavar="DETECTOR.SETTING=VALUE")
    given = parser.parse_args()
    detectors = {name: detector(**_settings(given.set, name)) for name, detector in DETECTORS.items()}
    paths = [path.parent for each in given.campaigns for path in each.glob("*/seed-*/run.json")]
    num_judged, lost_where_tripped = dict.fromkeys(DETECTORS, 0), {name: [] for name in DETECTORS}
    print(f"{'run':34}{'reward':^18} ", *(f"{name:>12}" for name in DETECTORS))
    for run in map(RunFolder, sorted(paths)):
        record = [each.metrics for each in run.records() if each.kind == "train"]
        if len(record) < WINDOW:
            continue
        first, best, last, is_lost = _rewards(record)
        cells = []
        for name, detector in detectors.items():
            worst, tripped_at = _replay(_posts(detector, run), record)
            cells.append(f"{worst:.2f}" + ("" if tripped_at is None else f" @{tripped_at}"))
            num_judged[name] += isfinite(worst)
            lost_where_tripped[name] += [] if tripped_at is None else [is_lost]
        name = f"{run.path.parent.name} {run.path.name.removeprefix('seed-')}"
        said = f"{first:.2f} {best:.2f} {last:.2f} {'!' if is_lost else ' '}"
        print(f"{name:34}{said:18} ", *(f"{cell:>12}" for cell in cells))
    for name, lost in lost_where_tripped.items():
        print(
            f"{name}: tripped in {len(lost)} of {num_judged[name]} runs; reward gone in {sum(lost)} of them"
        )


def _settings(given: Sequence[str], detector: str) -> dict[str, Any]:
    """What ``--set`` says of a detector."""
    pairs = (
        each.removeprefix(f"{detector}.").split("=") for each in given if each.startswith(f"{detector}.")
    )
    return {name: json.loads(value) for name, value in pairs}


def _rewards(record: Sequence[Mapping[str, float]]) -> tuple[float, float, float, bool]:
    """First, best and last mean of ten iterations, and whether half of the best is gone."""
    rewards = [each["reward"] for each in record]
    means = [mean(rewards[k : k + WINDOW]) for k in range(len(rewards) - WINDOW + 1)]
    return means[0], max(means), means[-1], means[-1] < max(means) / 2


def _posts(detector: Detector, run: RunFolder) -> Iterator[Post]:
    """Detectors of entropy look at each loop with a setpoint, or else at the policy's entropy."""
    loops = run.read_info().config["loops"] if ENTROPY in detector.reads else {}
    held = {name: each for name, each in loops.items() if each["reference"].get("kind") != "none"}
    for name, loop in held.items():
        readings = {ENTROPY: loop["sensor"], SETPOINT: f"loop/{name}/r"}
        yield Post(detector=detector, readings=readings, subject=name)
    if not held:
        yield Post(detector=detector)


def _replay(posts: Iterator[Post], record: Sequence[Mapping[str, float]]) -> tuple[float, int | None]:
    """The worst value that lasted, and the iteration of the first alarm; nan and None where there was nothing."""
    watch = Watch(posts=tuple(posts))
    state, most, worst, tripped_at = watch.init(), -inf, nan, None
    for iteration, telemetry in enumerate(record):
        state, readings = watch.step(state, telemetry)
        for post, reading in readings:
            if reading.sustained > most:
                most = reading.sustained
                worst = reading.limit + (most if post.detector.direction == "above" else -most)
            if reading.tripped and tripped_at is None:
                tripped_at = iteration
    return worst, tripped_at


if __name__ == "__main__":
    main()
