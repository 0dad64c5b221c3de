"""``rollout.in_flight``: refused where it cannot be, noted where old weights are not corrected."""

from __future__ import annotations

import pytest

from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.notices import notices
from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError

SERVER = {"kind": "vllm_server", "urls": ["http://127.0.0.1:8000"]}
FITTING = {"prompts": 6, "round_tokens": 4}


def read(write_campaign, in_flight=FITTING, **changes):
    return read_campaign(write_campaign({"rollout.in_flight": in_flight} | changes))


@pytest.mark.parametrize(
    ("in_flight", "changes", "message"),
    [
        (
            {"prompts": 4},
            {},
            r"in_flight\.prompts: must be above learner\.prompts_per_iteration \(4\) .* got 4; take 5",
        ),
        ({"prompts": 9}, {}, r"at most twice that, got 9; take 5, or remove rollout\.in_flight"),
        ({"round_tokens": 3}, {}, r"round_tokens: must divide rollout\.max_tokens \(8\).*got 3; take 2"),
        ({"round_tokens": 0}, {}, r"round_tokens must be at least 1, got 0"),
        (
            {},
            {"rollout.ahead": 2, "rollout.engine": SERVER | {"push_every": 2}, "rollout.max_staleness": 3},
            r"unfinished: 'go_on' makes responses up to 4 updates old .*max_staleness is 3; raise .*, or take 'dropped'",
        ),
        (
            {},
            {"rollout.extra_rounds": 1},
            r"extra_rounds: must be 0 with rollout\.in_flight.*got 1; remove one",
        ),
        (
            {},
            {"task": {"kind": "number_guessing"}},
            r"in_flight: must be null with a task that answers back",
        ),
        ({"unfinished": "lost"}, {}, r"unfinished.*'go_on' or 'dropped'"),
    ],
)
def test_what_cannot_be_is_refused(write_campaign, in_flight, changes, message):
    with pytest.raises(ConfigError, match=message):
        check_campaign(read(write_campaign, FITTING | in_flight, **changes))


@pytest.mark.parametrize(
    ("in_flight", "changes"),
    [
        ({}, {}),
        ({"prompts": 8}, {"rollout.ahead": 2, "rollout.max_staleness": 3}),
        ({"unfinished": "dropped"}, {"rollout.ahead": 2, "rollout.max_staleness": 2}),
        ({}, {"rollout.engine": SERVER}),
        ({}, {"rollout.engine": {"kind": "vllm", "sleep": True}}),
        ({}, {"learner.strategy": "fsdp2"}),  # ranks sample round by round together
    ],
)
def test_what_can_be_is_not(write_campaign, in_flight, changes):
    check_campaign(read(write_campaign, FITTING | in_flight, **changes))


def test_old_weights_without_a_correction_are_noted(write_campaign):
    def said(in_flight, **changes):
        return [n for n in notices(read(write_campaign, in_flight, **changes).arms) if "importance" in n]

    assert said(FITTING | {"unfinished": "dropped"}) == []
    first, _ = said(FITTING)
    assert first.startswith(
        "arms.grpo.learner.importance: 'none' takes responses that are up to 8 updates old (rollout.in_flight)"
    )
    assert said(FITTING, **{"learner.importance": "truncated"}) == []


def test_the_bound_on_staleness_is_part_of_the_result_where_prompts_are_waited_for(write_campaign):
    def of(in_flight, bound):
        return read(write_campaign, in_flight, **{"rollout.max_staleness": bound}).arms[0].fingerprint

    assert of(None, 3) == of(None, 4)
    assert of(FITTING, 3) != of(FITTING, 4)
