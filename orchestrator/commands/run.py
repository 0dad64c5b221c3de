"""The commands `entrostat run` and `entrostat validate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from orchestrator.campaign import (
    InterruptedCampaignError,
    RunQueue,
    exclusively,
    execute,
    prepare,
    retry_stopped,
    runs_of,
    saved,
)
from orchestrator.commands.progress import Progress
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.device_notices import device_notices
from orchestrator.configuration.engine_checks import check_installed
from orchestrator.configuration.hub import hub_notices
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.notices import notices
from orchestrator.configuration.own_rewards import reward_notices
from orchestrator.configuration.resolve import Campaign, read_campaign
from orchestrator.continuing import Earlier, continue_from, narrowed
from orchestrator.errors import ConfigError
from orchestrator.storage.run_folder import OVER, CampaignFolder, RunFolder
from orchestrator.tracking.following import Followers
from orchestrator.tracking.others import check_installed as check_others
from orchestrator.tracking.others import write_others
from orchestrator.tracking.store import check, ui_hint

if TYPE_CHECKING:
    from orchestrator.storage.run_data import CampaignRecords

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 143


def run_campaign(
    path: Path,
    overrides: Sequence[str],
    *,
    retry: bool = False,
    accept: bool = False,
    earlier: Earlier | None = None,
) -> int:
    """Check, train, compare; give the exit status.

    Args:
        path: of the campaign file.
        overrides: of its keys.
        retry: continue the runs that a guardrail has stopped.
        accept: take files that have changed since stored runs read them.
        earlier: the stored run that the campaign goes on from with other settings.
    """
    console = Console()
    campaign = read_campaign(path, overrides)
    if earlier is not None:
        campaign = narrowed(campaign, earlier)
    check_campaign(campaign)
    campaign.config.execution.executor.check()
    check_installed(campaign)
    uri = campaign.tracking_uri
    check_tracking(campaign)
    _print_notices(campaign, console)
    with exclusively(campaign):
        if earlier is not None:
            continue_from(campaign, earlier)
        return _run(campaign, uri, console, retry, accept)


def _run(campaign: Campaign, uri: str, console: Console, retry: bool, accept: bool) -> int:
    from orchestrator.comparison.final_numbers import final_numbers
    from orchestrator.storage.run_data import load_runs
    from orchestrator.tracking.tracker import Tracker

    tell = partial(console.print, markup=False, soft_wrap=True, highlight=False)
    folder, runs = prepare(campaign, accept=accept, tell=tell), runs_of(campaign)
    load_runs(
        [run for run in runs if run.read_status().status in OVER], keep=lambda _: False
    )  # whole, or refused
    if retry:
        _retry(runs, console)
    tracker = Tracker(
        folder,
        uri,
        warn=partial(console.print, markup=False),
        artifacts=campaign.config.tracking.artifacts,
        models=campaign.config.tracking.models,
        system_metrics=campaign.config.tracking.system_metrics,
    )
    tracker.start()
    failed: list[RunFolder] = []
    final: dict[str, dict[str, float]] = {}
    status = EXIT_DONE
    try:
        also = campaign.config.tracking.also
        with Progress(runs, console) as progress, Followers(folder.path, also) as followers:

            def look(queue: RunQueue) -> None:
                progress(queue)
                followers(worker.folder for worker in queue.running)

            failed = execute(folder, campaign, on_poll=look)
        status = EXIT_FAILED if failed else EXIT_DONE
        final = final_numbers(write_report(folder, console).arms)
    except InterruptedCampaignError as interruption:
        console.print(str(interruption))
        status = EXIT_INTERRUPTED
    finally:
        for message in tracker.finish(final=final):
            console.print(message, markup=False)
        for message in write_others(folder, campaign.config.tracking.also):
            console.print(message, markup=False, soft_wrap=True, highlight=False)
    for run in runs:
        if (text := saved(run)) is not None:
            console.print(f"interrupted: {run.path}: {text}", soft_wrap=True, highlight=False, markup=False)
    for run in failed:
        reason = run.read_status().reason or f"see {run.log_path}"
        console.print(f"[red]failed[/]: {escape(f'{run.path}: {reason}')}", soft_wrap=True)
    for run in runs:
        for note in (ended := run.read_status()).notes:
            console.print(f"[yellow]noted[/]: {escape(f'{run.path}: {note}')}", soft_wrap=True)
        if ended.status == "stopped":
            text = escape(f"{run.path}: {ended.reason}; --retry-stopped continues it")
            console.print(f"[yellow]stopped[/]: {text}", soft_wrap=True)
    console.print(
        f"report    {folder.report_path}\ntracking  {ui_hint(uri, tracker.experiment_id)}",
        soft_wrap=True,
        highlight=False,
    )
    return status


def _retry(runs: Sequence[RunFolder], console: Console) -> None:
    retried = retry_stopped(runs)
    for run, rollback in retried:
        text = f"{run.path}: from iteration {rollback.to}, {rollback.change} ({rollback.reason})"
        console.print(f"continued: {escape(text)}", soft_wrap=True, highlight=False)
    if not retried:
        console.print(
            "no run of the campaign is stopped, so nothing is retried", soft_wrap=True, markup=False
        )


def prepare_campaign(
    path: Path,
    overrides: Sequence[str],
    *,
    retry: bool = False,
    accept: bool = False,
    earlier: Earlier | None = None,
) -> None:
    """Write the folders of the runs that are not done, and print them; for the rest see `run_campaign`."""
    campaign = read_campaign(path, overrides)
    if earlier is not None:
        campaign = narrowed(campaign, earlier)
    check_campaign(campaign)
    with exclusively(campaign):
        if earlier is not None:
            continue_from(campaign, earlier)
        prepare(campaign, accept=accept, tell=partial(print, file=sys.stderr))
        runs = runs_of(campaign)
        if retry:
            _retry(runs, Console(stderr=True))
    for run in runs:
        if run.read_status().status not in OVER:
            print(run.path)


def validate_campaign(path: Path, overrides: Sequence[str], *, device_gib: float | None = None) -> None:
    """Say what the campaign would run, or what is wrong with it.

    ``device_gib`` [GiB] makes it a dry run for devices of that memory: this machine need not be the one that
    trains, so what is installed here and whether the data set is at hand does not matter.
    """
    campaign = read_campaign(path, overrides)
    check_campaign(campaign, with_problems=device_gib is None)
    if device_gib is None:
        check_installed(campaign)
    console = Console()
    for arm in campaign.arms:
        loops = ", ".join(f"{name} ({_loop_line(loop)})" for name, loop in arm.config.loops.items())
        console.print(f"{arm.name}: {arm.method}: {loops or 'no loop'}", highlight=False, soft_wrap=True)
    _print_notices(campaign, console)
    num_runs = len(campaign.arms) * len(campaign.config.seeds)
    console.print(
        f"{path} is valid: {num_runs} runs of {campaign.arms[0].config.learner.iterations} iterations"
    )
    if device_gib is not None:
        _print_estimates(campaign, device_gib, console)


def _print_notices(campaign: Campaign, console: Console) -> None:
    for notice in [
        *notices(campaign.arms),
        *reward_notices(campaign.arms),
        *hub_notices(campaign.arms),
        *device_notices(campaign),
    ]:
        console.print(f"note: {notice}", highlight=False, soft_wrap=True, markup=False)


def _print_estimates(campaign: Campaign, device_gib: float, console: Console) -> None:
    from orchestrator.commands.dry_run import dry_run
    from orchestrator.commands.outputs import print_rows

    for arm, estimate in dry_run(campaign, device_gib):
        print_rows(
            console,
            f"memory of one device of {device_gib:g} GiB, arm {arm} and those like it",
            estimate.rows(),
        )


def write_report(folder: CampaignFolder, console: Console) -> CampaignRecords:
    """The table on the terminal and the page on disk; gives what they were made of."""
    from orchestrator.comparison.inputs import different_inputs
    from orchestrator.report import print_table, write_page
    from orchestrator.storage.run_data import load_campaign

    comparison = load_campaign(folder)
    print_table(comparison, console)
    for line in different_inputs([run.info for arm in comparison.arms for run in arm.runs]):
        console.print(f"note: {line}", soft_wrap=True, highlight=False, markup=False)
    write_page(comparison, folder.report_path)
    return comparison


def check_tracking(campaign: Campaign) -> None:
    """Refuse a tracking URI that cannot be used, before any training.

    Raises:
        ConfigError: it cannot, with the campaign's key.
    """
    try:
        check(campaign.tracking_uri)
    except ValueError as error:
        raise ConfigError(f"{campaign.path}: tracking.uri: {error}") from error
    try:
        check_others(campaign.config.tracking.also)
    except ValueError as error:
        raise ConfigError(f"{campaign.path}: tracking.also: {error}") from error


def _loop_line(loop: LoopConfig) -> str:
    return " → ".join([loop.reading, loop.reference.kind, loop.law.kind, loop.actuator.kind])
