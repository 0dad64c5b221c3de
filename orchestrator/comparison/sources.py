"""Turns campaigns, studies, run ids or a filter into one campaign to compare.

A study is stored like a campaign, in the same folder, so one rule finds both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import ConfigError, did_you_mean
from orchestrator.storage.columns import Keep
from orchestrator.storage.run_data import ArmRecords, CampaignRecords, RunRecords, group_by_arm, load_campaign
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo
from orchestrator.tracking.addresses import SQLITE
from orchestrator.tracking.store import default_uri

RUN_ID = re.compile(r"[0-9a-f]{32}")
LONGEST_TITLE = 80


def gather(
    names: Sequence[str],
    *,
    folder: Path,
    uri: str | None = None,
    filter: str | None = None,
    keep: Keep | None = None,
) -> CampaignRecords:
    """All runs that are named, as one campaign; arms of one name in several get that of their campaign too.

    Args:
        names: campaigns or studies in ``folder``, or in MLflow, and MLflow run ids.
        folder: where runs are kept; its `mlflow.db` is the tracking URI that is used without ``uri``.
        uri: a tracking URI; with it nothing is looked for in ``folder``.
        filter: an MLflow filter string, whose runs are added.
        keep: which metrics to read from run folders.

    Raises:
        ConfigError: a name or the filter stands for no run, or two different runs claim to be the same.
    """
    if not names and not filter:
        raise ConfigError("nothing to compare: name campaigns, studies or MLflow run ids, or give --filter")
    ids = [name for name in names if RUN_ID.fullmatch(name)]
    found = [_named(name, folder, uri, keep) for name in names if name not in ids]
    if len(found) == 1 and not (ids or filter):
        return found[0]
    tracked = uri or default_uri(folder)
    if ids:
        title = ", ".join(run_id[:8] for run_id in ids)
        found.append(_from_mlflow(title, tracked, run_ids=ids))
    if filter:
        found.append(_from_mlflow(filter, tracked, filter=filter))
    runs = [run for campaign in found for run in campaign.runs]
    return CampaignRecords(info=_joined([campaign.info for campaign in found]), arms=merge(runs))


def merge(runs: Sequence[RunRecords]) -> tuple[ArmRecords, ...]:
    """Arms of runs from several campaigns; of a run that is there twice, the one that came furthest counts.

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
        unique[key] = max(other, run, key=_outcome)  # the first of two that came equally far
    of_name = Counter(arm for _, arm in dict.fromkeys(key[:2] for key in unique))
    return group_by_arm(
        replace(run, info=replace(run.info, arm=f"{campaign}/{arm}")) if of_name[arm] > 1 else run
        for (campaign, arm, _), run in unique.items()
    )


def _outcome(run: RunRecords) -> tuple[bool, bool, float]:
    """Orders runs by how they ended, those that ended alike by when."""
    status = run.status
    return status.status == "done", status.status == "stopped", status.updated


def stored(folder: Path) -> list[str]:
    """Campaigns and studies in a folder of runs."""
    return sorted(path.parent.name for path in folder.glob("*/campaign.json"))


def _named(name: str, folder: Path, uri: str | None, keep: Keep | None) -> CampaignRecords:
    if uri is not None:
        return _from_mlflow(name, uri, campaign=name)
    for path in (folder / name, Path(name)):
        if CampaignFolder(path).exists():
            return _with_runs(load_campaign(CampaignFolder(path), keep), CampaignFolder(path))
    if Path(default_uri(folder).removeprefix(SQLITE)).exists():
        with suppress(ConfigError):
            return _from_mlflow(name, default_uri(folder), campaign=name)
    raise ConfigError(f"no campaign {name!r} in {folder.resolve()}; {did_you_mean(name, stored(folder))}")


def _with_runs(campaign: CampaignRecords, folder: CampaignFolder) -> CampaignRecords:
    """The campaign, unless there is nothing of it yet, as of a study before its second stage."""
    if not campaign.arms:
        study = folder.study_page_path
        page = f"; the page of the study shows what it found without runs: {study}" if study.exists() else ""
        raise ConfigError(f"{campaign.info.name}: no run yet{page}")
    return campaign


def _from_mlflow(title: str, uri: str, **which: Any) -> CampaignRecords:
    from orchestrator.tracking.read import fetch_runs

    return CampaignRecords(info=CampaignInfo(name=title), arms=merge(fetch_runs(uri, **which)))


def _joined(infos: Sequence[CampaignInfo]) -> CampaignInfo:
    """What several campaigns are together; versions that differ are all named."""
    title = ", ".join(info.name for info in infos)
    names = dict.fromkeys(name for info in infos for name in info.versions)
    return CampaignInfo(
        name=title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…",
        description=" ".join(info.description for info in infos if info.description),
        source=", ".join(info.source for info in infos if info.source),
        versions={
            name: ", ".join(dict.fromkeys(info.versions[name] for info in infos if name in info.versions))
            for name in names
        },
        git_commit=", ".join(dict.fromkeys(info.git_commit for info in infos if info.git_commit)) or None,
        created=max((info.created for info in infos), default=0.0),
    )
