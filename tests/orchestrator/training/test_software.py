"""Ranks with other versions than the first one's end before anything is loaded, with one message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.campaign import prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.provenance import versions
from orchestrator.training import run
from orchestrator.training.launcher import EXIT_FAILED, launch
from orchestrator.training.ranks import Ranks
from orchestrator.training.software import SoftwareDiffersError, check_software

RANK = """
import os, sys
sys.path.insert(0, sys.argv[2])
from orchestrator.training import run, software
if os.environ["RANK"] == "1":
    own = software.versions()
    software.versions = lambda: own | {"torch": "1.0.0", "mlflow": "1.0.0"}
sys.exit(run.main(sys.argv[1]))
"""


def gathered(monkeypatch, *others):
    """As if further ranks, on machines b, c, …, had these versions besides those that are the same."""
    machines = [(chr(ord("b") + place), versions() | other) for place, other in enumerate(others)]
    monkeypatch.setattr("socket.gethostname", lambda: "a")
    monkeypatch.setattr(Ranks, "gather", lambda _, value: [value, *machines])


def test_each_version_is_named_with_the_first_rank_that_has_it(monkeypatch):
    gathered(monkeypatch, {}, {"torch": "1.0.0"}, {"torch": "1.0.0", "numpy": "1.1.0"})
    own = versions()
    with pytest.raises(SoftwareDiffersError) as refused:
        check_software(Ranks())
    assert str(refused.value).split("; ")[:2] == [
        f"torch is {own['torch']} on rank 0 of a, 1.0.0 on rank 2 of c",
        f"numpy is {own['numpy']} on rank 0 of a, 1.1.0 on rank 3 of d",
    ]


def test_what_only_the_first_rank_uses_may_differ(monkeypatch):
    gathered(monkeypatch, {"mlflow": "1.0.0", "optuna": "not installed"})
    check_software(Ranks())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_ranks_end_with_one_message(write_campaign, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("RANK", raising=False)
    folder = prepare(read_campaign(write_campaign({"learner.devices": 2}))).run("held", 0)
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    root = str(Path(run.__file__).parents[2])
    assert launch(folder, [str(script), str(folder.path), root], 2) == EXIT_FAILED
    status = folder.read_status()
    assert status.status == "failed"
    machine = os.uname().nodename
    assert status.reason.startswith(
        f"ranks of different software: torch is {versions()['torch']} on rank 0 of {machine}, 1.0.0 on rank 1"
    )
    said = "".join(capfd.readouterr())
    assert said.count("1.0.0 on rank 1") == 1
    assert "Traceback" not in said
    assert not folder.metrics_path.exists()
