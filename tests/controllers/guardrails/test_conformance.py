"""What every detector must do.  One added to ``controllers/guardrails`` passes as it is, or gets an example."""

import json
import random
from dataclasses import FrozenInstanceError, fields
from math import inf, nan

import pytest

from controllers.guardrails import DETECTORS
from controllers.loop_state import restore

FAILING = {
    "collapse": ([{"entropy": 1.0}], {"entropy": 0.01}),
    "explosion": ([{"entropy": 0.2}], {"entropy": 2.0}),
    "truncation": ([], {"rollout/truncated": 0.9}),
    "repetition": ([], {"rollout/repetition": 0.9}),
    "starvation": ([], {"rollout/starved_groups": 1.0}),
    "mismatch": ([], {"rollout/logprob_gap": 1.0}),
    "stagnation": ([], {"reward": 0.3}),
    "plateau": ([], {"eval/pass_at_1": 0.3}),
    "decline": ([{"reward": 0.9}] * 4, {"reward": 0.1}),
}
"""By name: what comes first, and then what, over and over, is a failure."""

every = pytest.mark.parametrize("cls", DETECTORS.values(), ids=DETECTORS)


def play(detector, telemetries, state=None):
    """The state after some iterations and every reading."""
    state = detector.init() if state is None else state
    readings = []
    for telemetry in telemetries:
        state, reading = detector.step(state, telemetry)
        readings.append(reading)
    return state, readings


def noise(num, seed=0):
    rng = random.Random(seed)
    names = ("entropy", "setpoint", "reward", "rollout/truncated", "rollout/repetition")
    names += ("rollout/starved_groups", "rollout/logprob_gap", "eval/pass_at_1")
    return [{name: rng.choice([rng.random(), nan]) for name in names} for _ in range(num)]


def failure(cls, patience=4):
    first, then = FAILING[cls.name]
    return cls(patience=patience), first + [then] * (patience + 2)


def test_every_detector_has_an_example():
    assert FAILING.keys() == DETECTORS.keys()


@every
def test_it_says_what_it_is(cls):
    assert cls.__doc__
    assert all(cls.measures[:1])
    assert cls.direction in ("below", "above")
    assert cls.side in ("low", "high", "none")
    assert {"threshold", "patience", "action"} <= {field.name for field in fields(cls)}
    assert cls().action == "warn"
    assert cls().reads


@every
def test_it_trips_after_its_patience_and_not_before(cls):
    detector, telemetries = failure(cls)
    _, readings = play(detector, telemetries)
    tripped = [reading.tripped for reading in readings]
    first = tripped.index(True)
    assert first + 1 >= detector.patience
    assert all(tripped[first:])
    last = readings[-1]
    assert last.value < last.limit if detector.direction == "below" else last.value > last.limit


@every
def test_one_iteration_less_is_no_alarm(cls):
    detector, telemetries = failure(cls)
    _, readings = play(detector, telemetries)
    first = [reading.tripped for reading in readings].index(True)
    _, readings = play(detector, telemetries[:first])
    assert not any(reading.tripped for reading in readings)


@every
def test_what_is_missing_or_not_finite_changes_nothing(cls):
    detector, telemetries = failure(cls)
    state, readings = play(detector, telemetries)
    for nothing in ({}, dict.fromkeys(detector.reads, nan), dict.fromkeys(detector.reads, inf)):
        after, reading = detector.step(state, nothing)
        assert after == state
        assert reading.tripped == readings[-1].tripped
    assert not play(detector, [{}] * 20)[1][-1].tripped


@every
def test_a_restored_state_goes_on_exactly(cls):
    detector, telemetries = cls(patience=3), noise(40)
    straight = play(detector, telemetries)
    for cut in (0, 1, 7, 20):
        state, _ = play(detector, telemetries[:cut])
        after = play(detector, telemetries[cut:], restore(json.loads(json.dumps(state))))
        assert repr(after[0]) == repr(straight[0])
        assert repr(after[1]) == repr(straight[1][cut:])


@every
def test_it_cannot_be_changed(cls):
    with pytest.raises(FrozenInstanceError):
        cls().threshold = 0.5


@every
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.0}, "threshold must be > "),
        ({"threshold": -1.0}, "got -1"),
        ({"threshold": nan}, "got nan"),
        ({"patience": 0}, "patience must be >= 1, got 0"),
        ({"action": "halt"}, "action must be one of warn, hold, rollback, stop, got 'halt'"),
    ],
)
def test_bad_settings_are_refused_with_the_value(cls, settings, message):
    with pytest.raises(ValueError, match="must be") as refusal:
        cls(**settings)
    assert message in str(refusal.value)
