"""``python -m benchmarks.gpu [--budget-seconds 480] [--json FILE]``: everything that needs a GPU to be known.

Checks run in the order of their value.  One that the budget no longer allows is skipped, and so is one whose
packages are not installed; the exit status is 1 if one failed.  ``--device cpu`` runs all of them at tiny sizes,
where speed is not judged.

Graders of the runs are spawned and import this module again, so it imports nothing heavy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.checks import CHECKS, Check


def main(checks: Sequence[Check], description: str, budget_seconds: float) -> int:
    """Read the command line and run what it names of the checks; give the exit status."""
    arguments = _arguments(checks, description, budget_seconds)
    from benchmarks.gpu.runner import run

    chosen = [check for check in checks if arguments.only is None or check.number in arguments.only]
    return run(chosen, device=arguments.device, budget_seconds=arguments.budget_seconds, path=arguments.json)


def _arguments(checks: Sequence[Check], description: str, budget_seconds: float) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--budget-seconds", type=float, default=budget_seconds, help="for all checks together"
    )
    parser.add_argument("--json", type=Path, help="file for the findings, written after each check")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument(
        "--only", type=int, nargs="+", choices=[c.number for c in checks], help="numbers of checks"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(CHECKS, (__doc__ or "").splitlines()[0], 480.0))
