import json
from dataclasses import replace

import pytest

from controllers import PID, Auto, Bank, Constant, FeedbackLoop, replay, restore


def loop(sensor, actuator, target=0.5, neutral=0.0):
    return FeedbackLoop(
        sensor=sensor,
        reference=Constant(value_nats=target),
        law=PID(kp=1.0, ki=0.1),
        actuator=actuator,
        low=-1.0,
        high=1.0,
        neutral=neutral,
    )


BANK = Bank(
    loops={
        "maths": loop("entropy/maths", "bonus"),
        "code": loop("entropy/code", "temperature", target=0.2, neutral=0.5),
    }
)
TELEMETRY = [{"entropy/maths": 0.3, "entropy/code": 0.3}, {"entropy/maths": 0.4}, {"entropy/code": 0.1}]


def run(bank, telemetries):
    state, out = bank.init(), []
    for t, telemetry in enumerate(telemetries):
        state, traces = bank.step(state, telemetry, t)
        out.append(traces)
    return state, out


def test_each_loop_steps_as_if_alone():
    _, traces = run(BANK, TELEMETRY)
    for name, member in BANK.loops.items():
        assert repr([step[name] for step in traces]) == repr(replay(member, TELEMETRY))


def test_commands_by_hand_and_a_missing_sensor_holds():
    _, traces = run(BANK, TELEMETRY)
    assert BANK.commands(traces[0]) == pytest.approx({"bonus": 0.2, "temperature": -0.1})
    # maths: 0.1 + 0.1·0.2; code has no reading
    assert BANK.commands(traces[1]) == pytest.approx({"bonus": 0.12, "temperature": -0.1})
    assert [traces[1]["maths"].held, traces[1]["code"].held] == [False, True]


def test_commands_are_those_after_the_limits():
    _, traces = run(BANK, [{"entropy/maths": 3.0}])
    assert BANK.commands(traces[0]) == {"bonus": -1.0, "temperature": 0.5}


def test_state_survives_json_and_does_not_depend_on_the_order_of_names():
    state, _ = run(BANK, TELEMETRY)
    assert restore(json.loads(json.dumps(state))) == state
    turned = Bank(loops=dict(reversed(BANK.loops.items())))
    assert run(turned, TELEMETRY)[0] == state
    assert turned.init() == BANK.init()


def test_a_state_of_another_bank_is_refused():
    with pytest.raises(ValueError):
        BANK.step(BANK.init()[:1], {}, 0)


def test_an_actuator_has_one_owner():
    with pytest.raises(ValueError) as refusal:
        Bank(loops={"a": loop("x", "bonus"), "b": loop("y", "bonus")})
    assert str(refusal.value) == "loops must each own their actuator, got 'bonus' in both 'a' and 'b'"


def test_complaints_are_those_of_its_laws_by_loop():
    bank = Bank(loops={"maths": BANK.loops["maths"], "code": replace(BANK.loops["code"], law=Auto())})
    assert bank.complaints(bank.init()) == {}
    # entropy stays at half the setpoint whatever the command: its limit does not hold it
    state, _ = run(bank, [{"entropy/maths": 0.1, "entropy/code": 0.1}] * 60)
    complaints = bank.complaints(restore(json.loads(json.dumps(state))))
    assert {name: each.kind for name, each in complaints.items()} == {"code": "authority"}
    assert "leads to a reading of 0.1" in complaints["code"].sentence
