"""Ranks of one machine: they end together, and the status says why."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from orchestrator.storage.run_folder import RunFolder, RunInfo, Status
from orchestrator.training import launcher

WAIT = "import time; time.sleep(60)"
OBEDIENT = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); time.sleep(60)"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "GRACE_SECONDS", 1.0)
    monkeypatch.delenv("RANK", raising=False)
    folder = RunFolder(tmp_path)
    folder.write_status(Status(status="running"))
    return folder


def launch(folder, *programs):
    """Rank r runs ``programs[r]``."""
    chosen = f"import os; exec({list(programs)!r}[int(os.environ['RANK'])])"
    return launcher.launch(folder, ["-c", chosen], len(programs))


def test_ranks_know_one_another(folder, capfd, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS")
    say = f"print(*(os.environ[name] for name in {names}), flush=True)"
    assert launch(folder, say, say) == 0
    assert sorted(capfd.readouterr().out.split("\n"))[1:] == ["0 0 2 127.0.0.1 3", "1 1 2 127.0.0.1 3"]
    assert folder.read_status().status == "running"  # the ranks say how it ended


def test_a_rank_that_is_killed_ends_the_others(folder):
    die = "os.kill(os.getpid(), 9)"
    assert launch(folder, WAIT, die) == launcher.EXIT_FAILED
    status = folder.read_status()
    assert status.status == "failed"
    assert "rank 1 of 2 was killed by SIGKILL" in status.reason


def test_a_rank_that_does_not_listen_is_killed(folder):
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAIT
    assert launch(folder, deaf, "import time; time.sleep(1); raise SystemExit(3)") == launcher.EXIT_FAILED
    assert "rank 1 of 2 exited with status 3" in folder.read_status().reason


def test_what_the_failing_rank_said_stays(folder):
    folder.write_status(Status(status="failed", reason="rank 1 of 2: out of memory"))
    assert launch(folder, WAIT, "raise SystemExit(1)") == launcher.EXIT_FAILED
    assert folder.read_status().reason == "rank 1 of 2: out of memory"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("program", [WAIT, OBEDIENT], ids=["starting", "training"])
def test_signal_reaches_every_rank(folder, number, program):
    threading.Timer(1.0, os.kill, (os.getpid(), number)).start()
    assert launch(folder, program, program) == launcher.EXIT_INTERRUPTED
    assert folder.read_status().status == "interrupted"


def test_number_of_ranks(folder, monkeypatch):
    def learner(**settings):
        folder.write_info(RunInfo(campaign="c", arm="a", seed=0, method="m", config={"learner": settings}))

    learner(devices=3)
    assert launcher.num_ranks(folder) == 3
    learner(devices=8, num_nodes=2)
    with pytest.raises(ValueError, match=r"2 machines.*configs/launch/slurm.sbatch, or set num_nodes to 1"):
        launcher.num_ranks(folder)
    monkeypatch.setenv("RANK", "5")
    assert launcher.num_ranks(folder) == 1
