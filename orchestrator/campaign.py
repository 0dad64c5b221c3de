"""Runs the arms and seeds of a campaign, each run in a process of its own that this process watches.

The parent hands runs to an executor, reads along in their folders, shows progress and forwards to
MLflow.  What a run is and how far it got is on disk, so the same command continues the campaign: finished
runs stay as they are, and the others continue from their last checkpoint.  A run that lost its machine
continues in the same way.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from filelock import FileLock, Timeout

from orchestrator.changed_inputs import continued, refuse_changes, tell_unrecorded
from orchestrator.collected_signals import collected_signals
from orchestrator.configuration.execution import ExecutionConfig
from orchestrator.configuration.inputs import inputs_of
from orchestrator.configuration.models import CampaignConfig
from orchestrator.configuration.resolve import Arm, Campaign
from orchestrator.configuration.stored import differing_keys
from orchestrator.errors import ConfigError
from orchestrator.execution.base import Crew, ExecutorError
from orchestrator.execution.credentials import hidden, lent
from orchestrator.execution.runs import Patience, Worker, is_lost, settle_run, start_run, stop_runs
from orchestrator.masking import mask, masked
from orchestrator.provenance import git_commit, versions
from orchestrator.storage.files import clear_unfinished
from orchestrator.storage.guardrail_files import Rollback
from orchestrator.storage.inputs import Inputs, combined
from orchestrator.storage.run_folder import OVER, CampaignFolder, CampaignInfo, RunFolder, RunInfo
from orchestrator.tracking.delivery import renew_key

POLL_SECONDS = 0.2
CONTINUE = "the same command again continues"


class InterruptedCampaignError(RuntimeError):
    """A signal asked the campaign to stop; each of its runs has saved what it could, see `saved`."""


@dataclass(slots=True)
class RunQueue:
    """The runs of a campaign: those that wait, those that run, those that ended."""

    waiting: list[RunFolder]
    running: list[Worker] = field(default_factory=list)
    ended: list[RunFolder] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return not self.waiting and not self.running


def campaign_folder(campaign: Campaign) -> CampaignFolder:
    """The folder of a campaign, whether or not it exists yet."""
    return CampaignFolder(Path(campaign.config.tracking.folder).resolve() / campaign.config.name)


@contextmanager
def exclusively(campaign: Campaign) -> Iterator[None]:
    """Keep any other process from running this campaign; the kernel ends it with this process.

    Raises:
        ConfigError: another process is at it, a study has its name, or its folder cannot be written to.
    """
    folder = campaign_folder(campaign)
    path, lock = folder.path, FileLock(folder.path / "lock", timeout=0)
    try:
        _refuse_study(folder)
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"name: {campaign.config.name!r} is being run by another process (it holds {path / 'lock'}); "
            "wait for it to end or stop it, or give this campaign another name"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"tracking.folder: {path} cannot be written to ({error.strerror}); name another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def prepare(
    campaign: Campaign, *, accept: bool = False, tell: Callable[[str], None] = lambda _: None
) -> CampaignFolder:
    """Write what the campaign and its runs are, and give its folder.

    Arms and seeds that are stored under its name already stay, and new ones join them.

    Args:
        campaign: what to run.
        accept: take files that have changed since a stored run read them, and record that.
        tell: is told what the user should know.

    Raises:
        ConfigError: a study has its name, or a run of that name is stored with another configuration, or read
            other files; nothing has been written.
    """
    folder = campaign_folder(campaign)
    stored = _refuse_study(folder)
    runs = {
        run: run.read_info() for run in map(RunFolder, sorted(folder.path.glob("*/seed-*"))) if run.exists()
    }
    _refuse_other_configuration(campaign, runs)
    inputs = {arm.name: inputs_of(arm.config) for arm in campaign.arms}
    if not accept:
        called = [(f"the run {run.path.parent.name}/{run.path.name}", info) for run, info in runs.items()]
        refuse_changes(campaign.config.name, called, inputs)
    for arm, known in inputs.items():
        tell_unrecorded(arm, [info for info in runs.values() if info.arm == arm], known, tell)
    for written in (folder.path, folder.report_path.parent):
        clear_unfinished(written)
    folder.write_info(
        CampaignInfo(
            name=campaign.config.name,
            description=mask(campaign.config.description),
            config=masked(campaign.plain),
            source=str(campaign.path.resolve()),
            versions=versions(),
            git_commit=git_commit(campaign.path.resolve().parent),
            created=stored.created if stored else time.time(),
        )
    )
    for info in _run_infos(campaign, inputs):
        run = folder.run(info.arm, info.seed)
        run.write_info(continued(runs[run], info, run) if run in runs else info)
        # A job of a cluster may be at it since an earlier command.
        if run.read_status().status not in (*OVER, "pending") and not run.is_locked():
            run.write_status(replace(run.read_status(), status="pending", reason=None, pid=None))
    return folder


def runs_of(campaign: Campaign) -> list[RunFolder]:
    """The runs that a campaign names, arm by arm; its folder may hold others, of what it was before."""
    folder = campaign_folder(campaign)
    return [folder.run(arm.name, seed) for arm in campaign.arms for seed in campaign.config.seeds]


def retry_stopped(runs: Sequence[RunFolder]) -> list[tuple[RunFolder, Rollback]]:
    """Let those of some runs wait again that a guardrail has stopped; give them, and where each goes on and how.

    A run goes back to its last good checkpoint, as by a rollback; what an evaluation stopped goes on from where it
    is.  What stopped it stays in `guardrails.jsonl`.  To MLflow one that goes back is another run from then on: the
    values that it takes back have been sent.
    """
    from orchestrator.training.rollback import take_up_again

    retried = []
    for run in runs:
        status = run.read_status()
        if status.status == "stopped" and not run.is_locked():
            rollback = take_up_again(run)
            if rollback.goes_back:
                renew_key(run.path)
            run.write_status(replace(status, status="pending", reason=None, iteration=rollback.to))
            retried.append((run, rollback))
    return retried


def execute(
    folder: CampaignFolder, campaign: Campaign, *, on_poll: Callable[[RunQueue], None]
) -> list[RunFolder]:
    """Execute the runs, ``execution.workers`` at a time; return those that were not completed.

    A run that a guardrail has stopped has ended: it is neither started again nor returned.

    Raises:
        InterruptedCampaignError: SIGTERM or SIGINT came, or the executor was lost; every worker was told
            and has saved.
    """
    runs = [folder.run(arm.name, seed) for seed in campaign.config.seeds for arm in campaign.arms]
    waiting = [run for run in runs if run.read_status().status not in OVER]
    ended = [run for run in runs if run not in waiting]
    execution = campaign.config.execution
    threads = execution.threads_of_a_run([arm.config.policy for arm in campaign.arms], execution.workers)
    queue = RunQueue(waiting=waiting, ended=ended)
    with collected_signals() as received, lent({arm.name: arm.plain for arm in campaign.arms}):
        try:
            with execution.executor.connect(folder.path, threads) as crew:
                _work_off(queue, crew, execution, received, on_poll)
        except ExecutorError as error:
            raise InterruptedCampaignError(f"{error}; {CONTINUE}") from error
    if received:
        raise InterruptedCampaignError(f"stopped by {signal.Signals(received[0]).name}; {CONTINUE}")
    return [run for run in runs if run.read_status().status not in OVER]


def _work_off(
    queue: RunQueue,
    crew: Crew,
    execution: ExecutionConfig,
    received: list[int],
    on_poll: Callable[[RunQueue], None],
) -> None:
    patience = Patience(execution.retries)
    try:
        while not queue.is_over and not received:
            _take_leave(queue, patience)
            while queue.waiting and len(queue.running) < execution.workers:
                queue.running.append(start_run(queue.waiting.pop(0), crew))
            on_poll(queue)
            time.sleep(POLL_SECONDS)
    finally:
        stop_runs(queue.running)
        on_poll(queue)


def _take_leave(queue: RunQueue, patience: Patience) -> None:
    """Remove the workers that ended; lost runs wait again, before all others."""
    for worker in list(queue.running):
        ending = worker.job.ended()
        if ending is None:
            continue
        again = is_lost(worker.folder, ending) and patience.takes_up(worker.folder)
        settle_run(worker.folder, ending, "pending" if again else "failed")
        queue.running.remove(worker)
        if again:
            queue.waiting.insert(0, worker.folder)
        else:
            queue.ended.append(worker.folder)


def _run_infos(campaign: Campaign, inputs: Mapping[str, Inputs]) -> Iterator[RunInfo]:
    for seed in campaign.config.seeds:
        for arm in campaign.arms:
            yield run_info(campaign.config.name, arm, seed, campaign.config, inputs[arm.name])


def saved(run: RunFolder) -> str | None:
    """What an interrupted run has saved: the iteration that it continues from; None for any other run."""
    status = run.read_status()
    if status.status != "interrupted":
        return None
    from orchestrator.training.going_on import where_to_go_on  # Lightning, which takes seconds

    try:
        found = where_to_go_on(run)
    except ValueError as error:
        return str(error)
    lost = status.iteration - (found.iteration if found else 0)
    if found is None:
        return f"nothing is saved yet; it starts over, {status.iteration} iterations are lost"
    again = f", {lost} of its {status.iteration} iterations are trained again" if lost > 0 else ""
    return f"saved after iteration {found.iteration} of {status.num_iterations}{again}"


def run_info(name: str, arm: Arm, seed: int, campaign: CampaignConfig, inputs: Inputs) -> RunInfo:
    """What one run is, for its folder.

    Args:
        name: of its campaign or study.
        arm: what it trains.
        seed: of all its draws.
        campaign: says how it is executed, and which samples of it are kept.
        inputs: what there is to read for it now.
    """
    execution = campaign.execution
    return RunInfo(
        campaign=name,
        arm=arm.name,
        seed=seed,
        method=arm.method,
        config=masked(arm.plain),
        fingerprint=combined(arm.fingerprint, inputs),
        hidden=hidden(arm.plain),
        inputs=inputs,
        execution={
            "graders": execution.graders,
            "grading_timeout_seconds": execution.grading_timeout_seconds,
            "grading_memory_megabytes": execution.grading_memory_megabytes,
            "profile_iterations": list(execution.profile_iterations),
            "samples": campaign.tracking.of_samples,
        },
    )


def _refuse_study(folder: CampaignFolder) -> CampaignInfo | None:
    """What is stored in a campaign's folder, unless that is a study."""
    stored = folder.read_info() if folder.exists() else None
    if stored is not None and "study" in stored.config:
        raise ConfigError(
            f"name: {folder.path} holds a study of that name; give the campaign another name, or continue the "
            f"study by `entrostat tune {stored.source}`"
        )
    return stored


def _refuse_other_configuration(campaign: Campaign, runs: Mapping[RunFolder, RunInfo]) -> None:
    folder = campaign_folder(campaign)
    for arm, seed in product(campaign.arms, campaign.config.seeds):
        run = folder.run(arm.name, seed)
        stored = runs.get(run)
        if stored is not None and (keys := differing_keys(stored.config, arm)):
            raise ConfigError(
                f"name: {campaign.config.name!r} has a stored run of the arm {arm.name!r} with another "
                f"configuration ({', '.join(keys)}); give the campaign another name, or delete {run.path}"
            )
