"""Wall time and peak memory of the quickstart, from the command to the report.

    python benchmarks/quickstart.py [--quick]

Memory is the sum of the resident sizes of the command and everything it started, sampled ten times a
second: what the machine has to have.  Shared pages are counted once for each process, so it is an upper
bound.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
GOAL_SECONDS, GOAL_GIB = 240.0, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer iterations")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as root:
        overrides = [f"tracking.folder={root}", *(["learner.iterations=20"] if quick else [])]
        command = [sys.executable, "-m", "orchestrator.cli", "run", str(ROOT / "configs" / "quickstart.yaml")]
        for override in overrides:
            command += ["--set", override]
        start = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident_bytes(process.pid))
            time.sleep(0.1)
        seconds = time.monotonic() - start
    assert process.returncode == 0, "the quickstart failed; run it by hand to see why"
    gib = peak / 2**30
    print(
        f"wall time    {seconds:6.1f} s    ({seconds / GOAL_SECONDS:.2f} of the goal of {GOAL_SECONDS:g} s)"
    )
    print(f"peak memory  {gib:6.2f} GiB  ({gib / GOAL_GIB:.2f} of the goal of {GOAL_GIB:g} GiB)")


def _resident_bytes(pid: int) -> int:
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


if __name__ == "__main__":
    main()
