"""A run in a process of its own, as a campaign has it, of which a benchmark wants the records."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from orchestrator.storage.run_folder import RunFolder

ROOT = Path(__file__).parents[1]


def trained(run: RunFolder) -> list[dict[str, float]]:
    """Train it with one thread a process; the metrics of its iterations.

    Raises:
        subprocess.CalledProcessError: it did not end well.
    """
    subprocess.run(
        [sys.executable, "-m", "orchestrator.training.worker", str(run.path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return [record.metrics for record in run.records() if record.kind == "train"]
