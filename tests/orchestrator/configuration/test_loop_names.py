"""Loops whose names differ by case alone are refused: a tracker may take their metrics for one."""

import pytest

from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError


def test_loops_that_differ_by_case_alone_are_refused(write_campaign, campaign_content):
    loops = campaign_content["arms"][1]["loops"]
    loops["Entropy"] = {
        "law": {"kind": "open_loop", "value": 1.0},
        "actuator": {"kind": "temperature"},
    }
    campaign = read_campaign(write_campaign(campaign_content))
    with pytest.raises(
        ConfigError, match=r"arms\.held\.loops\.Entropy: differs from the loop 'entropy' by case"
    ):
        check_campaign(campaign)
