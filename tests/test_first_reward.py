"""The reward in five lines of docs/tasks.md is trained with from an empty folder, by what the page prints alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.storage.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tasks.md").read_text()
FILE = re.compile(r"^```(?:python|yaml)\n# (\w+\.\w+)\b[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A block that begins with the name of its file."""


@pytest.fixture
def folder(tmp_path):
    """The files of the page, and the data that it says how to make."""
    for name, text in FILE.findall(PAGE):
        (tmp_path / name).write_text(text)
    assert {path.name for path in tmp_path.iterdir()} == {"rewards.py", "campaign.yaml", "make_data.py"}
    with (tmp_path / "data.jsonl").open("w") as data:
        subprocess.run([sys.executable, "make_data.py"], cwd=tmp_path, stdout=data, check=True)
    return tmp_path


def entrostat(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-P", "-m", "orchestrator.cli", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=250,
    )


def test_the_reward_has_five_lines(folder):
    assert len((folder / "rewards.py").read_text().splitlines()) <= 5


def test_the_campaign_of_the_page_is_valid_in_its_folder(folder):
    done = entrostat(folder, "validate", "campaign.yaml")
    assert done.returncode == 0, done.stderr
    assert "campaign.yaml is valid: 2 runs of 20 iterations" in done.stdout


@pytest.mark.slow
@pytest.mark.trains
def test_it_trains_there(folder):
    few = ("policy.warm_start.num_steps=60", "learner.iterations=2", "arms=[{name: grpo, method: grpo}]")
    done = entrostat(
        folder, "run", "campaign.yaml", *(each for setting in few for each in ("--set", setting))
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "runs" / "sums" / "report" / "index.html").exists()
    run = RunFolder(folder / "runs" / "sums" / "grpo" / "seed-0")
    (first, *_) = [record.metrics for record in run.records() if record.kind == "train"]
    assert first["reward/partial_credit"] == pytest.approx(first["reward"])
    assert first["pass_rate"] < first["reward"]  # some of the credit is partial
