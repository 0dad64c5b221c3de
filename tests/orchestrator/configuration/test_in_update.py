"""``learner.measure: in_update``: refused where readings are needed before the update, and known to the loops."""

from __future__ import annotations

import pytest

from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.notices import notices
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from policies.actuators import ACTUATORS

SERVER = {"kind": "vllm_server", "urls": ["http://127.0.0.1:8000"]}
CURE = "set learner.measure to 'before_update'"


def campaign(write_campaign, loop=None, **changes):
    loops = {} if loop is None else {"entropy": {"actuator": {"kind": "bonus"}, **loop}}
    arm = {"name": "held", "loops": loops}
    settings = {"learner.measure": "in_update", "learner.minibatches": 2, "arms": [arm]}
    return read_campaign(write_campaign(settings | changes))


@pytest.mark.parametrize("kind", sorted(ACTUATORS))
def test_an_actuator_that_looks_at_the_policy_is_refused(write_campaign, kind):
    law = {"kind": "open_loop", "value": ACTUATORS[kind].command.high}
    asked = campaign(write_campaign, {"actuator": {"kind": kind}, "law": law})
    if not ACTUATORS[kind].looks_at_policy:
        check_campaign(asked)
        return
    message = (
        rf"loops\.entropy\.actuator: '{kind}' decides over a whole batch.*not know before the update.*{CURE}"
    )
    with pytest.raises(ConfigError, match=message):
        check_campaign(asked)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("importance", "truncated", "learner.importance: must be 'none'.*got 'truncated'; remove it, or"),
        ("truncated", "mask", "learner.truncated: must be 'keep'.*got 'mask'; change it, or"),
        ("uniform_groups", "drop", "learner.uniform_groups: must be 'keep'.*got 'drop'; change it, or"),
        ("measure", "after", "learner.measure: .*'before_update' or 'in_update'"),
    ],
)
def test_what_the_learner_cannot_have_is_refused(write_campaign, key, value, message):
    with pytest.raises(ConfigError, match=message):
        check_campaign(campaign(write_campaign, **{f"learner.{key}": value}))


def test_a_feedforward_that_comes_too_late_is_refused(write_campaign):
    loop = {"feedforward": {"kind": "paced"}}
    with pytest.raises(ConfigError, match=rf"entropy\.feedforward: 'paced' answers.*comes after it.*{CURE}"):
        check_campaign(campaign(write_campaign, loop))


def test_the_gap_to_another_engine_must_be_watched(write_campaign):
    check_campaign(campaign(write_campaign, **{"rollout.engine": SERVER}))
    unwatched = {"rollout.engine": SERVER, "guardrails": {"mismatch": None}}
    with pytest.raises(ConfigError, match=rf"guardrails\.mismatch: must look.*'vllm_server'.*{CURE}"):
        check_campaign(campaign(write_campaign, **unwatched))
    check_campaign(campaign(write_campaign, **(unwatched | {"rollout.engine": "transformers"})))


def test_a_ratio_to_the_engine_corrects_old_responses_and_a_loss_without_one_does_not(write_campaign):
    def said(**changes):
        asked = campaign(write_campaign, **{"rollout.ahead": 1}, **changes)
        return [notice for notice in notices(asked.arms) if "importance" in notice]

    assert said() == []
    assert said(**{"learner.objective": {"kind": "policy_gradient"}})


@pytest.mark.parametrize(("actuator", "dead_time"), [("temperature", 3), ("bonus", 1)])
def test_a_loop_knows_how_long_its_command_waits(write_campaign, actuator, dead_time):
    changes = {"rollout.ahead": 3}
    config: RunConfig = campaign(write_campaign, {"actuator": {"kind": actuator}}, **changes).arms[0].config
    built = config.loops["entropy"].build(ahead=config.rollout.ahead, measure=config.learner.measure)
    assert built.dead_time == dead_time
