"""The switches of docs/testing.md do what they say, in this process and in those that tests start."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.elsewhere import STARTUP, python_path

NOISE = """
import json, sys
from policies.model.built_in import tiny_model  # by name, as the product has it
from policies.model.tiny import TinyModel, character_tokenizer
architecture = TinyModel(hidden_size=32, intermediate_size=64, num_layers=1, num_heads=1)
tokenizer = character_tokenizer("0123456789", 64)
found = tiny_model(architecture, tokenizer, 0).parameters()
expected = tiny_model.__wrapped__(architecture, tokenizer, 0).parameters()
gaps = [(one - other).abs().mean().item() for one, other in zip(found, expected, strict=True)]
print(json.dumps([min(gaps), max(gaps)]))
"""


@pytest.mark.parametrize("size", [1e-6, 1e-3])
def test_every_weight_of_the_policy_that_a_process_makes_is_perturbed(tmp_path, size):
    path = os.pathsep.join([STARTUP, python_path()])
    done = subprocess.run(
        [sys.executable, "-P", "-c", NOISE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "ENTROSTAT_TEST_PERTURB": str(size)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    least, most = json.loads(done.stdout)
    assert 0.5 * size < least <= most < 1.1 * size  # of a normal variable, 0.8 deviations on average
