"""What is said of a campaign and not refused."""

import sys
from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.configuration.notices import notices
from orchestrator.configuration.resolve import read_campaign

CONFIGS = Path(__file__).parents[3] / "configs"


def said(write_campaign, **loop):
    arm = {
        "name": "held",
        "loops": {
            "entropy": {
                "reference": {"kind": "constant", "value_nats": 0.4},
                "law": {"kind": "pid", "kp": 1.0, "ki": 0.1},
                "actuator": {"kind": "bonus"},
            }
            | loop
        },
    }
    return notices(read_campaign(write_campaign({"arms": [arm]})).arms)


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        (
            {"limits": [0.0, 1.0]},
            "arms.held.loops.entropy.limits: [0, 1] end at the neutral command, so the loop cannot push entropy "
            "down; the range of 'bonus' is [-1, 1]: take both sides unless one is meant",
        ),
        ({"limits": [-0.5, 0.0]}, "cannot push entropy up; the range of 'bonus' is [-1, 1]"),
        (
            {"limits": [1.0, 2.0], "actuator": {"kind": "temperature"}},
            "the range of 'temperature' is [0.2, 5]",
        ),
    ],
)
def test_a_loop_that_can_push_from_one_side_only(write_campaign, loop, message):
    (notice,) = said(write_campaign, **loop)
    assert message in notice


@pytest.mark.parametrize(
    "loop",
    [
        {"limits": [-0.1, 1.0]},
        {},
        {"limits": [0.0, 1.0], "law": {"kind": "open_loop", "value": 0.1}},
        {"limits": [0.0, 1.0], "reference": {"kind": "band", "low_nats": 0.1, "high_nats": 0.4}},
        {"actuator": {"kind": "positive_weight"}},  # has one side
    ],
)
def test_loops_that_nothing_is_said_of(write_campaign, loop):
    assert said(write_campaign, **loop) == []


def test_a_sensor_that_falls_as_entropy_rises(write_campaign):
    (notice,) = said(write_campaign, sensor="starvation")
    assert notice == (
        "arms.held.loops.entropy.sensor: 'starvation' falls as entropy rises, so the loop pushes it away from its "
        "setpoint; take 'teaching_groups', which is 1 minus it, with 1 minus the setpoint"
    )
    assert said(write_campaign, sensor="teaching_groups") == []
    assert said(write_campaign, sensor="starvation", law={"kind": "open_loop", "value": 0.1}) == []


def test_a_sensor_that_falls_as_its_coefficient_rises(write_campaign):
    kl = {"actuator": {"kind": "kl_coefficient"}, "limits": [0.0, 1.0]}
    (notice,) = said(write_campaign, sensor="reference_kl", **kl)
    assert "'reference_kl' falls as the command rises" in notice
    assert "take 'reference_kl/nearness', which is exp of minus it" in notice
    assert said(write_campaign, sensor="reference_kl/nearness", **kl) == []


@pytest.mark.parametrize(
    ("actuator", "reference", "messages"),
    [
        ("bonus", {"kind": "initial_anchored", "fraction": 0.5}, []),
        (
            "positive_weight",
            {"kind": "initial_anchored", "fraction": 0.5},
            [
                "arms.held.loops.entropy.actuator: 'positive_weight' can only raise entropy, so with the law auto the "
                "loop waits for it to fall by itself from above the setpoint, where this one starts: it is 0.5 times "
                "the initial entropy"
            ],
        ),
        (
            "positive_weight",
            {"kind": "constant", "value_nats": 0.4},
            [
                "arms.held.loops.entropy.actuator: 'positive_weight' can only raise entropy, so with the law auto the "
                "loop waits for it to fall by itself from above the setpoint"
            ],
        ),
    ],
)
def test_auto_on_an_actuator_with_one_side(write_campaign, actuator, reference, messages):
    loop = {"law": {"kind": "auto"}, "actuator": {"kind": actuator}, "reference": reference}
    assert said(write_campaign, **loop) == messages


