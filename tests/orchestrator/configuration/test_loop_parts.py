"""Feedforward, nested laws and the cascade reference in YAML: read, built, written and read again."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from controllers.laws.auto import Auto
from controllers.laws.pid import PID
from controllers.laws.scheduled import ScheduledPID
from controllers.parts.cascade import Cascade
from controllers.parts.covariance_feedforward import CovarianceFeedforward
from controllers.parts.coverage import Coverage
from controllers.parts.references import Constant, Free
from orchestrator.configuration.checks import check_campaign
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.part_schema import to_plain
from orchestrator.configuration.resolve import parse, read_campaign
from orchestrator.configuration.signals import is_signal, signals_read
from orchestrator.errors import ConfigError
from policies.actuators import ACTUATORS

LOOP = {
    "reference": {"kind": "constant", "value_nats": 0.4},
    "law": {"kind": "pid", "kp": 1.0, "ki": 0.5},
    "actuator": {"kind": "bonus"},
}
SCHEDULED = {
    "kind": "scheduled_pid",
    "learning_rate_reference": 1e-3,
    "pid": {"kind": "pid", "kp": 1.0, "ki": 0.5},
}
CASCADE = {
    "kind": "cascade",
    "initial_nats": 0.4,
    "low_nats": 0.1,
    "high_nats": 0.8,
    "gain": 2.0,
    "relaxation": 0.02,
}


def test_a_feedforward_reaches_the_loop():
    loop = LoopConfig(**LOOP, feedforward={"kind": "covariance", "limit": 0.3}).build()
    assert loop.feedforward == CovarianceFeedforward(limit=0.3)
    assert LoopConfig(**LOOP).build().feedforward is None


def test_the_new_parts_are_what_they_name():
    assert LoopConfig(**LOOP | {"law": SCHEDULED}).build().law == ScheduledPID(
        pid=PID(kp=1.0, ki=0.5), learning_rate_reference=1e-3
    )
    assert LoopConfig(**LOOP | {"law": {"kind": "auto"}}).build().law == Auto()
    assert isinstance(LoopConfig(**LOOP | {"reference": CASCADE}).build().reference, Cascade)


def test_what_they_read_exists():
    parts = {"law": SCHEDULED, "reference": CASCADE, "feedforward": {"kind": "covariance", "limit": 0.3}}
    read = dict.fromkeys(name for _, name in signals_read(LoopConfig(**LOOP | parts)))
    assert list(read) == [
        "entropy",
        "pass_rate",
        "learning_rate",
        "entropy/predicted_change",
        "entropy/bonus_effect",
    ]
    assert all(is_signal(name) for name in read)


@pytest.mark.parametrize(
    "parts",
    [
        {"law": SCHEDULED},
        {"law": {"kind": "auto"}},
        {"reference": CASCADE},
        {"reference": {"kind": "annealed", "reference": CASCADE, "final_fraction": 0.5, "start_iteration": 3}
         | {"num_iterations": 9}},
        {"feedforward": {"kind": "covariance", "limit": 0.3, "effect": None, "effect_per_unit": 0.2}},
    ],
    ids=["scheduled_pid", "auto", "cascade", "annealed cascade", "feedforward"],
)  # fmt: skip
def test_plain_reads_back_the_same(parts):
    loop = LoopConfig(**LOOP | parts)
    assert LoopConfig(**to_plain(loop)) == loop


AUTO = LoopConfig(reference={"kind": "coverage"}, law={"kind": "auto"}, actuator={"kind": "bonus"})


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"reference": "auto"},
        {"law": "auto"},
        {"law": "auto", "reference": "auto"},
        {"reference": "coverage", "law": {"kind": "auto"}},
        {"reference": {"kind": "auto"}},
    ],
    ids=repr,
)
def test_a_loop_that_names_neither_law_nor_setpoint_has_auto(parts):
    loop = LoopConfig(actuator={"kind": "bonus"}, **parts)
    assert loop == AUTO
    assert LoopConfig(**to_plain(loop)) == AUTO
    assert (loop.build().law, loop.build().reference) == (Auto(), Coverage())


def test_each_default_is_its_own():
    pid = LoopConfig(law=LOOP["law"], actuator={"kind": "bonus"})
    assert (pid.law, pid.reference) == (PID(kp=1.0, ki=0.5), Coverage())
    held = LoopConfig(reference=LOOP["reference"], actuator={"kind": "bonus"})
    assert (held.law, held.reference) == (Auto(), Constant(value_nats=0.4))
    slower = LoopConfig(reference={"kind": "auto", "gain": 0.05}, actuator={"kind": "bonus"})
    assert slower.reference == Coverage(gain=0.05)


def test_an_open_loop_has_no_setpoint_unless_it_says_one():
    open_loop = {"law": {"kind": "open_loop", "value": 0.1}, "actuator": {"kind": "bonus"}}
    assert LoopConfig(**open_loop).reference == Free()
    assert LoopConfig(**open_loop, reference="auto").reference == Coverage()


@pytest.mark.parametrize("key", ["law", "reference"])
def test_a_name_that_is_unknown_or_needs_settings_is_refused(key):
    with pytest.raises(ConfigError, match=rf"^f: {key}\.kind: unknown kind 'autto'; did you mean 'auto'"):
        parse(LoopConfig, {"actuator": {"kind": "bonus"}, key: "autto"}, "f")
    with pytest.raises(ConfigError, match=r"^f: law\.kp: is missing"):
        parse(LoopConfig, {"actuator": {"kind": "bonus"}, "law": "pid"}, "f")


@pytest.mark.parametrize(
    ("of", "domain"),
    [
        ({}, None),
        ({"sensor": "entropy/domain/add2"}, "add2"),
        ({"domain": "add2"}, "add2"),
        ({"domain": "add2", "sensor": "surprisal"}, "add2"),
        ({"domain": "add2", "reference": {"kind": "coverage", "domain": "sub2"}}, "sub2"),
    ],
)
def test_coverage_knows_the_domain_of_its_loop_and_the_length_of_the_run(of, domain):
    loop = LoopConfig(actuator={"kind": "bonus"}, **of)
    assert loop.build(90).reference == Coverage(domain=domain, num_iterations=90)
    assert loop.reference.num_iterations is None  # as the file says


@pytest.mark.parametrize("kind", sorted(ACTUATORS))
def test_auto_takes_any_actuator_in_three_lines(write_campaign, kind):
    """In a learner of several steps a batch, where every actuator can act."""
    arm = {"name": "held", "method": "auto", "loops": {"entropy": {"actuator": {"kind": kind}}}}
    campaign = read_campaign(
        write_campaign(
            {"arms": [arm], "learner.epochs": 2, "learner.objective": {"kind": "clipped_surrogate"}}
        )
    )
    check_campaign(campaign)
    loop = campaign.arms[0].config.loops["entropy"]
    assert (loop.actuator.kind, loop.law, loop.reference) == (kind, Auto(), Coverage())
    command = loop.actuator.command
    assert loop.bounds == (command.neutral, command.high)  # it only raises entropy


@pytest.mark.parametrize(
    ("pid", "message"),
    [
        ({"kp": 1.0, "ki": 0.5}, "kind"),
        ({"kind": "increment", "kp": 1.0, "ki": 0.5}, "pid"),
        ({"kind": "pid", "kp": 1.0, "ki": 0.5, "kq": 1.0}, "kq"),
        ({"kind": "pid", "kp": -1.0, "ki": 0.5}, "kp must be >= 0 and finite, got -1"),
    ],
)
def test_a_nested_law_is_as_strict_as_any(pid, message):
    with pytest.raises(ValidationError, match=message):
        LoopConfig(**LOOP | {"law": SCHEDULED | {"pid": pid}})


def test_limits_up_are_the_part_of_the_range_that_raises_entropy():
    def limits(actuator):
        return LoopConfig.model_validate({"actuator": {"kind": actuator}, "limits": "up"}).limits

    assert limits("bonus") == (0.0, 1.0)
    assert limits("temperature") == (1.0, 5.0)
    assert limits("kl_cov") is None  # it has no other side


def test_limits_in_other_words_are_refused():
    with pytest.raises(ValueError, match=r"must be \[low, high\], up or null, got 'down'"):
        LoopConfig.model_validate({"actuator": {"kind": "bonus"}, "limits": "down"})


@pytest.mark.parametrize(
    ("loop", "moves"),
    [
        ({"actuator": {"kind": "temperature"}}, "'temperature'"),
        ({"actuator": {"kind": "bonus", "allocation": "difficulty"}}, "'bonus'"),
        ({"domain": "add2"}, "'bonus' of add2"),
    ],
)
def test_paced_is_refused_where_its_prediction_is_of_something_else(write_campaign, loop, moves):
    arm = {"name": "a", "method": "paced", "loops": {"entropy": loop}}
    with pytest.raises(
        ConfigError, match=f"loops.entropy.feedforward: 'paced' foresees .* moves {moves}; take"
    ):
        check_campaign(read_campaign(write_campaign({"arms": [arm]})))
