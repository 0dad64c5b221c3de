"""Processor time that a command takes before it works: of those that only look at settings, and of the imports of a run.

Each is a fresh interpreter; the median of several counts, in processor time of the interpreter and what it starts.

    python benchmarks/start.py [--quick]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = "import sys; from orchestrator.cli import app; sys.argv = ['entrostat', *{}]; app()"
STARTS = {
    "python, nothing imported": "",
    "entrostat --help": COMMAND.format(["--help"]),
    "entrostat validate configs/quickstart.yaml": COMMAND.format(["validate", "configs/quickstart.yaml"]),
    "entrostat list sensors": COMMAND.format(["list", "sensors"]),
    "import torch": "import torch",
    "import transformers, its models and generation": "from transformers import AutoModelForCausalLM, GenerationMixin",
    "import lightning.pytorch": "import lightning.pytorch",
    "a training process": "import orchestrator.training.run",
}
GOAL = {"entrostat validate configs/quickstart.yaml": 1.0}
"""Seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="once each")
    rounds = 1 if parser.parse_args().quick else 5
    print(f"processor time in seconds, median of {rounds}, and modules that are imported then")
    for name, code in STARTS.items():
        found = [_start(code) for _ in range(rounds)]
        seconds = statistics.median(each for each, _ in found)
        goal = f"   ({seconds / GOAL[name]:.2f} of the goal of {GOAL[name]:g} s)" if name in GOAL else ""
        print(f"{name:48}{seconds:7.2f}{found[-1][1]:>8}{goal}", flush=True)


def _start(code: str) -> tuple[float, int]:
    """Processor time of an interpreter that runs this, and how many modules it has at its end."""
    counted = f"import atexit, sys; atexit.register(lambda: print(len(sys.modules)))\n{code}"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(
        [sys.executable, "-c", counted], cwd=ROOT, capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, int(ran.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
