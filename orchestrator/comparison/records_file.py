"""Reads back the runs of a Parquet file that `entrostat export` wrote, so that figures need no training.

The rows are the numbers.  What they are of, settings, versions and how each run ended, is in the file's metadata, one
compressed JSON document.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.configuration.resolve import Campaign, read_campaign
from orchestrator.configuration.stored import differing_keys, differing_settings
from orchestrator.errors import ConfigError
from orchestrator.provenance import versions
from orchestrator.storage.guardrail_files import Event, Rollback
from orchestrator.storage.run_data import CampaignRecords, RunRecords, Series, group_by_arm
from orchestrator.storage.run_folder import CampaignInfo, RunInfo, Status

METADATA = b"entrostat"
PACKAGE = "entrostat"
MOST_NAMED = 5
"""Differences that an error names."""

Numbers = Mapping[tuple[str, int], Mapping[str, Series]]
"""Series by arm and seed, and by kind of record."""


def campaigns_recorded(names: Sequence[str], folder: Path) -> list[CampaignRecords]:
    """The recorded runs of campaign files, and of all such files in folders, in the order of their names.

    Args:
        names: paths of campaign files and of folders with campaign files.
        folder: holds `<campaign>.parquet` for each of them.

    Raises:
        ConfigError: there is no campaign, or the records of one are not of its runs as it describes them.
    """
    found = []
    for name in names:
        path = Path(name)
        files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not files:
            raise ConfigError(
                f"{path}: holds no campaign file (.yaml); name a campaign file, or a folder of them"
            )
        for file in files:
            campaign = read_campaign(file)
            records = folder / f"{campaign.config.name}.parquet"
            found.append(of_campaign(campaign, read_records(records), records))
    if not found:
        raise ConfigError("nothing to compare: with --from, name campaign files or a folder of them")
    return found


def described(campaign: CampaignRecords) -> dict[bytes, bytes]:
    """Metadata of a Parquet file: all that is known of the runs besides their numbers, but for folders."""
    configs: list[dict[str, Any]] = []  # the seeds of an arm share theirs
    runs = []
    for run in campaign.runs:
        if run.info.config not in configs:
            configs.append(run.info.config)
        info = dataclasses.asdict(dataclasses.replace(run.info, config={}, execution={}))
        status = dataclasses.asdict(dataclasses.replace(run.status, pid=None))
        events = [dataclasses.asdict(event) for event in run.events]
        rollbacks = [dataclasses.asdict(rollback) for rollback in run.rollbacks]
        of_run = {"info": info, "config": configs.index(run.info.config), "status": status}
        runs.append(of_run | {"seconds": run.seconds, "events": events, "rollbacks": rollbacks})
    kept = {key: value for key, value in campaign.info.config.items() if key in ("seeds", "arms")}
    about = dataclasses.replace(campaign.info, config=kept, source=Path(campaign.info.source).name)
    content = {"campaign": dataclasses.asdict(about), "configs": configs, "runs": runs}
    return {METADATA: zlib.compress(json.dumps(content).encode())}


def read_records(path: Path) -> CampaignRecords:
    """The runs that a Parquet file holds, as they were exported.

    Raises:
        ConfigError: there is no such file, or it is none that `entrostat export` wrote with one row a number.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; write it by `entrostat export CAMPAIGN --output {path}`"
        ) from None
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(
            f"{path}: not a Parquet file that can be read ({error}); export it again"
        ) from error
    metadata = (table.schema.metadata or {}).get(METADATA)
    if metadata is None or "value" not in table.column_names:
        raise ConfigError(
            f"{path}: holds no runs to read back; export it again, to .parquet and without --wide"
        )
    try:
        content = json.loads(zlib.decompress(metadata))
        numbers = _numbers(table)
        runs = [_run(each, content["configs"], numbers) for each in content["runs"]]
        info = CampaignInfo(**content["campaign"])
    except (zlib.error, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{path}: cannot be read by Entrostat {versions()[PACKAGE]} ({error}); export it again"
        ) from error
    return CampaignRecords(info=info, arms=group_by_arm(runs))


