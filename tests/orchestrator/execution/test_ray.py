"""A real Ray cluster of one machine: its own processes, joined as a user's would be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.campaign import InterruptedCampaignError, execute, prepare
from orchestrator.configuration.resolve import read_campaign
from orchestrator.execution.base import ExecutorError
from orchestrator.execution.ray_cluster import RayCluster
from orchestrator.execution.runs import Worker, stop_runs
from tests.orchestrator.execution.conftest import wait_for

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3",
}
PORT = 26379
ADDRESS = f"{ray.util.get_node_ip_address()}:{PORT}"


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of this machine; gives its process, which takes the others with it."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={PORT}"]
    command += ["--num-cpus=2", "--num-gpus=0", "--include-dashboard=false"]
    command += [f"--object-store-memory={200 * 2**20}", "--disable-usage-stats"]
    head = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    yield head
    os.killpg(head.pid, signal.SIGTERM)
    head.wait(30)


@pytest.mark.slow
def test_runs_on_a_cluster_until_it_goes_away(cluster, run_of, write_campaign, tmp_path):
    joined = _joined(tmp_path)

    # Refused before anything begins.
    with pytest.raises(ExecutorError, match="no node of the cluster has CPU 1, GPU 8; request less"):
        RayCluster(address=ADDRESS, num_gpus=8).connect(tmp_path, threads=1).__enter__()

    # A run that works, one that is lost, one that is told to stop.
    with joined as crew:
        folders = {arm: run_of(arm) for arm in ("good", "dies", "waits")}
        jobs = {arm: crew.begin(folder) for arm, folder in folders.items()}
        assert "exited with status 0" in wait_for(jobs["good"].ended).how
        assert wait_for(jobs["dies"].ended).is_lost
        wait_for(lambda: folders["waits"].read_status().status == "running")
        stop_runs([Worker(folders["waits"], jobs["waits"])])
        assert {arm: folder.read_status().status for arm, folder in folders.items()} == {
            "good": "done", "dies": "running", "waits": "interrupted",
        }  # fmt: skip
        unseen = crew.begin(run_of("good", seed=1))
        assert "exited with status 0" in wait_for(unseen.ended).how

    # The cluster goes away below a campaign.
    executor = {"kind": "ray", "address": ADDRESS}
    path = write_campaign(
        {"arms": [{"name": "creeps"}, {"name": "waits"}], "seeds": [0], "execution.executor": executor}
    )
    campaign = read_campaign(path)
    folder = prepare(campaign)
    ends = []

    def poll(schedule):
        if not ends and folder.run("waits", 0).read_status().status == "running":
            ends.append(True)
            os.killpg(cluster.pid, signal.SIGKILL)

    with pytest.raises(InterruptedCampaignError, match=r"went away.*same command again continues"):
        execute(folder, campaign, on_poll=poll)
    assert folder.run("creeps", 0).read_status().status == "done"
    assert folder.run("waits", 0).read_status().status == "interrupted"
    assert not folder.run("waits", 0).is_locked()


def _joined(home: Path):
    """Retried while the cluster comes up."""
    deadline = time.monotonic() + 240
    while True:
        try:
            connection = RayCluster(address=ADDRESS).connect(home, threads=1)
            crew = connection.__enter__()
        except ExecutorError:
            assert time.monotonic() < deadline
            time.sleep(1)
            continue
        return _Entered(connection, crew)


class _Entered:
    def __init__(self, connection, crew):
        self._connection, self._crew = connection, crew

    def __enter__(self):
        return self._crew

    def __exit__(self, *error):
        self._connection.__exit__(*error)


def test_there_is_no_cluster(tmp_path):
    with (
        pytest.raises(ExecutorError, match=r"the Ray cluster '127.0.0.1:1': cannot be joined"),
        RayCluster(address="127.0.0.1:1").connect(tmp_path, threads=1),
    ):
        pass
