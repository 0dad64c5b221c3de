"""Runs and campaigns made of a few numbers."""

from __future__ import annotations

import numpy as np

from orchestrator.storage.run_data import ArmRecords, CampaignRecords, RunRecords, Series
from orchestrator.storage.run_folder import CampaignInfo, RunInfo, Status


def make_run(arm, seed, train, config=None, passed=None, **parts):
    """A finished run: values of iterations 0, 1, …, and an evaluation after 9, also of its domains by name."""
    columns = {name: np.array(values, dtype=float) for name, values in train.items()}
    evaluation = {f"eval/domain/{name}/pass_at_1": np.array([value]) for name, value in parts.items()}
    if passed is not None:
        evaluation["eval/pass_at_1"] = np.array([passed])
    return RunRecords(
        info=RunInfo(campaign="c", arm=arm, seed=seed, method="m", config=config or {}),
        status=Status(status="done"),
        train=Series(steps=np.arange(max(map(len, train.values()))), values=columns),
        evaluation=Series(steps=np.array([9] if evaluation else [], dtype=np.int64), values=evaluation),
        seconds=1.0,
    )


def campaign_of(*runs):
    """A campaign of these runs, with an arm for each name."""
    arms = dict.fromkeys(run.info.arm for run in runs)
    own = {name: tuple(run for run in runs if run.info.arm == name) for name in arms}
    return CampaignRecords(
        info=CampaignInfo(name="c"),
        arms=tuple(ArmRecords(name=name, method="m", runs=of_arm) for name, of_arm in own.items()),
    )
