"""Comparing a thousand runs of two thousand iterations: time and peak memory of `entrostat compare`.

The campaign is synthetic: 100 arms with 10 seeds, 20 metrics an iteration and an evaluation every 100.  The
records of its runs are 50 different ones over and over, since making them takes longer than reading them.

    python benchmarks/comparison.py [--quick] [--keep FOLDER] [--no-columns]
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from orchestrator.storage.metrics_log import Record, encode  # noqa: E402
from orchestrator.storage.run_folder import (  # noqa: E402
    CampaignFolder,
    CampaignInfo,
    RunFolder,
    RunInfo,
    Status,
)
from orchestrator.storage.stored_columns import store_columns  # noqa: E402

GOAL_SECONDS, GOAL_MIB = 20.0, 1024.0
NUM_RECORDS = 50
LOOP = {"sensor": "entropy", "law": {"kind": "pid"}, "actuator": {"kind": "bonus"}, "limits": [-1.0, 1.0]}
OTHERS = ("grad_norm", "loss", "loss/objective", "ratio/approx_kl", "rollout/length", "seconds/iteration")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    parser.add_argument("--keep", type=Path, help="make the campaign here, or use the one that is here")
    parser.add_argument("--no-columns", action="store_true", help="as runs that are not over: logs alone")
    arguments = parser.parse_args()
    num_arms = 10 if arguments.quick else 100
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.keep or Path(temporary)
        if not (root / "bench").exists():
            write_campaign(CampaignFolder(root / "bench"), num_arms=num_arms, num_seeds=10, iterations=2000)
        if arguments.no_columns:
            for path in (root / "bench").glob("*/*/metrics.npz"):
                path.unlink()
        command = [sys.executable, "-m", "orchestrator.cli", "compare", "bench", "--folder", str(root)]
        start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        page = root / "bench" / "report" / "index.html"
        processor = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        _line("time", seconds, GOAL_SECONDS, f"s, {processor:.1f} s of processor time")
        _line("peak memory", after.ru_maxrss / 1024, GOAL_MIB, "MiB")
        print(f"{'page':12}{page.stat().st_size / 2**20:8.1f} MiB")


def write_campaign(folder: CampaignFolder, *, num_arms: int, num_seeds: int, iterations: int) -> None:
    """A finished campaign; every metric moves, so that nothing compresses."""
    names = [f"arm_{index:03d}" for index in range(num_arms)]
    folder.write_info(
        CampaignInfo(name=folder.path.name, config={"arms": [{"name": name} for name in names]})
    )
    originals: list[RunFolder] = []
    for index, name in enumerate(names):
        for seed in range(num_seeds):
            run = folder.run(name, seed)
            config = {"learner": {"learning_rate": 1e-3 * (1 + index)}, "loops": {"entropy": LOOP}}
            run.write_info(
                RunInfo(campaign=folder.path.name, arm=name, seed=seed, method="aer", config=config)
            )
            run.write_status(Status(status="done", iteration=iterations, num_iterations=iterations))
            if len(originals) < NUM_RECORDS:
                run.metrics_path.write_bytes(b"".join(map(encode, records(random.Random(seed), iterations))))
                store_columns(run.metrics_path)
                originals.append(run)
            else:
                original = originals[(index * num_seeds + seed * 7) % NUM_RECORDS]
                for file in ("metrics.jsonl", "metrics.npz"):
                    shutil.copyfile(original.path / file, run.path / file)


def records(rng: random.Random, iterations: int) -> list[Record]:
    """A run whose entropy settles and whose reward rises, with noise."""
    rows, skill = [], 20 + 200 * rng.random()
    for t in range(iterations + 1):
        reward = 0.3 + 0.6 * (1 - math.exp(-t / skill)) + 0.02 * rng.gauss(0, 1)
        if t % 100 == 0:
            evaluation = {f"eval/pass_at_{k}": min(1.0, reward + 0.05 * math.log2(k)) for k in (1, 2, 4, 8)}
            evaluation |= {f"eval/difficulty/{d}/pass_at_1": reward / d for d in (1, 2, 3)}
            rows.append(Record(step=t, kind="eval", time=1.78e9 + t, metrics=evaluation))
        entropy = 0.2 + 0.3 * math.exp(-t / 50) + 0.01 * rng.gauss(0, 1)
        u = 0.1 * rng.gauss(0, 1)
        loop = {"y": entropy, "r": 0.2, "e": 0.2 - entropy, "v": u, "u": u, "saturated": 0.0, "held": 0.0}
        loop |= {"term/p": u / 2, "term/i": u / 2}
        metrics = {"entropy": entropy, "reward": reward, "pass_rate": reward, "entropy/predicted_change": -u}
        metrics |= {f"loop/entropy/{name}": value for name, value in loop.items()}
        metrics |= {name: rng.random() for name in OTHERS}
        rows.append(Record(step=t, kind="train", time=1.78e9 + t + 0.5, metrics=metrics))
    return rows


def _line(name: str, value: float, goal: float, unit: str) -> None:
    verdict = "within" if value <= goal else "above"
    print(f"{name:12}{value:8.1f} {unit} ({verdict} the goal of {goal:g})", flush=True)


if __name__ == "__main__":
    main()
