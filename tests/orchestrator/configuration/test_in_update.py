"""``learner.measure: in_update``: refused where readings are needed before the update, and known to the loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from orchestrator.configuration.checks import arm_problems, check_campaign
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.notices import notices
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError
from policies.actuators import ACTUATORS
from policies.actuators.base import Command, LogitActuator

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

    without = {"learner.objective": {"kind": "policy_gradient"}}
    assert said() == []
    (notice,) = said(**without)
    assert (
        "'clipped_surrogate' corrects for that, or 'truncated' with learner.measure 'before_update'" in notice
    )
    (notice,) = said(**without, **{"learner.measure": "before_update"})
    assert notice.endswith("now; 'truncated' corrects for that")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharper(LogitActuator):
    kind: ClassVar[str] = "sharper"
    command: ClassVar[Command] = Command(low=0.0, high=2.0, neutral=0.0, unit="k")
    looks_at_policy: ClassVar[bool] = False

    def scale(self, batch, u):
        return torch.full_like(batch.advantages, 1.0 + u)


def test_scaled_logits_are_refused_whatever_decides_the_scale(write_campaign):
    loop = {"actuator": {"kind": f"{__file__}:Sharper"}, "law": {"kind": "open_loop", "value": 1.0}}
    with pytest.raises(ConfigError, match=rf"entropy\.actuator: 'sharper' scales the logits.*{CURE}"):
        check_campaign(campaign(write_campaign, loop))
    check_campaign(campaign(write_campaign, loop, **{"learner.measure": "before_update"}))


@pytest.mark.parametrize(
    ("changes", "is_one"),
    [
        ({}, True),
        ({"rollout.ahead": 1}, False),
        ({"rollout.in_flight": {"prompts": 6, "round_tokens": 2}}, False),
        ({"rollout.in_flight": {"prompts": 6, "round_tokens": 2, "unfinished": "dropped"}}, True),
        ({"rollout.engine": SERVER}, False),
        ({"rollout.ahead": 1, "learner.measure": "before_update"}, True),
    ],
)
@pytest.mark.parametrize("needs_ratio", ["clip_range", "gspo"])
def test_one_step_a_batch_has_a_ratio_where_responses_are_old_or_of_another_engine(
    write_campaign, needs_ratio, changes, is_one
):
    loop = {"actuator": {"kind": "clip_range"}} if needs_ratio == "clip_range" else None
    objective = {} if loop else {"learner.objective": {"kind": needs_ratio}}
    (arm,) = campaign(write_campaign, loop, **{"learner.minibatches": 1}, **objective, **changes).arms
    faults = [fault for fault in arm_problems(arm) if "probability ratio is 1" in fault]
    assert len(faults) == is_one


@pytest.mark.parametrize(("actuator", "dead_time"), [("temperature", 3), ("bonus", 1)])
def test_a_loop_knows_how_long_its_command_waits(write_campaign, actuator, dead_time):
    changes = {"rollout.ahead": 3}
    config: RunConfig = campaign(write_campaign, {"actuator": {"kind": actuator}}, **changes).arms[0].config
    built = config.loops["entropy"].build(ahead=config.rollout.ahead, measure=config.learner.measure)
    assert built.dead_time == dead_time
