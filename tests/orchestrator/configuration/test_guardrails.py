"""The section `guardrails`: on by default, off by a key, overridden by name, refused where it cannot act."""

from __future__ import annotations

import pytest

from controllers.guardrails import DETECTORS
from controllers.guardrails.base import Detector
from controllers.guardrails.collapse import Collapse
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.guardrails import GuardrailsConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError


@pytest.fixture
def arms(write_campaign):
    """The arms of the small campaign with some changes, by name."""
    return lambda changes: {arm.name: arm for arm in read_campaign(write_campaign(changes)).arms}


def test_there_is_a_key_for_every_detector_and_it_is_on():
    """All but that of evaluations, which a run has for stopping early."""
    assert GuardrailsConfig().detectors.keys() == DETECTORS.keys() - {"plateau"}
    config = GuardrailsConfig(plateau={})
    assert config.detectors.keys() == DETECTORS.keys()
    for name, detector in config.detectors.items():
        assert isinstance(detector, Detector)
        assert detector.name == name
        assert detector.action == "warn"


def test_one_key_switches_all_off(arms):
    off = arms({"guardrails.enabled": False})
    assert all(arm.config.guardrails.detectors == {} for arm in off.values())


def test_a_detector_is_overridden_by_name_in_campaign_and_arm(arms):
    changes = {
        "guardrails": {"collapse": {"threshold": 0.2, "patience": 3}, "mismatch": None},
        "arms.1.guardrails": {"collapse": {"action": "stop"}},
    }
    found = arms(changes)
    assert found["grpo"].config.guardrails.collapse == Collapse(threshold=0.2, patience=3)
    assert found["held"].config.guardrails.collapse == Collapse(threshold=0.2, patience=3, action="stop")
    assert "mismatch" not in found["held"].config.guardrails.detectors


def test_a_method_may_bring_its_own(write_campaign, tmp_path):
    preset = "method: mine\nsummary: Mine.\nsource: none\nguardrails: {explosion: {action: stop}}\n"
    (tmp_path / "mine.yaml").write_text(preset)
    campaign = read_campaign(write_campaign({"arms.0.method": "mine.yaml"}))
    assert campaign.arms[0].config.guardrails.with_action("stop") == ["explosion"]


def test_the_resolved_section_can_be_read_again(arms):
    arm = arms({"guardrails": {"collapse": {"action": "rollback"}, "repetition": None}})["held"]
    assert RunConfig(**arm.plain).guardrails == arm.config.guardrails


def test_only_what_can_change_a_result_is_in_the_fingerprint(arms):
    plain = arms({})["held"].fingerprint
    assert arms({"guardrails.enabled": False})["held"].fingerprint == plain
    assert arms({"guardrails": {"collapse": {"patience": 4}}})["held"].fingerprint == plain
    stopping = arms({"guardrails": {"collapse": {"action": "stop"}}})["held"].fingerprint
    assert stopping != plain
    assert (
        arms({"guardrails": {"collapse": {"action": "stop", "patience": 4}}})["held"].fingerprint != stopping
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"guardrails.colapse": {}},
            "guardrails.colapse: unknown key; did you mean 'collapse'?",
        ),
        (
            {"guardrails.collapse": {"treshold": 0.1}},
            "guardrails.collapse.treshold: unknown key; did you mean 'threshold'?",
        ),
        (
            {"guardrails.collapse": {"threshold": 1.5}},
            "guardrails.collapse: threshold must be > 0 and < 1, got 1.5",
        ),
        ({"guardrails.truncation": {"patience": 0}}, "guardrails.truncation: patience must be >= 1, got 0"),
        (
            {"guardrails.truncation": {"action": "halt"}},
            "guardrails.truncation.action: input should be 'warn'",
        ),
        ({"guardrails.limit_factor": 1.0}, "guardrails.limit_factor: input should be less than 1, got 1.0"),
        (
            {"guardrails.starvation": {"action": "hold"}},
            "arms.grpo.guardrails.starvation.action: 'hold' keeps the commands of loops, and this run has no "
            "loop; set 'warn' or 'stop'",
        ),
        (
            {"guardrails.explosion": {"action": "rollback"}, "learner.checkpoint_every": 50},
            "guardrails.explosion.action: 'rollback' needs a checkpoint to go back to, and with "
            "learner.checkpoint_every 50 there is none in 6 iterations; lower it to 6 or less",
        ),
    ],
)
def test_what_cannot_be_is_refused(write_campaign, changes, message):
    with pytest.raises(ConfigError) as refusal:
        check_campaign(read_campaign(write_campaign(changes)))
    assert message in str(refusal.value)


def test_switched_off_they_are_not_held_against_the_run(write_campaign):
    changes = {"guardrails": {"enabled": False, "starvation": {"action": "hold"}}}
    check_campaign(read_campaign(write_campaign(changes)))
