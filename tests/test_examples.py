"""The examples run as they stand, from any folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
ARGUMENTS = {"one_iteration.py": ["3"]}
"""Enough to see that an example works."""


def run(example, folder):
    return subprocess.run(
        [sys.executable, example, *ARGUMENTS.get(example.name, [])],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
        timeout=200,
    )


def test_every_example_is_run_here():
    assert {path.name for path in EXAMPLES.glob("*.py")} == ARGUMENTS.keys()


def test_one_iteration_is_measured_and_commanded(tmp_path):
    done = run(EXAMPLES / "one_iteration.py", tmp_path)
    assert done.returncode == 0, done.stderr
    pattern = r"iteration +(\d+)  reward ([\d.]+)  entropy ([\d.]+) of 0\.300 nats  bonus ([+-][\d.]+)"
    rows = [[float(each) for each in found] for found in re.findall(pattern, done.stdout)]
    assert [row[0] for row in rows] == [0, 1, 2]
    for _, reward, entropy, bonus in rows:
        assert 0 <= reward <= 1
        assert 0 < entropy < 2.6  # ln V of the alphabet
        assert -1 <= bonus <= 1
    assert any(row[3] != 0 for row in rows)
