"""Runs that are acted out by `fake_worker.py`, for executors that have no campaign around them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator.execution import process
from orchestrator.storage.run_folder import RunFolder, RunInfo

ROOT = Path(__file__).parents[3]
FAKE_WORKER = (str(ROOT / "tests" / "orchestrator" / "fake_worker.py"),)


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(process, "WORKER", FAKE_WORKER)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def run_of(tmp_path):
    """The folder of a run that goes as its arm says."""

    def make(arm, seed=0):
        folder = RunFolder(tmp_path / "runs" / arm / f"seed-{seed}")
        folder.write_info(RunInfo(campaign="acted", arm=arm, seed=seed, method="none"))
        return folder

    return make


def wait_for(condition, seconds=240.0):
    """Until it is true; gives what it is."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value
