"""Runs made of a few numbers."""

import numpy as np
import pytest

from orchestrator.storage.run_data import ArmRecords, CampaignRecords, RunRecords, Series
from orchestrator.storage.run_folder import CampaignInfo, RunInfo, Status


def series(columns):
    """`{"name": {step: value}}` as columns over the union of the steps."""
    steps = sorted({step for column in columns.values() for step in column})
    values = {
        name: np.array([column.get(step, np.nan) for step in steps]) for name, column in columns.items()
    }
    return Series(steps=np.array(steps, dtype=np.int64), values=values)


@pytest.fixture
def make_run():
    """`make_run("arm", 0, train={...}, evaluation={...})`; what is given as a list is of steps 0, 1, …"""

    def make(
        arm="a",
        seed=0,
        *,
        train=None,
        evaluation=None,
        status="done",
        num_iterations=0,
        campaign="c",
        method="m",
        fingerprint="f",
    ):
        def columns(given):
            return {
                name: dict(enumerate(own)) if isinstance(own, list) else own
                for name, own in (given or {}).items()
            }

        return RunRecords(
            info=RunInfo(campaign=campaign, arm=arm, seed=seed, method=method, fingerprint=fingerprint),
            status=Status(status=status, num_iterations=num_iterations),
            train=series(columns(train)),
            evaluation=series(columns(evaluation)),
            seconds=1.0,
        )

    return make


@pytest.fixture
def make_arm(make_run):
    """`make_arm("a", {seed: final pass@1})`."""

    def make(name, finals, method="m", **named):
        runs = [
            make_run(name, seed, evaluation={"eval/pass_at_1": {10: value}}, **named)
            for seed, value in finals.items()
        ]
        return ArmRecords(name=name, method=method, runs=tuple(runs))

    return make


@pytest.fixture
def make_comparable():
    """`make_comparable(arms)` is a campaign of them."""
    return lambda arms: CampaignRecords(info=CampaignInfo(name="c"), arms=tuple(arms))
