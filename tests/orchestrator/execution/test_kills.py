"""Studies, Ray and SLURM's local executor under fire, as `benchmarks/kills.py` soaks them, for a few kills of each."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NEEDS = {"study": "optuna", "ray": "ray", "slurm": "submitit"}


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", NEEDS)
def test_what_is_killed_comes_to_what_it_comes_to_in_peace(kind):
    if find_spec(NEEDS[kind]) is None:
        pytest.skip(f"needs {NEEDS[kind]}")
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "2", "--minutes", "15", kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kind}: 2 kills in " in done.stdout
