"""SLURM through submitit, on this machine in the place of a cluster."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest

from orchestrator.execution.base import ExecutorError
from orchestrator.execution.runs import Patience, Worker, is_lost, stop_runs
from orchestrator.execution.slurm import JOB_FILE, Slurm
from orchestrator.storage.files import read_json
from tests.orchestrator.execution.conftest import FAKE_WORKER, wait_for

pytest.importorskip("submitit", reason="the extra 'slurm' is not installed")


@pytest.fixture
def crew(tmp_path):
    with Slurm(cluster="local", time_minutes=5, grace_seconds=10).connect(tmp_path, threads=1) as crew:
        yield crew


def test_a_job_that_ends_by_itself(run_of, crew):
    folder = run_of("good")
    job = crew.begin(folder)
    ending = wait_for(job.ended)
    assert "exited with status 0" in ending.how
    assert folder.read_status().status == "done"
    assert read_json(folder.path / JOB_FILE) == {"cluster": "local", "id": ending.how.split()[-1]}
    assert crew.find(folder) is None


def test_a_job_that_is_lost(run_of, crew):
    folder = run_of("dies")
    ending = wait_for(crew.begin(folder).ended)
    assert ending.is_lost
    assert is_lost(folder, ending)


@pytest.mark.slow
def test_a_run_whose_jobs_end_before_it_can_save_goes_on_from_what_it_saved_by_the_clock(run_of, crew):
    """As with iterations longer than grace_seconds: each job is killed, and each has saved once more before."""
    folder, patience, num_jobs = run_of("creeps"), Patience(retries=1), 1
    while is_lost(folder, wait_for(crew.begin(folder).ended)):
        assert patience.takes_up(folder)
        num_jobs += 1
    assert num_jobs == 5
    assert folder.read_status().status == "done"


def test_told_to_stop_a_job_saves(run_of, crew):
    folder = run_of("waits")
    job = crew.begin(folder)
    wait_for(lambda: folder.read_status().status == "running")
    stop_runs([Worker(folder, job)])
    assert folder.read_status().status == "interrupted"
    assert not folder.is_locked()


def test_a_machine_that_does_not_see_the_folder(run_of, crew):
    folder = run_of("good")
    job = crew.begin(folder)
    (folder.path / "run.json").rename(folder.path / "hidden")
    ending = wait_for(job.ended)
    assert "does not see" in ending.how
    assert not ending.is_lost


SUBMIT = """
import os, sys, time
from pathlib import Path
from orchestrator.execution import process
from orchestrator.execution.slurm import Slurm
from orchestrator.storage.run_folder import RunFolder
process.WORKER = (sys.argv[3],)
with Slurm(cluster="local", time_minutes=5, grace_seconds=10).connect(Path(sys.argv[1]), threads=1) as crew:
    job = crew.begin(RunFolder(Path(sys.argv[2])))
    while RunFolder(Path(sys.argv[2])).read_status().status != "running":
        time.sleep(0.02)
    os._exit(9)
