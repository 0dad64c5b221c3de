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


@pytest.fixture
def questions_file(tmp_path):
    """Forty small sums in words, with answers that are no whole numbers."""
    path = tmp_path / "questions.jsonl"
    path.write_text(
        "".join(f'{{"question": "What is half of {i}?", "answer": "{i}/2"}}\n' for i in range(3, 83, 2))
    )
    return str(path)
