"""Gains per range of the command: a preset gives the commands that it was published with, on other ranges their like."""

import random
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from controllers import PID, Constant, FeedbackLoop, replay
from orchestrator.configuration.loops import LoopConfig
from orchestrator.tuning.judging import sensitivity

METHODS = Path(__file__).parents[3] / "configs/methods"
WITHOUT_GAINS = ("open_loop", "log_ratio", "auto")  # a command, a step in the temperature itself, none to set


def loops():
    for file in sorted(METHODS.glob("*.yaml")):
        for name, content in (yaml.safe_load(file.read_text()).get("loops") or {}).items():
            yield pytest.param(content, id=f"{file.stem}.{name}")


def commands(config, num=60, seed=0):
    rng = random.Random(seed)
    loop = config.build()
    readings = [{read: rng.uniform(0.02, 1.5) for read in loop.reads} for _ in range(num)]
    return [trace.u for trace in replay(loop, readings)]


@pytest.mark.parametrize("content", list(loops()))
def test_every_preset_with_gains_says_their_range_and_commands_as_published(content):
    config = LoopConfig(**content)
    if config.law.kind in WITHOUT_GAINS:
        assert config.gains_range is None
        return
    low, high = config.bounds
    assert config.gains_range == max(abs(low), abs(high))
    raw = LoopConfig(**{key: value for key, value in content.items() if key != "gains_range"})
    assert commands(config) == commands(raw)  # to the bit: the unit is 1


@pytest.mark.parametrize("name", ["entropic", "aer", "sac", "skywork", "positive_reweight", "aer_pi"])
@pytest.mark.parametrize("factor", [0.25, 0.005])
def test_on_another_range_the_command_is_the_same_share_of_it(name, factor):
    content = yaml.safe_load((METHODS / f"{name}.yaml").read_text())["loops"]["entropy"]
    config = LoopConfig(**content)
    narrow = config.model_copy(update={"limits": tuple(factor * limit for limit in config.bounds)})
    shares = [u / factor for u in commands(narrow)]
    assert shares == pytest.approx(commands(config), rel=1e-9, abs=1e-12)


def test_on_an_actuator_with_another_neutral_the_law_starts_there():
    # temperature: neutral 1, limits 0.5 to 1.5, so the law's 1 is 0.5.  e = 0.1, 0.1: w = 0.2, 0.2 + 0.05·0.1
    config = LoopConfig(
        reference={"kind": "constant", "value_nats": 0.5},
        law={"kind": "pid", "kp": 2.0, "ki": 0.05},
        actuator={"kind": "temperature"},
        limits=(0.5, 1.5),
        gains_range=1.0,
    )
    loop = config.build()
    first, second = replay(loop, [{"entropy": 0.4}] * 2)
    assert (first.u, second.u) == pytest.approx((1.0 + 0.5 * 0.2, 1.0 + 0.5 * (0.2 + 0.005)))
    assert first.terms == pytest.approx({"bias": 0.0, "p": 0.1, "i": 0.0, "d": 0.0, "origin": 1.0})
    assert sum(second.terms.values()) == second.v


def test_the_value_of_an_open_loop_is_a_command_whatever_the_range():
    law, actuator = {"kind": "open_loop", "value": 1.2}, {"kind": "temperature"}
    loop = LoopConfig(law=law, actuator=actuator, gains_range=0.1).build()
    assert replay(loop, [{"entropy": 0.4}])[0].u == 1.2


def test_anti_windup_works_in_the_laws_unit():
    law = PID(kp=1.0, ki=0.1)
    raw = FeedbackLoop(
        sensor="h",
        reference=Constant(value_nats=0.5),
        law=law,
        actuator="a",
        low=-0.05,
        high=0.05,
        neutral=0.0,
    )
    scaled = FeedbackLoop(
        sensor="h",
        reference=Constant(value_nats=0.5),
        law=law,
        actuator="a",
        low=-0.5,
        high=0.5,
        neutral=0.0,
        unit=10.0,
    )
    readings = [{"h": h} for h in (0.1, 0.1, 0.6, 0.55, 0.48)]
    assert [trace.u for trace in replay(scaled, readings)] == pytest.approx(
        [10 * trace.u for trace in replay(raw, readings)]
    )


def test_linear_theory_counts_in_the_laws_unit_too():
    from controllers.plants.plant import Plant

    def loop(**changes):
        return LoopConfig(
            reference={"kind": "constant", "value_nats": 0.5},
            law={"kind": "pid", "kp": 1.0, "ki": 0.05, "error": "log"},
            actuator={"kind": "bonus"},
            **changes,
        )

    plant = Plant(coordinates="log", a=(1.0,), b=(0.3,), delay=1, drift=-0.02, noise_std=0.05, level_nats=0.5)
    whole = sensitivity(loop(gains_range=1.0), plant)
    assert whole == sensitivity(loop(), plant)
    halved = sensitivity(loop(gains_range=1.0, limits=(-0.5, 0.5)), plant)
    by_hand = loop()
    by_hand = by_hand.model_copy(update={"law": PID(kp=0.5, ki=0.025, error="log")})
    assert halved == pytest.approx(sensitivity(by_hand, plant))
    assert halved != pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gains_range": 0.0}, "greater than 0"),
        (
            {
                "plant": {
                    "coordinates": "log",
                    "a": [1.0],
                    "b": [0.1],
                    "delay": 1,
                    "drift": 0.0,
                    "noise_std": 0.1,
                    "level_nats": 0.5,
                }
            },
            "gains designed for a plant are in the actuator's unit",
        ),
    ],
)
def test_refusals(changes, message):
    content = {
        "reference": {"kind": "constant", "value_nats": 0.4},
        "law": {"kind": "pid", "kp": 1.0, "ki": 0.5},
        "actuator": {"kind": "bonus"},
        "gains_range": 1.0,
    }
    with pytest.raises(ValidationError, match=message):
        LoopConfig(**content | changes)
