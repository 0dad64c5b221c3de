"""What is shipped loads, passes the checks of a campaign, and can act."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.resolve import method_names, read_campaign, read_method
from orchestrator.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"
CAMPAIGNS = sorted(path for path in CONFIGS.glob("*.yaml"))
SUITABLE = {"learner.minibatches": 2, "learner.epochs": 2, "learner.group_size": 8}
"""Off-policy, with groups that are larger than a team of `pass_k`."""


@pytest.mark.parametrize("path", CAMPAIGNS, ids=lambda path: path.stem)
def test_every_campaign_passes_its_checks(path):
    check_campaign(read_campaign(path))


@pytest.mark.parametrize("name", method_names())
def test_every_preset_can_act_in_a_suitable_learner(write_campaign, name):
    check_campaign(read_campaign(write_campaign({"arms": [{"name": "a", "method": name}], **SUITABLE})))


@pytest.mark.parametrize("name", method_names())
def test_every_preset_says_what_it_is_and_where_it_is_from(name):
    method = read_method(name)
    assert method.method == name
    assert method.summary
    assert method.source
    assert not method.summary[0].isspace()


@pytest.mark.parametrize("name", ["clip_higher", "kl_cov"])
def test_presets_that_are_inert_on_policy_are_refused_there(write_campaign, name):
    with pytest.raises(ConfigError, match="cannot act in this learner"):
        check_campaign(read_campaign(write_campaign({"arms": [{"name": "a", "method": name}]})))


def test_the_issues_presets_are_there():
    assert {"grpo", "clip_higher", "entropy_bonus", "aer", "entropic", "skywork"} <= set(method_names())
