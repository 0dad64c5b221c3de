"""A metric has one name in the records and one in its family, and either can be written."""

from __future__ import annotations

import pytest

from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.signals import ALL_SIGNALS
from orchestrator.storage.metric_names import FAMILIES, family_name, recorded_name


def test_a_name_that_is_in_a_family_already_stays():
    for name in ("entropy/p90", "eval/pass_at_1", "loop/entropy/u", "reward/format"):
        assert family_name(name) == recorded_name(name) == name


def test_no_two_metrics_become_one():
    names = [*ALL_SIGNALS, "loss", "grad_norm", "rollout/starved_groups"]
    assert len({family_name(name) for name in names}) == len(names)
    assert all("/" in family for family in FAMILIES.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_either_name_is_that_of_the_records(name):
    assert recorded_name(family_name(name)) == recorded_name(name) == name


def test_a_sensor_may_have_the_name_that_a_tracker_shows():
    loop = {"law": {"kind": "pid", "kp": 1.0, "ki": 0.1}, "actuator": {"kind": "bonus"}}
    assert LoopConfig(sensor="covariance/mean", **loop).reading == "covariance"
    assert LoopConfig(sensor="entropy/mean", **loop) == LoopConfig(sensor="entropy", **loop)
    assert LoopConfig(sensor="entropy/mean", domain="add2", **loop).reading == "entropy/domain/add2"
