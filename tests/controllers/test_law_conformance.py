"""What every law must do.  A law added to ``controllers/laws`` needs a line in EXAMPLES to pass."""

import inspect
import json
from dataclasses import FrozenInstanceError, fields
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.base import Law, Sample
from controllers.laws import LAWS
from controllers.laws.auto import Auto
from controllers.laws.doubling import Doubling
from controllers.laws.dual_ascent import DualAscent
from controllers.laws.increment import Increment
from controllers.laws.log_ratio import LogRatio
from controllers.laws.open_loop import OpenLoop
from controllers.laws.pid import PID
from controllers.laws.relay import Relay
from controllers.laws.scheduled import ScheduledPID
from controllers.loop_state import restore

EXAMPLES = {
    "auto": [Auto()],
    "open_loop": [OpenLoop(value=0.3)],
    "pid": [
        PID(kp=1.0, ki=0.0),
        PID(kp=1.0, ki=0.01, anti_windup=0.0),
        PID(kp=0.5, ki=0.1, bias=0.2, bumpless=True, error="relative"),
        PID(kp=0.5, ki=0.1, kd=0.3, error="log"),
    ],
    "increment": [
        Increment(step_size=0.01, low=0.0, high=1.0, initial=0.1, gated=True),
        Increment(step_size=0.25, low=0.0, high=2.5, initial=0.0),
    ],
    "dual_ascent": [
        DualAscent(rate=0.1, initial=0.5),
        DualAscent(rate=0.1, initial=0.5, space="linear"),
    ],
    "relay": [Relay(up=1.0, down=-1.0), Relay(up=0.5, down=0.0, middle=0.1, dead_band_nats=0.05)],
    "doubling": [
        Doubling(initial=0.01, smallest=0.001, largest=0.1),
        Doubling(initial=-0.02, smallest=0.01, largest=1.0, factor=1.5),
    ],
    "log_ratio": [LogRatio(vocabulary_size=151_936)],
    "scheduled_pid": [
        ScheduledPID(pid=PID(kp=1.0, ki=0.01), learning_rate_reference=1e-3),
        ScheduledPID(
            pid=PID(kp=0.5, ki=0.1, kd=0.3, bumpless=True),
            learning_rate_reference=1e-3,
            learning_rate_exponent=0.5,
            level_nats=0.4,
            level_exponent=-1.0,
        ),
    ],
}
ADAPTIVE = ("auto",)
"""A higher reference changes what it learns, and so, later on, may lower a command."""
INSTANCES = [law for laws in EXAMPLES.values() for law in laws]
every_law = pytest.mark.parametrize("law", INSTANCES, ids=repr)
every_class = pytest.mark.parametrize("cls", LAWS.values(), ids=lambda cls: cls.kind)
steady_law = pytest.mark.parametrize("law", [law for law in INSTANCES if law.kind not in ADAPTIVE], ids=repr)
entropies = st.lists(st.floats(0.02, 3.0), min_size=3, max_size=12)


def samples_and_commands(law, ys, rs, u=1.0):
    """The law with nothing between its command and the plant."""
    state, samples, commands = law.init(), [], []
    for k, (y, r) in enumerate(zip(ys, rs, strict=True)):
        telemetry = dict.fromkeys(law.reads, 0.001 * (1 + k % 3))
        samples.append((state, Sample(t=k, dt=1.0, y=y, r=r, u=u, telemetry=telemetry)))
        state, terms = law.step(*samples[-1])
        u = sum(terms.values())
        commands.append(u)
    return samples, commands


def only_floats(state):
    """Floats and tuples of them; a class of tuple is a NamedTuple that adds nothing but names."""
    plain = type(state) is tuple
    named = type(state).__bases__ == (tuple,) and len(state) == len(getattr(type(state), "_fields", ()))
    return (plain or named) and all(type(item) is float or only_floats(item) for item in state)


def classes(state):
    """The class of a state and of each state within it."""
    return [type(state), *(each for item in state if isinstance(item, tuple) for each in classes(item))]


def is_named(state):
    """Whether the class is the part's own, with a name for each item; an empty state needs none."""
    return state == () or (type(state).__doc__ and set(type(state).__annotations__) == set(state._fields))


def test_every_law_has_examples():
    assert set(EXAMPLES) == set(LAWS)
    assert all(law.kind == kind for kind, laws in EXAMPLES.items() for law in laws)


@every_class
def test_class_is_registered_documented_and_final(cls):
    module = inspect.getmodule(cls)
    assert LAWS[cls.kind] is getattr(module, cls.__name__)
    assert cls.__bases__ == (Law,)
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")


@every_class
def test_kind_is_unique(cls):
    names = {law.__name__ for law in Law.__subclasses__() if law.kind == cls.kind}
    assert names == {cls.__name__}


@every_law
def test_gains_are_frozen_and_by_name(law):
    with pytest.raises((FrozenInstanceError, TypeError)):
        law.anything = 1.0
    if fields(law):
        with pytest.raises(TypeError):
            type(law)(1.0)


@every_law
def test_init_is_made_of_floats(law):
    assert only_floats(law.init())
    assert is_named(law.init())
    assert law.init() == law.init()


@every_law
@settings(max_examples=20, deadline=None)
@given(ys=entropies)
def test_step_is_pure_and_its_state_is_floats(law, ys):
    samples, commands = samples_and_commands(law, ys, [0.5] * len(ys))
    for (state, sample), command in zip(samples, commands, strict=True):
        before = repr((law, state, sample))
        new_state, terms = law.step(state, sample)
        assert repr((law, state, sample)) == before
        assert sum(terms.values()) == command
        assert type(new_state) is type(law.init())
        assert only_floats(new_state)
        assert all(isfinite(term) for term in terms.values())


@every_law
@settings(max_examples=20, deadline=None)
@given(ys=entropies, cut=st.integers(0, 11))
def test_a_state_through_json_continues_bit_for_bit(law, ys, cut):
    samples, commands = samples_and_commands(law, ys, [0.5] * len(ys))
    state, sample = samples[cut % len(ys)]
    read_back = restore(json.loads(json.dumps(state)))
    assert read_back == state
    assert set(classes(read_back)) == {tuple}
    new_state, terms = law.step(state, sample)
    again, terms_again = law.step(read_back, sample)
    assert sum(terms.values()) == commands[cut % len(ys)]
    assert (again, terms_again) == (new_state, terms)
    assert classes(again) == classes(new_state)


@steady_law
@settings(max_examples=30, deadline=None)
@given(ys=entropies, r=st.floats(0.2, 2.0), raised=st.floats(0.0, 0.5), when=st.integers(1, 11))
def test_raising_the_reference_never_lowers_the_command(law, ys, r, raised, when):
    rs = [r] * len(ys)
    raised_rs = [r + raised * (k >= when) for k in range(len(ys))]
    _, plain = samples_and_commands(law, ys, rs)
    _, higher = samples_and_commands(law, ys, raised_rs)
    assert all(b >= a - 1e-9 for a, b in zip(plain, higher, strict=True))


@every_law
def test_a_reference_above_gives_more_than_one_below(law):
    ys = [0.5] * 8
    # the same start, so that a bumpless one does not hide the difference
    _, asked_up = samples_and_commands(law, ys, [0.5] + [0.7] * 7)
    _, asked_down = samples_and_commands(law, ys, [0.5] + [0.3] * 7)
    if isinstance(law, OpenLoop):
        assert asked_up == asked_down
    else:
        assert asked_up[-1] > asked_down[-1]
