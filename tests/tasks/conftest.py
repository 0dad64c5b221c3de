"""Makes this folder importable, also in spawned workers, which take over ``sys.path``."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def jsonl_file(tmp_path):
    """Forty small sums in the user's own file."""
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(f'{{"prompt": "{i}+1=", "answer": "{i + 1}"}}\n' for i in range(40)))
    return str(path)
