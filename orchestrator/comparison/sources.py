"""Joins campaigns, studies, run ids and a filter to one campaign to compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.storage.columns import Keep
from orchestrator.storage.run_data import CampaignRecords, group_by_arm
from orchestrator.storage.run_folder import CampaignInfo
from orchestrator.tracking.named_runs import from_mlflow, merge, named_runs
from orchestrator.tracking.store import default_uri

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
    found = [named_runs(name, folder=folder, uri=uri, keep=keep) for name in names]
    if filter:
        found.append(from_mlflow(filter, uri or default_uri(folder), filter=filter))
    if len(found) == 1:
        return found[0]
    runs = [run for campaign in found for run in campaign.runs]
    return CampaignRecords(
        info=_joined([campaign.info for campaign in found]), arms=group_by_arm(merge(runs))
    )


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
