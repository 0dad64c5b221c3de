"""Stored configurations of earlier versions are read under today's names."""

from __future__ import annotations

import pytest

from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.resolve import parse
from orchestrator.storage.renamed import KEYS, KINDS, new_key, up_to_date
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo
from tasks import TASKS


def test_a_stored_loop_with_old_keys_is_read():
    old = {
        "reference": {"kind": "constant", "value_nats": 0.4},
        "law": {
            "kind": "scheduled_pid",
            "pid": {"kind": "pid", "kp": 1.0, "ki": 0.1, "tracking": 0.25},
            "learning_rate_reference": 1e-3,
        },
        "actuator": {"kind": "bonus"},
    }
    config = parse(LoopConfig, up_to_date(old), "stored")
    assert config.law.pid.anti_windup == 0.25
    assert old["law"]["pid"]["tracking"] == 0.25, "the stored configuration is left as it is"


OLD = {"loops": {"entropy": {"law": {"kind": "pid", "kp": 1.0, "ki": 0.1, "tracking": 0.25}}}}
NOW = {"loops": {"entropy": {"law": {"kind": "pid", "kp": 1.0, "ki": 0.1, "anti_windup": 0.25}}}}


def test_a_run_and_a_campaign_are_read_under_todays_names(tmp_path):
    campaign = CampaignFolder(tmp_path / "c")
    campaign.write_info(CampaignInfo(name="c", config=OLD))
    run = campaign.run("held", 0)
    run.write_info(RunInfo(campaign="c", arm="held", seed=0, method="m", config=OLD))
    assert campaign.read_info().config == run.read_info().config == NOW


def test_only_the_part_that_had_the_key_is_changed():
    content = {"tracking": {"folder": "runs"}, "loops": [{"kind": "dual_ascent", "tracking": 1}]}
    assert up_to_date(content) == content


def test_old_kinds_and_keys_have_new_names_that_exist():
    assert up_to_date({"task": {"kind": "comparison"}}) == {"task": {"kind": "larger_number"}}
    assert set(KINDS.values()) <= set(TASKS)
    assert not set(KINDS) & set(TASKS)
    assert all(new_key({"kind": kind}, old) == new for (kind, old), new in KEYS.items())


@pytest.mark.parametrize("part", [None, [], "pid", {"kind": ["pid"]}, {}])
def test_what_is_no_part_has_no_new_key(part):
    assert new_key(part, "tracking") is None
