"""``rollout.ahead``: refused where it cannot be, noted where it is not corrected, and known to the loops."""

from __future__ import annotations

import pytest

from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.notices import notices
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError

SERVER = {"kind": "vllm_server", "urls": ["http://127.0.0.1:8000"]}


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        (
            {"engine": {"kind": "vllm", "sleep": True}, "ahead": 1},
            r"rollout\.ahead: must be 0 with rollout\.engine\.sleep, .*got 1; set rollout\.engine\.sleep to false",
        ),
        (
            {"ahead": 3, "max_staleness": 2},
            r"rollout\.ahead: must keep responses at most rollout\.max_staleness = 2 updates old.*can be 3, got 3; lower",
        ),
        (
            {"engine": SERVER | {"push_every": 8}, "ahead": 2},
            r"max_staleness = 8 updates old.*can be 9, got 2",
        ),
        ({"ahead": -1}, r"rollout\.ahead: .*greater than or equal to 0, got -1"),
        ({"extra_rounds": -1}, r"rollout\.extra_rounds: .*greater than or equal to 0, got -1"),
    ],
)
def test_what_cannot_be_is_refused(write_campaign, rollout, message):
    with pytest.raises(ConfigError, match=message):
        check_campaign(read_campaign(write_campaign({f"rollout.{k}": v for k, v in rollout.items()})))


@pytest.mark.parametrize(
    "rollout",
    [
        {"engine": {"kind": "vllm", "sleep": True}},
        {"engine": {"kind": "vllm"}, "ahead": 1},
        {"engine": SERVER | {"push_every": 20}},  # as before there was a bound: it is for ahead
        {"engine": SERVER | {"push_every": 5}, "ahead": 4},
        {"ahead": 12, "max_staleness": 12},
    ],
)
def test_what_can_be_is_not(write_campaign, rollout):
    check_campaign(read_campaign(write_campaign({f"rollout.{k}": v for k, v in rollout.items()})))


def test_ranks_that_share_a_policy_draw_again_by_engines_of_their_own_alone(write_campaign):
    changes = {"learner.strategy": "fsdp2", "rollout.extra_rounds": 2}
    with pytest.raises(ConfigError, match=r"with rollout\.extra_rounds ranks differ in what they draw again"):
        check_campaign(read_campaign(write_campaign(changes)))
    check_campaign(read_campaign(write_campaign(changes | {"rollout.ahead": 1})))


def test_code_of_a_checkpoint_is_not_in_the_engines_process(write_campaign):
    changes = {"policy.source": "some/model", "policy.trust_remote_code": True, "rollout.ahead": 1}
    with pytest.raises(ConfigError, match=r"must be 0 with policy\.trust_remote_code.*got 1; set the engine"):
        check_campaign(read_campaign(write_campaign(changes)), with_problems=False)


def test_an_engine_of_several_ranks_is_not_in_a_process_of_its_own(write_campaign):
    engine = {"kind": "vllm", "tensor_parallel_size": 2}
    changes = {"rollout.engine": engine, "learner.devices": 2, "learner.strategy": "ddp", "rollout.ahead": 1}
    with pytest.raises(ConfigError, match=r"must be 0 with rollout\.engine\.tensor_parallel_size above 1"):
        check_campaign(read_campaign(write_campaign(changes)))


def test_old_responses_without_a_correction_are_noted(write_campaign):
    def said(**changes):
        return [n for n in notices(read_campaign(write_campaign(changes)).arms) if "importance" in n]

    assert said() == []
    first, _ = said(**{"rollout.ahead": 2})
    assert first.startswith("arms.grpo.learner.importance: 'none' takes responses that are 2 updates old")
    assert said(**{"learner.importance": "truncated"}) == []


@pytest.mark.parametrize(("actuator", "dead_time"), [("temperature", 3), ("bonus", 0), ("sign_weights", 0)])
def test_a_loop_knows_how_long_its_command_waits(write_campaign, actuator, dead_time):
    loop = {"actuator": {"kind": actuator}}
    arm = {"name": "held", "loops": {"entropy": loop}}
    config = read_campaign(write_campaign({"arms": [arm], "rollout.ahead": 3})).arms[0].config
    assert config.loops["entropy"].build(ahead=config.rollout.ahead).dead_time == dead_time
    assert config.loops["entropy"].build().dead_time == 0
