"""A loop from a preset, for other trainers."""

from __future__ import annotations

import pytest

from controllers import PID, Auto, Constant, Coverage
from orchestrator.errors import ConfigError
from orchestrator.integrations.presets import loop_from_preset


def test_the_loop_of_a_preset():
    loop = loop_from_preset("p_one_sided")
    assert (loop.sensor, loop.actuator, loop.low, loop.high) == ("entropy", "bonus", 0.0, 1.0)
    assert loop.law == PID(kp=0.03, ki=0.0)
    assert loop.reference == Constant(value_nats=0.9)


def test_the_preset_without_gains():
    loop = loop_from_preset("auto")
    assert (loop.law, loop.reference) == (Auto(), Coverage())
    assert (loop.sensor, loop.actuator, loop.low, loop.high) == ("entropy", "bonus", 0.0, 1.0)
    assert loop.reads == (
        "entropy",
    )  # another trainer has no slope of pass@G, and the loop does not wait for it


def test_setpoint_and_limits_in_the_call():
    loop = loop_from_preset("auto", setpoint=0.3, limits=(-0.5, 0.25))
    assert (loop.law, loop.reference) == (Auto(), Constant(value_nats=0.3))
    assert (loop.low, loop.high, loop.neutral) == (-0.5, 0.25, 0.0)
    assert loop_from_preset("auto", setpoint=0.3).low == -1.0
    assert loop_from_preset("auto", limits=(-0.5, 0.25)).reference == Coverage()


@pytest.mark.parametrize(
    ("preset", "given", "message"),
    [
        ("auto", {"setpoint": -0.3}, r"auto: loops.entropy.reference.*must be >= 0 and finite, got -0.3"),
        ("auto", {"limits": (0.5, 1.0)}, r"auto: loops.entropy.limits: must contain the neutral command 0 of 'bonus'"),
        ("auto", {"limits": (-1.0, 99.0)}, r"auto: loops.entropy.limits: must be \[low, high\] inside the range"),
        ("entropy_bonus", {"setpoint": 0.3}, r"entropy_bonus: loops.\w+.law: 'open_loop' follows no setpoint"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_preset_is_refused(preset, given, message):
    with pytest.raises(ConfigError, match=message):
        loop_from_preset(preset, **given)


def test_a_preset_of_the_users(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "method: mine\nsummary: two\nsource: me\nloops:\n"
        "  hot: {law: {kind: open_loop, value: 1.2}, actuator: {kind: temperature}}\n"
        "  wide: {law: {kind: open_loop, value: 0.08}, actuator: {kind: clip_range}}\n"
    )
    assert loop_from_preset(path, "wide").actuator == "clip_range"
    with pytest.raises(ConfigError, match="choose one of its loops; known: hot, wide"):
        loop_from_preset(path)
    with pytest.raises(ConfigError, match="did you mean 'wide'"):
        loop_from_preset(path, "wild")


def test_presets_that_another_trainer_cannot_follow():
    with pytest.raises(ConfigError, match=r"aer: loops.entropy.actuator: 'bonus' has settings of its own"):
        loop_from_preset("aer")
    with pytest.raises(ConfigError, match="grpo: it has no loop"):
        loop_from_preset("grpo")
    with pytest.raises(ConfigError, match="unknown method 'skyworks'; did you mean 'skywork'"):
        loop_from_preset("skyworks")
