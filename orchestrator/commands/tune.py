"""The command `entrostat tune`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.commands.progress import Progress
from orchestrator.commands.run import check_tracking
from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.masking import mask_uri
from orchestrator.provenance import git_commit, versions
from orchestrator.report.study_page import write_page
from orchestrator.report.study_terminal import print_simulation, print_summary
from orchestrator.storage.files import write_json
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo
from orchestrator.tracking.store import ui_hint
from orchestrator.tuning.attempts import RANK
from orchestrator.tuning.confirmation import begin_confirmation, fresh_seeds
from orchestrator.tuning.judging import search
from orchestrator.tuning.preset import preset_text
from orchestrator.tuning.ranking import best_of_simulation
from orchestrator.tuning.records import (
    find_confirmations,
    find_for,
    find_study,
    keep_inputs,
    open_for,
    open_study,
    store_simulation,
    stored_simulation,
    study_names,
    url_of,
)
from orchestrator.tuning.storage import answering, dashboard_hint
from orchestrator.tuning.study import Study
from orchestrator.tuning.study_file import read_study, refuse, wasted_training
from orchestrator.tuning.training import EXIT_DONE, TRACKING_KEY, Training
from orchestrator.tuning.trial_queue import TrialQueue
from orchestrator.tuning.winner import winner


def tune_study(path: Path, overrides: Sequence[str], *, accept: bool = False) -> int:
    """Search, train, report; give the exit status.  ``accept`` takes files that have changed since the study began."""
    study = read_study(path, overrides)
    with answering(study.path):
        return _tune(study, overrides, Console(), accept)


def _tune(study: Study, overrides: Sequence[str], console: Console, accept: bool) -> int:
    uri, url = study.campaign.tracking_uri, url_of(study)
    check_tracking(study.campaign)
    _refuse_other_folders(study, uri, url)
    _refuse_wasted_training(study, uri, url)
    storage = open_for(study, url, uri)
    found = open_study(study, storage)
    if study.config.budget.trials:
        keep_inputs(study, found, accept=accept, tell=partial(console.print, markup=False, soft_wrap=True))
    folder = _prepare(study, found)
    report = folder.study_page_path
    confirmations = partial(find_confirmations, study, storage, fresh_seeds(study))
    status = EXIT_DONE
    simulated = _stage_one(study, storage, console)
    experiment: str | None = None
    if study.config.budget.trials:
        if simulated is not None:
            chosen = best_of_simulation(study, simulated)[: study.config.budget.trials]
            ranked = {rank: trial.params for rank, trial in enumerate(chosen, 1)}
            TrialQueue(found, storage).enqueue(RANK, ranked)
        training = Training(study, found, folder, uri, overrides, console, Progress((), console))
        status = training.run(
            then=partial(begin_confirmation, study, storage, found),
            before_end=lambda: write_page(study, found, simulated, report, confirmations()),
        )
        experiment = training.experiment_id
    else:
        write_page(study, found, simulated, report)
    print_summary(study, found, simulated, console, confirmations())
    lines = [f"report     {report}", f"dashboard  {dashboard_hint(url)}"]
    if study.config.budget.trials:
        lines.append(f"tracking   {ui_hint(uri, experiment)}")
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
    return status


def best_preset(path: Path, overrides: Sequence[str], number: int | None, by: str | None = None) -> str:
    """The winner of a study, or another of its trials, as the text of a method preset; nothing is written.

    Raises:
        ConfigError: there is no such study, or no winner in it, see `winner`.
    """
    study = read_study(path, overrides)
    url = url_of(study)
    with answering(study.path):
        storage = find_for(study, url, study.campaign.tracking_uri)
        if storage is None:
            raise ConfigError(
                f"{path}: storage: {mask_uri(url)} does not exist yet; run `entrostat tune {path}` first"
            )
        found = find_study(study, storage)
        if found is None:
            name = study.config.name
            raise ConfigError(
                f"{path}: name: {mask_uri(url)} has no study {name!r}; {did_you_mean(name, study_names(study, storage))}"
            )
        simulated = stored_simulation(study, storage) if study.config.simulation else None
        confirmations = find_confirmations(study, storage, fresh_seeds(study))
        return preset_text(study, winner(study, found, simulated, number, by=by, confirmations=confirmations))


def _refuse_other_folders(study: Study, uri: str, url: str) -> None:
    """Make sure, before anything is made, that the study's folder is not a campaign's or another study's."""
    folder = CampaignFolder(study.folder)
    if folder.exists() and "study" not in folder.read_info().config:
        raise ConfigError(
            f"{study.path}: name: {folder.path} holds a campaign of that name; give the study another name"
        )
    if any(folder.path.glob("trial-*")) and not _has_trials(study, uri, url):
        raise ConfigError(
            f"{study.path}: storage: has no trials, but {folder.path} has runs of trials; name the storage of those "
            "trials, give the study another name, or delete that folder"
        )


def _refuse_wasted_training(study: Study, uri: str, url: str) -> None:
    problems = list(wasted_training(study))
    if problems and not _has_trials(study, uri, url):
        refuse(study, problems)


def _has_trials(study: Study, uri: str, url: str) -> bool:
    """Whether the study has begun."""
    storage = find_for(study, url, uri)
    found = None if storage is None else find_study(study, storage)
    return found is not None and bool(found.get_trials(deepcopy=False))


def _prepare(study: Study, found: Any) -> CampaignFolder:
    """Write what the study is into its folder, which is that of a campaign whose arms are trials."""
    folder = CampaignFolder(study.folder)
    stored = folder.read_info() if folder.exists() else None
    folder.write_info(
        CampaignInfo(
            name=study.config.name,
            description=study.config.description,
            config=study.plain,
            source=str(study.path.resolve()),
            versions=versions(),
            git_commit=git_commit(study.path.resolve().parent),
            created=stored.created if stored else time.time(),
        )
    )
    key = found.user_attrs.get(TRACKING_KEY)
    key_path = folder.path / "tracking.json"
    if key is not None and not key_path.exists():  # another machine has made the study's MLflow run
        write_json(key_path, {"key": key})
    return folder


def _stage_one(study: Study, storage: Any, console: Console) -> Any:
    """The simulated candidates; None without a simulation."""
    if study.config.simulation is None:
        return None
    stored = stored_simulation(study, storage)
    if stored is None:
        begin = time.monotonic()
        searched = search(study)
        seconds = time.monotonic() - begin
        stored = store_simulation(study, storage, searched)
        print_simulation(study, stored, seconds, console)
    else:
        print_simulation(study, stored, None, console)
    return stored
