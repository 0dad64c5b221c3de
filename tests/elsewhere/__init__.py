"""What other machines would make of a training: switches that change its rounding, see docs/testing.md."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
STARTUP = str(Path(__file__).parent)


def python_path() -> str:
    """PYTHONPATH of processes that a test starts in another folder: our packages, and what this one was given."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([str(ROOT), *filter(None, given)]))
