"""A preset says where each of its numbers was read, or of none."""

from __future__ import annotations

import pytest
import yaml

from orchestrator.commands.catalogue import describe, unsaid
from orchestrator.configuration.resolve import read_method
from orchestrator.errors import ConfigError

KP, LIMITS = "loops.entropy.law.kp", "loops.entropy.limits"
OURS = {"read": "ours"}
PRESET = {
    "method": "mine",
    "summary": "A P law.",
    "source": "ours",
    "loops": {
        "entropy": {
            "reference": {"kind": "initial_anchored", "fraction": 0.5},
            "law": {"kind": "pid", "kp": 1.0, "ki": 0, "error": "log"},
            "actuator": {"kind": "bonus"},
            "limits": [0.0, 1.0],
        }
    },
}
EVERY = dict.fromkeys((KP, "loops.entropy.law.ki", "loops.entropy.reference.fraction", LIMITS), OURS)


@pytest.fixture
def read(tmp_path):
    def make(**changes):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(PRESET | changes))
        return read_method(str(path))

    return make


def test_a_preset_of_ones_own_need_not_say_it(read):
    assert read().constants == {}


def test_numbers_and_lists_of_them_are_constants_and_choices_are_not(read):
    assert read(constants=EVERY).numbers() == {
        "loops.entropy.reference.fraction": 0.5,
        KP: 1.0,
        "loops.entropy.law.ki": 0,
        LIMITS: [0.0, 1.0],
    }
    gated = PRESET["loops"]["entropy"] | {"law": {"kind": "increment", "gated": True, "step_size": 0.1}}
    assert "loops.entropy.law.gated" not in read(loops={"entropy": gated}).numbers()


@pytest.mark.parametrize(
    ("constants", "says"),
    [
        ({path: OURS for path in EVERY if path != KP}, f"constants: must say where {KP} was read; add it"),
        (EVERY | {"loops.entropy.law.kq": OURS}, f"is no number of this preset; did you mean '{KP}'"),
        (EVERY | {KP: {"read": "code"}}, "where must say which code it was read in; add it"),
        (EVERY | {KP: {"read": "hearsay"}}, f"constants.{KP}"),
    ],
)
def test_what_is_said_is_said_of_all_and_of_nothing_else(read, constants, says):
    with pytest.raises(ConfigError) as caught:
        read(constants=constants)
    assert says in str(caught.value)
    assert "mine.yaml: " in str(caught.value)


def test_what_a_preset_leaves_to_its_parts_is_a_default(read):
    assert unsaid(read())["loops.entropy.reference.num_readings"] == 1
    assert unsaid(read())["loops.entropy.law.kd"] == 0.0
    assert KP not in unsaid(read())


def test_the_list_has_every_constant_with_its_source():
    listed = dict(describe("constants"))
    assert (
        listed["skywork loops.entropy.law.high"] == "0.005  code: SkyworkAI/Skywork-OR1 @64e96af, or1_scripts"
    )
    assert listed["sac loops.entropy.law.rate"] == "0.0003  memory: Adam's rate in SAC's common code"
    assert listed["aer loops.entropy.reference.num_readings"] == "1  default"
    assert not any("nothing says" in line for line in listed.values())
