"""Arms × seeds → runs, each in a process of its own, watched by this one.

The parent starts worker processes, reads along in their folders, shows progress and forwards to
MLflow.  What a run is and how far it got is on disk, so the same command again continues: finished
runs are left alone, the others go on from their last checkpoint.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from orchestrator.configuration.errors import ConfigError
from orchestrator.configuration.models import ExecutionConfig
from orchestrator.configuration.resolve import Arm, Campaign
from orchestrator.provenance import git_commit, versions
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunFolder, RunInfo, RunState

POLL_SECONDS = 0.2
STOP_SECONDS = 60.0
# -P: a folder of the user's that is called "tasks" or "policies" must not hide ours.
WORKER = ("-P", "-m", "orchestrator.training.worker")


class InterruptedCampaignError(RuntimeError):
    """A signal asked the campaign to stop; its runs have saved their checkpoints."""


@dataclass(slots=True)
class Worker:
    """A process that works on a run."""

    folder: RunFolder
    process: subprocess.Popen[bytes]


@dataclass(slots=True)
class Schedule:
    """The runs of a campaign: those that wait, those that run, those that ended."""

    waiting: list[RunFolder]
    running: list[Worker] = field(default_factory=list)
    ended: list[RunFolder] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return not self.waiting and not self.running


def campaign_folder(campaign: Campaign) -> CampaignFolder:
    """Where a campaign is kept, whether or not it is there yet."""
    return CampaignFolder(Path(campaign.config.tracking.folder).resolve() / campaign.config.name)


@contextmanager
def exclusively(campaign: Campaign) -> Iterator[None]:
    """Keep any other process from running this campaign; the kernel ends it with this process.

    Raises:
        ConfigError: another process is at it.
    """
    path = campaign_folder(campaign).path
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"name: {campaign.config.name!r} is being run by another process (it holds {path / 'lock'}); "
            "wait for it to end or stop it, or give this campaign another name"
        ) from None
    try:
        yield
    finally:
        lock.release()


def prepare(campaign: Campaign) -> CampaignFolder:
    """Write what the campaign and its runs are, and give its folder.

    Raises:
        ConfigError: a run of that name is stored with another configuration.
    """
    folder = campaign_folder(campaign)
    infos = list(_run_infos(campaign))
    _refuse_other_configuration(folder, infos)
    stored = folder.read_info() if folder.exists() else None
    folder.write_info(
        CampaignInfo(
            name=campaign.config.name,
            description=campaign.config.description,
            config=campaign.plain,
            source=str(campaign.path.resolve()),
            versions=versions(),
            git_commit=git_commit(campaign.path.resolve().parent),
            created=stored.created if stored else time.time(),
        )
    )
    for info in infos:
        run = folder.run(info.arm, info.seed)
        run.write_info(info)
        if run.read_status().status not in ("done", "pending"):
            run.write_status(replace(run.read_status(), status="pending", reason=None, pid=None))
    return folder


def execute(
    folder: CampaignFolder, campaign: Campaign, *, on_poll: Callable[[Schedule], None]
) -> list[RunFolder]:
    """Work off the runs, ``execution.workers`` at a time; give those that did not get done.

    Raises:
        InterruptedCampaignError: SIGTERM or SIGINT came; every worker was told and has saved.
    """
    runs = [folder.run(info.arm, info.seed) for info in _run_infos(campaign)]
    waiting = [run for run in runs if run.read_status().status != "done"]
    schedule = Schedule(waiting=waiting, ended=[run for run in runs if run not in waiting])
    with collected_signals() as received:
        try:
            while not schedule.is_over and not received:
                _advance(schedule, campaign)
                on_poll(schedule)
                time.sleep(POLL_SECONDS)
        finally:
            stop_runs(schedule.running)
            on_poll(schedule)
    if received:
        name = signal.Signals(received[0]).name
        raise InterruptedCampaignError(
            f"stopped by {name}; checkpoints are saved and the same command again continues"
        )
    return [run for run in runs if run.read_status().status != "done"]


def _advance(schedule: Schedule, campaign: Campaign) -> None:
    """Take leave of the workers that ended and fill their places."""
    for worker in list(schedule.running):
        if worker.process.poll() is not None:
            settle_run(worker)
            schedule.running.remove(worker)
            schedule.ended.append(worker.folder)
    while schedule.waiting and len(schedule.running) < campaign.config.execution.workers:
        schedule.running.append(start_run(schedule.waiting.pop(0), _threads(campaign)))


def start_run(folder: RunFolder, threads: int) -> Worker:
    """Begin a run, or continue it, in a process that stops and saves when this one is gone."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    with folder.log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *WORKER, str(folder.path), "--with-parent"],
            # The worker lives as long as this pipe: it stops, and saves, when this process is gone.
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            # A Ctrl-C reaches this process only, which tells the workers in its own time.
            start_new_session=True,
        )
    return Worker(folder, process)


def settle_run(worker: Worker, state: RunState = "failed") -> None:
    """Take leave of a worker; one that died without a word has its ending written for it."""
    if worker.process.stdin is not None:
        worker.process.stdin.close()
    status = worker.folder.read_status()
    if status.status in ("running", "pending") and not worker.folder.is_locked():
        code = worker.process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        reason = f"the process {how}; see {worker.folder.log_path}"
        with suppress(OSError):  # on a full disk the old status stays; the other runs go on
            worker.folder.write_status(replace(status, status=state, reason=reason, pid=None))


def stop_runs(workers: Sequence[Worker]) -> None:
    """Tell the workers to save and stop, and wait; kill those that take too long."""
    for worker in workers:
        if worker.process.poll() is None:
            os.killpg(worker.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for worker in workers:
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
        settle_run(worker, "interrupted")


def _threads(campaign: Campaign) -> int:
    return campaign.config.execution.threads or shared_cores(campaign.config.execution.workers)


def shared_cores(num_workers: int) -> int:
    """CPU threads of each of some workers that share the cores of this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // num_workers)


def _run_infos(campaign: Campaign) -> Iterator[RunInfo]:
    for seed in campaign.config.seeds:
        for arm in campaign.arms:
            yield run_info(campaign.config.name, arm, seed, campaign.config.execution)


def run_info(name: str, arm: Arm, seed: int, execution: ExecutionConfig) -> RunInfo:
    """What one run is, for its folder; ``name`` is that of its campaign or study."""
    return RunInfo(
        campaign=name,
        arm=arm.name,
        seed=seed,
        method=arm.method,
        config=arm.plain,
        fingerprint=arm.fingerprint,
        execution={
            "graders": execution.graders,
            "grading_timeout_seconds": execution.grading_timeout_seconds,
        },
    )


def _refuse_other_configuration(folder: CampaignFolder, infos: Sequence[RunInfo]) -> None:
    for info in infos:
        run = folder.run(info.arm, info.seed)
        if not (run.path / "run.json").exists():
            continue
        stored = run.read_info()
        if stored.fingerprint != info.fingerprint:
            keys = ", ".join(differences(stored.config, info.config)) or "the format of the configuration"
            raise ConfigError(
                f"name: {info.campaign!r} has a stored run of the arm {info.arm!r} with another "
                f"configuration ({keys}); give the campaign another name, or delete {run.path}"
            )


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Key paths with their values where two configurations differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield f"{path}: stored {old!r}, now {new!r}"


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """SIGTERM and SIGINT are collected instead of raised, so that workers are told in good order."""
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda signum, _: received.append(signum))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