@pytest.mark.parametrize(
    "parts",
    [{}, {"law": "auto"}, {"reference": "auto"}, {"law": "auto", "reference": {"kind": "coverage"}}],
    ids=repr,
)
def test_what_a_loop_is_by_default_is_warned_of_too(write_campaign, parts):
    """Whether auto is said or not: the setpoint starts below where a command that can only raise is of use."""
    arms = [{"name": "held", "loops": {"entropy": {"actuator": {"kind": "positive_weight"}} | parts}}]
    (notice,) = notices(read_campaign(write_campaign({"arms": arms})).arms)
    assert notice == (
        "arms.held.loops.entropy.actuator: 'positive_weight' can only raise entropy, so with the law auto the loop "
        "waits for it to fall by itself from above the setpoint, where this one starts: it is 0.7 times the initial "
        "entropy"
    )


def test_the_preset_auto_is_warned_of_on_such_an_actuator_and_not_on_its_own(write_campaign):
    other = {"entropy": {"actuator": {"kind": "positive_weight"}}}
    arms = [{"name": "held", "method": "auto"}, {"name": "other", "method": "auto", "loops": other}]
    (notice,) = notices(read_campaign(write_campaign({"arms": arms})).arms)
    assert notice.startswith("arms.other.loops.entropy.actuator: 'positive_weight' can only raise entropy")


def test_a_limit_that_cuts_one_side_off_is_warned_of_too(write_campaign):
    held = {"entropy": {"reference": {"kind": "constant", "value_nats": 0.4}, "limits": [0.0, 1.0]}}
    floor = {"entropy": {"limits": [0.0, 1.0]}}  # a setpoint that follows coverage is a floor
    arms = [
        {"name": name, "method": "auto", "loops": loops} for name, loops in (("held", held), ("floor", floor))
    ]
    (notice,) = notices(read_campaign(write_campaign({"arms": arms})).arms)
    assert notice.startswith("arms.held.loops.entropy.limits: [0, 1] end at the neutral command")
    assert "so the loop cannot push entropy down" in notice


def test_validate_prints_them(write_campaign, capsys, monkeypatch):
    path = write_campaign({"arms": [{"name": "aer", "method": "aer"}]})
    monkeypatch.setattr(sys, "argv", ["entrostat", "validate", str(path)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert not exit_.value.code
    assert "note: arms.aer.loops.entropy.limits: [0, 1] end at the neutral command" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["quickstart", "smollm2", "episodes", "failures"])
def test_our_own_campaigns_hold_from_both_sides(name):
    arms = read_campaign(CONFIGS / f"{name}.yaml").arms
    assert [notice for notice in notices(arms) if ".loops." in notice] == []


def told_of(write_campaign, task, error_rate=0.1, arms=None):
    changes = {"task": task, "policy.warm_start.error_rate": error_rate} | ({"arms": arms} if arms else {})
    return notices(read_campaign(write_campaign(changes)).arms)


@pytest.mark.parametrize(
    ("task", "error_rate", "message"),
    [
        (
            {"kind": "arithmetic", "misconception": {"fault": "forgets_carry", "rate": 0}},
            0.1,
            "task.misconception.rate: 0 makes no fault, so there is nothing to find",
        ),
        (
            {"kind": "arithmetic", "misconception": {"fault": "forgets_carry", "rate": 1}},
            0.1,
            "task.misconception.rate: 1 shows no right step, so that samples may never find it",
        ),
        (
            {"kind": "route_trap", "scratchpad_rate": 0},
            0.1,
            "task.scratchpad_rate: 0 never shows the scratchpad",
        ),
        (
            {"kind": "route_trap", "scratchpad_rate": 1},
            0.1,
            "task.scratchpad_rate: 1 shows the scratchpad alone",
        ),
        ({"kind": "route_trap"}, 0.0, "policy.warm_start.error_rate: 0 shows right responses alone"),
    ],
)
def test_rates_that_leave_nothing_to_find(write_campaign, task, error_rate, message):
    (notice,) = told_of(write_campaign, task, error_rate)  # one for all arms alike
    assert notice.startswith(message)


@pytest.mark.parametrize(
    "task",
    [
        {"kind": "arithmetic"},
        {"kind": "arithmetic", "misconception": {"fault": "forgets_carry"}},
        {"kind": "route_trap"},
    ],
)
def test_rates_that_nothing_is_said_of(write_campaign, task):
    assert told_of(write_campaign, task) == []
