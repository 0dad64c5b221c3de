"""Entropy control: the loops of a run, whose state survives a checkpoint exactly."""

from __future__ import annotations

import io
import json
import math

import pytest
import torch

from controllers.laws.pid import PID
from orchestrator.configuration.loops import LoopConfig
from orchestrator.training.entropy_control import EntropyControl, trace_metrics
from policies.statistics.sensors import signal

PI = {
    "reference": {"kind": "constant", "value_nats": 0.4},
    "filter": {"kind": "ema", "decay": 0.7},
    "law": {"kind": "pid", "kp": 0.5, "ki": 0.1},
    "actuator": {"kind": "bonus"},
    "slew": 0.05,
}
HOT = {
    "reference": {"kind": "initial_anchored", "fraction": 0.5},
    "law": {"kind": "dual_ascent", "rate": 0.1, "initial": 1.0},
    "actuator": {"kind": "temperature"},
}
READINGS = [0.31, 0.28, math.nan, 0.22, 0.35, 0.5, 0.11, 0.05]


def control_of(**loops):
    return EntropyControl({name: LoopConfig(**loop) for name, loop in loops.items()})


def play(control, readings, start=0):
    return [
        {name: trace.u for name, trace in control.act({"entropy": reading}, start + t).items()}
        for t, reading in enumerate(readings)
    ]


def through_json(state):
    return json.loads(json.dumps(state))


def through_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("carry", [through_json, through_torch])
@pytest.mark.parametrize("cut", range(len(READINGS)))
def test_restored_control_goes_on_exactly(carry, cut):
    straight = play(control_of(one=PI, two=HOT), READINGS)
    before = control_of(one=PI, two=HOT)
    play(before, READINGS[:cut])
    after = control_of(one=PI, two=HOT)
    after.load_state_dict(carry(before.state_dict()))
    assert after.actuation == before.actuation
    assert play(after, READINGS[cut:], cut) == straight[cut:]


@pytest.mark.parametrize("period", [1, 3])
@pytest.mark.parametrize("reading", [0.1, math.nan])
def test_a_restored_command_stays_inside_limits_that_are_narrower_since(period, reading):
    loop = PI | {"period": period, "slew": 0.001}
    before = control_of(one=loop)
    for t in range(30):
        before.act({"entropy": 0.1}, t)
    (given,) = before.commands.values()
    after = EntropyControl({"one": LoopConfig(**loop)}, limits={"one": (-1.0, given / 2)})
    after.load_state_dict(through_torch(before.state_dict()))
    assert after.commands == {"bonus": given / 2}
    for t in range(30, 34):
        assert after.act({"entropy": reading}, t)["one"].u <= given / 2
        assert after.commands["bonus"] <= given / 2


@pytest.mark.parametrize(
    ("kind", "measure", "acted"),
    [
        ("bonus", "before_update", True),  # in the update before the checkpoint
        ("bonus", "in_update", False),  # the command comes after the update
        ("temperature", "before_update", False),  # the next batch is sampled after the checkpoint
        ("temperature", "in_update", False),
    ],
)
def test_after_a_cut_the_law_is_told_the_command_that_acts(kind, measure, acted, monkeypatch):
    told = []
    step = PID.step

    def listening(self, state, sample):
        told.append((sample.u, sample.applied))
        return step(self, state, sample)

    monkeypatch.setattr(PID, "step", listening)
    loop = {"one": LoopConfig(**{**PI, "actuator": {"kind": kind}, "slew": 1.0})}
    before = EntropyControl(loop, measure=measure)
    before.act({"entropy": 0.1}, 0)
    (given,) = before.commands.values()
    high = 0.75 * given
    assert high > 0
    after = EntropyControl(loop, limits={"one": (0.0, high)}, measure=measure)
    after.load_state_dict(through_torch(before.state_dict()))
    assert list(after.commands.values()) == [high]
    after.act({"entropy": 0.1}, 1)
    assert told[-1] == pytest.approx((high, given if acted else high))


def test_commands_are_in_force_once_given():
    control = control_of(one=PI)
    assert control.actuation.active == []  # neutral before the first
    (trace,) = control.act({"entropy": 0.1}, 0).values()
    assert trace.u > 0  # entropy is too low
    assert [(actuator.kind, u) for actuator, u, _ in control.actuation.active] == [("bonus", trace.u)]


def test_direction():
    low, high = control_of(one=PI), control_of(one=PI)
    assert low.act({"entropy": 0.1}, 0)["one"].u > 0 > high.act({"entropy": 0.9}, 0)["one"].u


def test_a_reading_that_is_not_finite_keeps_the_command():
    control = control_of(one=PI)
    u = control.act({"entropy": 0.1}, 0)["one"].u
    trace = control.act({"entropy": math.nan}, 1)["one"]
    assert trace.held
    assert control.actuation.active[0][1] == u


def test_no_loops_command_nothing():
    control = EntropyControl({})
    assert control.act({"entropy": 0.1}, 0) == {}
    assert control.actuation.active == []
    control.load_state_dict(through_torch(control.state_dict()))
    assert control.act({"entropy": 0.1}, 1) == {}


