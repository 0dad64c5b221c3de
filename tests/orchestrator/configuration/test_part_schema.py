"""Parts in YAML become the dataclasses they name, and go back to the same YAML."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import ValidationError

from controllers.base import Law
from controllers.laws import LAWS
from controllers.laws.pid import PID
from controllers.parts.references import Constant
from orchestrator.configuration.known_keys import known_keys
from orchestrator.configuration.learner import LearnerConfig
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.part_schema import Strict, one_of, section, to_plain
from policies.model.tiny import TinyModel

LOOP = {
    "reference": {"kind": "constant", "value_nats": 0.4},
    "law": {"kind": "pid", "kp": 1.0, "ki": 0.5},
    "actuator": {"kind": "bonus"},
}


class Holder(Strict):
    law: Annotated[Law, one_of(LAWS)]
    size: Annotated[TinyModel, section(TinyModel)] = TinyModel()


def test_a_mapping_becomes_the_part_that_it_names():
    holder = Holder(law={"kind": "pid", "kp": 2.0, "ki": 0.5}, size={"num_layers": 3})
    assert holder.law == PID(kp=2.0, ki=0.5)
    assert holder.size == TinyModel(num_layers=3)
    assert holder.size is not TinyModel


def test_guards_of_the_part_speak():
    with pytest.raises(ValidationError, match="kp must be >= 0 and finite, got -1"):
        Holder(law={"kind": "pid", "kp": -1.0, "ki": 0.0})


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_numbers_must_be_finite(value):
    with pytest.raises(ValidationError, match="finite"):
        LearnerConfig(iterations=1, learning_rate=value)
    with pytest.raises(ValidationError, match="finite"):
        LoopConfig(**LOOP, limits=[-value, value])


def test_members_that_hold_a_member_of_their_family():
    band = {"kind": "schedule", "start_nats": 0.5, "end_nats": 0.1, "num_iterations": 10}
    loop = LoopConfig(**LOOP | {"reference": band})
    assert to_plain(loop.reference)["kind"] == "schedule"


def test_plain_is_what_yaml_can_hold_and_reads_back_the_same():
    loop = LoopConfig(**LOOP, limits=(-0.5, 0.5))
    plain = to_plain(loop)
    assert plain["law"]["kind"] == "pid"
    assert plain["law"]["kp"] == 1.0
    assert plain["limits"] == [-0.5, 0.5]
    assert LoopConfig(**plain) == loop
    assert to_plain(LoopConfig(**plain)) == plain


def test_known_keys_follow_pydantics_location():
    assert "iterations" in known_keys(RunConfig, ["learner"])
    law = known_keys(RunConfig, ["loops", "entropy", "law", "pid"])
    assert {"kind", "kp", "ki", "kd"} <= set(law)
    assert known_keys(RunConfig, ["learner", "iterations"]) == []


def test_loop_is_built_from_its_parts():
    loop = LoopConfig(**LOOP, slew=0.2, dead_band_nats=0.01, period=3).build()
    assert (loop.law, loop.reference) == (PID(kp=1.0, ki=0.5), Constant(value_nats=0.4))
    assert (loop.low, loop.high, loop.neutral) == (-1.0, 1.0, 0.0)  # the actuator's whole range
    assert (loop.slew, loop.dead_band_nats, loop.period) == (0.2, 0.01, 3)
    narrow = LoopConfig(**LOOP, limits=[-0.1, 0.3]).build()
    assert (narrow.low, narrow.high, narrow.slew) == (-0.1, 0.3, float("inf"))
