"""What every trainer has is checked against the rest of a run when the campaign is read."""

from __future__ import annotations

import pytest

from orchestrator.configuration.checks import arm_problems
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError

KL = {"actuator": {"kind": "kl_coefficient"}, "limits": [0.0, 0.1]}


@pytest.fixture
def faults(write_campaign):
    """What is wrong with the controlled arm of a campaign with these changes."""

    def found(**changes):
        return list(arm_problems(read_campaign(write_campaign(changes)).arms[1]))

    return found


def test_a_reference_that_is_not_there(faults, tmp_path):
    (fault,) = faults(**{"policy.reference": str(tmp_path / "none")})
    assert fault.startswith(f"policy.reference: no model folder at {tmp_path / 'none'}")


def test_the_built_in_policy_is_no_reference(faults):
    (fault,) = faults(**{"policy.reference": "builtin:tiny"})
    assert "must be 'start' or a pretrained model, got 'builtin:tiny'" in fault


def test_an_estimator_that_cannot_act_in_a_loss(write_campaign):
    path = write_campaign(
        {"arms.1.loops.kl": KL | {"actuator": {"kind": "kl_coefficient", "estimator": "k1"}}}
    )
    with pytest.raises(ConfigError) as refusal:
        read_campaign(path)
    assert str(refusal.value) == (
        f"{path}: arms.held.loops.kl.actuator: estimator must be k2 or k3, got 'k1', whose gradient has mean 0 in a loss; "
        "take one of them, or the actuator kl_reward"
    )


@pytest.mark.parametrize("by", [{"actuator": {"kind": "kl_reward"}}, {"sensor": "reference_kl/nearness"}])
def test_scaled_logits_beside_a_reference(faults, by):
    scaled = {"actuator": {"kind": "logit_activation"}, "law": {"kind": "open_loop", "value": 0.5}}
    assert faults(**{"arms.1.loops.scaled": scaled}) == []
    (fault,) = faults(**{"arms.1.loops.scaled": scaled, "arms.1.loops.kl": KL | by})
    assert fault.startswith(
        "loops.scaled.actuator: 'logit_activation' must not stand beside a KL to policy.reference"
    )


def test_a_penalty_that_begins_with_the_first_token(faults):
    assert faults(**{"learner.overlong": {"buffer_tokens": 7}}) == []
    (fault,) = faults(**{"learner.overlong": {"buffer_tokens": 8}})
    assert fault == (
        "learner.overlong.buffer_tokens: must be below the longest response, 8 tokens, got 8; lower it, or raise "
        "rollout.max_tokens"
    )


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"learner.overlong": {"buffer_tokens": 4}}, "learner.overlong"),
        ({"arms.1.loops.kl": {"actuator": {"kind": "kl_reward"}}}, "loops.kl.actuator"),
    ],
)
def test_rewards_below_zero_beside_an_advantage_that_divides_by_them(faults, changes, key):
    assert faults(**changes) == []
    (fault,) = faults(**changes, **{"arms.1.learner.advantage": {"kind": "maxrl"}})
    assert fault.startswith(f"{key}: makes rewards below 0, and the advantage 'maxrl' divides by their mean")
