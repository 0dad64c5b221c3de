"""Turns a name into its runs: of a campaign or a study in a folder, or in MLflow.

One rule for every command: the folder of runs is looked in first, then its MLflow store; with a tracking URI, MLflow
alone.  A study is stored like a campaign, in the same folder, so the rule finds both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.storage.columns import Keep
from orchestrator.storage.run_data import CampaignRecords, RunRecords, group_by_arm, load_campaign
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo
from orchestrator.tracking.addresses import sqlite_path
from orchestrator.tracking.store import default_uri

RUN_ID = re.compile(r"[0-9a-f]{32}")


def named_runs(
    name: str,
    *,
    folder: Path,
    uri: str | None = None,
    keep: Keep | None = None,
    metrics: Sequence[str] | None = None,
) -> CampaignRecords:
    """The runs that a name stands for.

    Args:
        name: a campaign or a study in ``folder``, its path, a campaign in MLflow, or an MLflow run id.
        folder: where runs are kept; its `mlflow.db` is the store that is used without ``uri``.
        uri: a tracking URI; with it nothing is looked for in ``folder``.
        keep: which metrics to read from run folders; None for all.
        metrics: patterns of the metrics to read from MLflow; None for all.

    Raises:
        ConfigError: the name stands for no run, or two different runs claim to be the same.
    """
    stored = stored_campaign(name, folder) if uri is None else None
    if stored is not None:
        return _with_runs(load_campaign(stored, keep), stored)
    if RUN_ID.fullmatch(name):
        return from_mlflow(name[:8], uri or default_uri(folder), run_ids=[name], metrics=metrics)
    if uri is not None:
        return from_mlflow(name, uri, campaign=name, metrics=metrics)
    unknown = f"no campaign {name!r} in {folder.resolve()}; {did_you_mean(name, stored_in(folder))}"
    if not sqlite_path(default_uri(folder)).exists():
        raise ConfigError(unknown)
    try:
        return from_mlflow(name, default_uri(folder), campaign=name, metrics=metrics)
    except ConfigError as error:
        raise ConfigError(f"{unknown}; nor from MLflow: {error}") from error


def stored_campaign(name: str, folder: Path) -> CampaignFolder | None:
    """The folder of the campaign or study of that name in ``folder``, or at that path; None without one."""
    found = (CampaignFolder(path) for path in (folder / name, Path(name)) if name)
    return next((each for each in found if each.exists()), None)


def from_mlflow(title: str, uri: str, **which: Any) -> CampaignRecords:
    """The runs that `orchestrator.tracking.read.fetch_runs` finds, as a campaign of this title."""
    from orchestrator.tracking.read import fetch_runs

    return CampaignRecords(info=CampaignInfo(name=title), arms=group_by_arm(merge(fetch_runs(uri, **which))))


def stored_in(folder: Path) -> list[str]:
    """Names of the campaigns and studies in a folder of runs."""
    return sorted(path.parent.name for path in folder.glob("*/campaign.json"))


def merge(runs: Sequence[RunRecords]) -> list[RunRecords]:
    """The runs, each once: of two with the same name and settings, the one that came furthest.

    An arm whose name is in several campaigns gets that of its campaign too.

    Raises:
        ConfigError: two different runs have the same campaign, arm and seed.
    """
    unique: dict[tuple[str, str, int], RunRecords] = {}
    for run in runs:
        key = (run.info.campaign, run.info.arm, run.info.seed)
        other = unique.setdefault(key, run)
        if other.info.fingerprint != run.info.fingerprint:
            raise ConfigError(
                f"two different runs are called {key[0]}/{run.name}; rename one of their campaigns"
            )
        unique[key] = max(other, run, key=RunRecords.outcome)  # the first of two that came equally far
    of_name = Counter(arm for _, arm in dict.fromkeys(key[:2] for key in unique))
    return [
        replace(run, info=replace(run.info, arm=f"{campaign}/{arm}")) if of_name[arm] > 1 else run
        for (campaign, arm, _), run in unique.items()
    ]


def _with_runs(campaign: CampaignRecords, folder: CampaignFolder) -> CampaignRecords:
    """The campaign, unless there is nothing of it yet, as of a study before its second stage."""
    if not campaign.arms:
        study = folder.study_page_path
        page = f"; the page of the study shows what it found without runs: {study}" if study.exists() else ""
        raise ConfigError(f"{campaign.info.name}: no run yet{page}")
    return campaign