def added_to(earlier: CampaignRecords, campaign: CampaignRecords, path: Path) -> CampaignRecords:
    """The runs of an earlier export, and those of the campaign since; of two of one name, the one that came furthest.

    Args:
        earlier: what ``path`` holds.
        campaign: further arms and seeds of the same campaign.

    Raises:
        ConfigError: the file is of another campaign, or other settings or another version trained its runs.
    """
    _require_same(path, "campaign", earlier.info.name, campaign.info.name)
    before, now = (each.info.versions.get(PACKAGE, "unknown") for each in (earlier, campaign))
    _require_same(path, "version", before, now)
    runs: dict[tuple[str, int], RunRecords] = {}
    stored = {arm.name: arm.runs[0].info.config for arm in earlier.arms}
    for run in (*earlier.runs, *campaign.runs):
        if changed := differing_settings(stored.setdefault(run.info.arm, run.info.config), run.info.config):
            raise ConfigError(
                f"--with {path}: the arm {run.info.arm!r} has other settings there: {'; '.join(changed[:MOST_NAMED])}; "
                "leave --with out, or name the arm otherwise"
            )
        key = (run.info.arm, run.info.seed)
        runs[key] = max(run, runs.get(key, run), key=RunRecords.outcome)
    both = [each.info.config for each in (earlier, campaign)]
    seeds = dict.fromkeys(seed for config in both for seed in config.get("seeds", ()))
    arms = {arm["name"]: arm for config in both for arm in config.get("arms", ())}
    joined = {**campaign.info.config, "seeds": list(seeds), "arms": list(arms.values())}
    info = dataclasses.replace(campaign.info, config=joined)
    return CampaignRecords(info=info, arms=group_by_arm(runs.values()))


def _require_same(path: Path, what: str, before: str, now: str) -> None:
    if before != now:
        raise ConfigError(
            f"--with {path}: holds runs of the {what} {before}, these are of {now}; leave --with out"
        )


def of_campaign(campaign: Campaign, records: CampaignRecords, path: Path) -> CampaignRecords:
    """The runs in a file that the campaign names, in its order.

    Raises:
        ConfigError: another version or other settings made them, or a run is missing or has not ended.
    """
    if records.info.name != campaign.config.name:
        raise ConfigError(
            f"{path}: holds the campaign {records.info.name!r}, not {campaign.config.name!r}; export that one to this file"
        )
    trained, now = records.info.versions.get(PACKAGE, "unknown"), versions()[PACKAGE]
    if trained != now:
        raise ConfigError(
            f"{path}: its runs are of Entrostat {trained}, this is {now}; train and export them again"
        )
    stored = {(run.info.arm, run.info.seed): run for run in records.runs}
    kept, wrong = [], []
    for arm in campaign.arms:
        changed: list[str] = []
        for seed in campaign.config.seeds:
            run = stored.get((arm.name, seed))
            if run is None or not run.over:
                wrong.append(
                    f"{arm.name} seed {seed} is missing" if run is None else f"{run.name} has not ended"
                )
            else:
                changed = changed or differing_keys(run.info.config, arm)
                kept.append(run)
        wrong += [f"{arm.name}: {line}" for line in changed]
    if wrong:
        more = f"; and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        raise ConfigError(
            f"{path}: not what {campaign.path} describes: {'; '.join(wrong[:MOST_NAMED])}{more}; "
            f"train it by `entrostat run {campaign.path}` and export it again"
        )
    return CampaignRecords(info=records.info, arms=group_by_arm(kept))


def _numbers(table: Any) -> Numbers:
    """The rows as series; a metric that a step lacks is nan there."""
    keys = ["arm", "seed", "kind"]
    frame = table.select([*keys, "step", "metric", "value"]).to_pandas()
    found: dict[tuple[str, int], dict[str, Series]] = {}
    for (arm, seed, kind), rows in frame.groupby(keys, observed=True, sort=False):
        wide = rows.pivot(index="step", columns="metric", values="value")
        values = {str(name): wide[name].to_numpy(dtype=float) for name in wide.columns}
        found.setdefault((str(arm), int(seed)), {})[str(kind)] = Series(
            steps=wide.index.to_numpy(dtype=np.int64), values=values
        )
    return found


def _run(stored: Mapping[str, Any], configs: Sequence[dict[str, Any]], numbers: Numbers) -> RunRecords:
    info = RunInfo(**stored["info"] | {"config": configs[stored["config"]]})
    nothing = Series(steps=np.array([], dtype=np.int64), values={})
    series = numbers.get((info.arm, info.seed), {})
    return RunRecords(
        info=info,
        status=Status(**stored["status"]),
        train=series.get("train", nothing),
        evaluation=series.get("eval", nothing),
        seconds=stored["seconds"],
        events=tuple(Event(**event) for event in stored["events"]),
        rollbacks=tuple(Rollback(**rollback) for rollback in stored["rollbacks"]),
    )
