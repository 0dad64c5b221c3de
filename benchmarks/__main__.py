"""``python -m benchmarks [--quick]``: every benchmark, one after another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
    "token_statistics",
    "start",
    "loop_step",
    "new_plants",
    "control_and_tracking",
    "comparison",
    "methods",
    "lora",
    "evaluation",
    "packed_rows",
    "packing",
    "ahead",
    "growth",
    "in_flight",
    "quickstart",
    "against_trl",
    "necessary_time",
)


def main() -> None:
    for name in BENCHMARKS:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name(f"{name}.py"), *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
