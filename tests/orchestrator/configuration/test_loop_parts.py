"""Feedforward, nested laws and the cascade reference in YAML: read, built, written and read again."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from controllers.laws.auto import Auto
from controllers.laws.pid import PID
from controllers.laws.scheduled import ScheduledPID
from controllers.parts.cascade import Cascade
from controllers.parts.feedforward import CovarianceFeedforward
from orchestrator.configuration.models import LoopConfig
from orchestrator.configuration.parts import to_plain
from orchestrator.configuration.signals import is_signal, signals_read

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