def test_every_part_of_a_trace_is_a_metric():
    traces = control_of(one=PI).act({"entropy": 0.3}, 0)
    metrics = trace_metrics(traces)
    assert {name for name in metrics if "term" not in name} == {
        f"loop/one/{part}" for part in ("y", "r", "e", "v", "u", "saturated", "held")
    }
    assert metrics["loop/one/y"] == pytest.approx(0.3)
    assert metrics["loop/one/r"] == 0.4
    assert metrics["loop/one/e"] == pytest.approx(0.1)
    assert metrics["loop/one/u"] == traces["one"].u
    terms = [value for name, value in metrics.items() if name.startswith("loop/one/term/")]
    assert sum(terms) == pytest.approx(metrics["loop/one/v"])
    assert metrics["loop/one/saturated"] == float(traces["one"].saturated)


AUTO = {
    "reference": {"kind": "constant", "value_nats": 0.4},
    "law": {"kind": "auto"},
    "actuator": {"kind": "bonus"},
}


def test_what_a_law_has_learnt_is_a_metric():
    control = control_of(one=AUTO)
    traces = [control.act({"entropy": reading}, t) for t, reading in enumerate((0.3, 0.31, 0.33))]
    metrics = trace_metrics(traces[-1])
    estimates = traces[-1]["one"].estimates
    assert {"push", "push_std", "shift", "drift", "unable", "backwards"} < estimates.keys()
    assert all(metrics[f"loop/one/estimate/{name}"] == value for name, value in estimates.items())


@pytest.mark.parametrize("carry", [through_json, through_torch])
@pytest.mark.parametrize("cut", [0, 1, 3, 5])
def test_a_restored_auto_goes_on_exactly(carry, cut):
    whole, before, after = control_of(one=AUTO), control_of(one=AUTO), control_of(one=AUTO)
    commands = play(whole, READINGS)
    assert play(before, READINGS[:cut]) == commands[:cut]
    after.load_state_dict(carry(before.state_dict()))
    assert play(after, READINGS[cut:], start=cut) == commands[cut:]


def test_a_setpoint_that_goes_by_the_length_of_the_run_is_told_it():
    """In a run of 20 iterations pass@1 counts from the twelfth; its slope is the other way."""
    loop = {"reference": {"kind": "coverage", "period": 3}, "actuator": {"kind": "bonus"}}
    telemetry = {"entropy": 0.4, "coverage/psi": 1.0, "coverage/psi_at_1": -1.0}

    def setpoints(num_iterations):
        control = EntropyControl({"one": LoopConfig(**loop)}, num_iterations=num_iterations)
        return [control.act(telemetry, t)["one"].r for t in range(20)]

    short, endless = setpoints(20), setpoints(None)
    assert short[:12] == endless[:12]
    assert short[-1] < short[12] <= endless[-1]


@pytest.mark.parametrize(("of", "prefix"), [({}, "coverage/"), ({"domain": "add2"}, "coverage/domain/add2/")])
@pytest.mark.parametrize(("slope", "num_iterations"), [("psi", None), ("psi_at_1", 1)])
def test_a_setpoint_goes_by_what_the_sensors_measure(of, prefix, slope, num_iterations):
    """Each slope by its name among the signals, alone in the telemetry."""
    assert signal(f"{prefix}{slope}").unit == "reward per unit of temperature"
    loop = LoopConfig(reference={"kind": "coverage", "period": 3}, actuator={"kind": "bonus"}, **of)
    control = EntropyControl({"one": loop}, num_iterations=num_iterations)
    telemetry = {loop.sensor: 0.4, f"{prefix}{slope}": 1.0}
    setpoints = [control.act(telemetry, t)["one"].r for t in range(5)]
    assert setpoints[4] > setpoints[2] == pytest.approx(0.28)  # from the third reading on, 0.7 of their mean


def test_runs_of_other_seeds_dither_from_another_place():
    """The register of seed 3 begins three later than that of seed 0, whose configuration says 1."""
    moved = {**PI, "dither": {"kind": "prbs", "amplitude": 0.1, "hold": 2}}
    same = {**moved, "dither": {**moved["dither"], "seed": 4}}
    third = EntropyControl({"one": LoopConfig(**moved)}, seed=3)
    assert play(third, READINGS) == play(EntropyControl({"one": LoopConfig(**same)}), READINGS)
    assert play(third, READINGS) != play(EntropyControl({"one": LoopConfig(**moved)}), READINGS)


def test_the_state_of_another_version_is_refused_in_one_line():
    control = control_of(entropy=PI)
    state = control.state_dict()
    with_shorter_law = [(*each[:2], each[2][:-1], *each[3:]) for each in state["loops"]]
    for loops in ([each[:7] for each in state["loops"]], with_shorter_law):
        with pytest.raises(
            ValueError, match=r"^the loops of this checkpoint are another version's; go on with that"
        ):
            control_of(entropy=PI).load_state_dict({"loops": loops, "commands": {}})
    control_of(entropy=PI).load_state_dict(state)
