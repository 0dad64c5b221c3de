"""No grader evaluates, imports, writes, starts or changes anything, whatever it is handed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "watched_grading.py"
EVALUATING = {
    *("binary_matrix", "countdown", "intermediate_integration", "n_queens", "polynomial_multiplication"),
    *("puzzle24", "simple_integration", "spiral_matrix", "string_insertion"),
}
"""The datasets whose own verifiers run a response as code, in reasoning-gym 0.1.25."""


def findings(graders, folder, *names):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, graders, folder, *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.timeout(600)
def test_no_dataset_s_verifier_does_anything_but_read(tmp_path):
    assert findings("gym", tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(600)
def test_no_other_grader_does_anything_but_read(tmp_path):
    assert findings("others", tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"sums.jsonl", "words.jsonl"}


def test_what_an_evaluating_verifier_does_is_seen(tmp_path):
    seen = findings("library", tmp_path, "n_queens")
    assert (tmp_path / "x").exists()
    kinds = {what.split()[0] for _, _, what in seen}
    assert {"compile", "exec", "open", "os.system", "functions"} <= kinds


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_library_s_verifiers_that_evaluate_are_known(tmp_path):
    ran = {name for name, _, what in findings("library", tmp_path) if what.startswith(("os.system", "open"))}
    assert ran == EVALUATING