"""


def test_the_job_of_a_command_that_died_is_followed_and_not_doubled(run_of, crew, tmp_path):
    folder = run_of("waits")
    submitted = [sys.executable, "-c", SUBMIT, str(tmp_path), str(folder.path), *FAKE_WORKER]
    assert subprocess.run(submitted, check=False).returncode == 9
    job = crew.find(folder)
    assert job.ended() is None
    job.ask()
    wait_for(job.ended)
    assert folder.read_status().status == "interrupted"
    assert not folder.is_locked()
    assert crew.find(folder) is None


# With commands of SLURM's names, acted out -------------------------------------------------------------

SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
echo "17|$(cat {state})|node3"
"""
SBATCH = """#!/bin/sh
cp "$1" {script}
echo 'Submitted batch job 17'
"""
SCANCEL = """#!/bin/sh
echo "$@" >> {cancelled}
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Commands of SLURM's names; gives the folder with what they were told, and the state that they tell."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "state").write_text("PENDING")
    said = {name: tmp_path / name for name in ("state", "script", "cancelled")}
    for name, text in {"sacct": SACCT, "sbatch": SBATCH, "scancel": SCANCEL, "srun": "#!/bin/sh\n"}.items():
        (programs / name).write_text(text.format(**said))
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    from submitit import SlurmJob

    SlurmJob.watcher.clear()  # which all jobs of a process share
    SlurmJob.watcher._registered.clear()
    return said


def test_the_script_asks_for_what_the_settings_say(run_of, cluster, tmp_path):
    executor = Slurm(
        partition="gpu", account="rl", gpus_per_node=2, cpus_per_task=8, memory_gib=64, time_minutes=90,
        grace_seconds=300,
    )  # fmt: skip
    assert executor.threads(num_workers=4) == 8
    with executor.connect(tmp_path, threads=8) as crew:
        crew.begin(run_of("good"))
    script = cluster["script"].read_text()
    for line in (
        "--partition=gpu", "--account=rl", "--gpus-per-node=2", "--cpus-per-task=8", "--mem=64GB", "--time=90",
        "--signal=USR2@300", "--nodes=1", "--ntasks-per-node=1", "--job-name=acted/good/0",
    ):  # fmt: skip
        assert f"#SBATCH {line}\n" in script


def test_a_job_that_waits_is_followed_by_the_next_command(run_of, cluster, tmp_path):
    folder = run_of("good")
    with Slurm().connect(tmp_path, threads=1) as crew:
        crew.begin(folder)
    with Slurm().connect(tmp_path, threads=1) as crew:
        job = crew.find(folder)
        assert job.ended() is None
        job.ask()
        assert cluster["cancelled"].read_text() == "17\n"


def test_a_job_that_works_is_told_to_save_before_it_is_cancelled(run_of, cluster, tmp_path):
    folder = run_of("good")
    with Slurm().connect(tmp_path, threads=1) as crew:
        job = crew.begin(folder)
        cluster["state"].write_text("RUNNING")
        job.ask()
        job.kill()
    assert cluster["cancelled"].read_text() == "--signal=USR2 17\n17\n"


@pytest.mark.parametrize(
    ("state", "is_lost"), [("NODE_FAIL", True), ("OUT_OF_MEMORY", True), ("CANCELLED by 1000", False)]
)
def test_a_job_that_ended_without_a_word(run_of, cluster, tmp_path, state, is_lost):
    with Slurm().connect(tmp_path, threads=1) as crew:
        job = crew.begin(run_of("good"))
        cluster["state"].write_text(state)
        job._job.watcher.clear()
        ending = job.ended()
    assert ending.is_lost is is_lost
    assert f"job 17 ended as {state}" in ending.how
    assert "file system that all machines share" in ending.how


def test_a_job_that_slurm_refuses(run_of, cluster, tmp_path):
    (tmp_path / "bin" / "sbatch").write_text(
        "#!/bin/sh\necho 'invalid partition specified: gpuu' >&2; exit 1\n"
    )
    with (
        Slurm(partition="gpuu").connect(tmp_path, threads=1) as crew,
        pytest.raises(
            ExecutorError, match=r"SLURM did not take the job: .*invalid partition specified: gpuu"
        ),
    ):
        crew.begin(run_of("good"))


def test_a_machine_without_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ExecutorError, match="no srun on this machine"), Slurm().connect(tmp_path, threads=1):
        pass


def test_settings_are_checked():
    with pytest.raises(
        ValueError, match="grace_seconds must be below the 120 seconds of time_minutes, got 120"
    ):
        Slurm(time_minutes=2, grace_seconds=120)
    with pytest.raises(ValueError, match="cpus_per_task must be at least 1, got 0"):
        Slurm(cpus_per_task=0)


def test_stop_signals():
    """The run itself must be deaf to the first of them."""
    from orchestrator.execution.slurm import _Queue

    assert _Queue(None, 1, "slurm")._stop_signal == signal.SIGUSR2
    assert _Queue(None, 1, "local")._stop_signal == signal.SIGTERM
