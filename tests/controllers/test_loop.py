import json
import random
from dataclasses import fields, replace
from math import inf, isfinite, isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import (
    EMA,
    PID,
    PRBS,
    Constant,
    DualAscent,
    FeedbackLoop,
    Free,
    Increment,
    InitialAnchored,
    Median,
    OpenLoop,
    Schedule,
    replay,
    restore,
)
from controllers.base import Law
from controllers.loop_state import fits
from controllers.parts.coverage import Coverage

LOOP = FeedbackLoop(
    sensor="entropy",
    reference=Constant(value_nats=0.5),
    law=PID(kp=1.0, ki=0.1),
    actuator="bonus",
    low=-1.0,
    high=1.0,
    neutral=0.0,
)


def run(loop, readings):
    """Traces of the loop; None is a reading that is missing."""
    return replay(loop, [{} if h is None else {loop.sensor: h} for h in readings])


def commands(loop, readings):
    return [trace.u for trace in run(loop, readings)]


def test_trace_by_hand():
    first, second = run(LOOP, [0.3, 0.4])
    # e = 0.2, p = 0.2, i = 0;  then e = 0.1, p = 0.1, i = 0.1·0.2
    assert (first.t, first.y, first.r, first.held, first.saturated) == (0, 0.3, 0.5, False, False)
    assert (first.e, first.v, first.u) == pytest.approx((0.2, 0.2, 0.2))
    assert (second.e, second.v, second.u) == pytest.approx((0.1, 0.12, 0.12))
    assert second.terms == pytest.approx({"bias": 0.0, "p": 0.1, "i": 0.02, "d": 0.0})


def test_limits_and_what_the_law_is_shown():
    loop = replace(LOOP, law=PID(kp=10.0, ki=0.1, anti_windup=1.0), high=0.5)
    first, second = run(loop, [0.3, 0.3])
    assert (first.v, first.u, first.saturated) == (2.0, 0.5, True)
    assert second.v == pytest.approx(0.52)  # 0.5 applied + 0.1·0.2


def test_slew_by_hand():
    loop = replace(LOOP, law=OpenLoop(value=0.5), slew=0.2)
    traces = run(loop, [0.3] * 4)
    assert [trace.u for trace in traces] == pytest.approx([0.2, 0.4, 0.5, 0.5])
    assert [trace.saturated for trace in traces] == [True, True, False, False]
    falling = replace(loop, law=OpenLoop(value=-9.0))
    assert commands(falling, [0.3] * 7) == pytest.approx([-0.2, -0.4, -0.6, -0.8, -1.0, -1.0, -1.0])


def test_dead_band_by_hand():
    loop = replace(LOOP, law=PID(kp=1.0, ki=0.0), dead_band_nats=0.1)
    traces = run(loop, [0.45, 0.55, 0.2, 0.9])
    # inside: nothing; e = 0.3 counts 0.2; e = −0.4 counts −0.3
    assert [trace.u for trace in traces] == pytest.approx([0.0, 0.0, 0.2, -0.3])
    assert [trace.e for trace in traces] == pytest.approx([0.05, -0.05, 0.3, -0.4])  # as measured
    assert [trace.r for trace in traces] == [0.5] * 4


def test_filter_comes_before_reference_and_law():
    loop = replace(LOOP, filter=Median(window=3), reference=InitialAnchored(fraction=0.5, num_readings=3))
    traces = run(loop, [1.0, 1.0, 9.0, 1.0])
    assert [trace.y for trace in traces] == [1.0] * 4
    assert [trace.r for trace in traces] == [0.5] * 4
    assert [trace.terms["p"] for trace in traces] == [-0.5] * 4


@pytest.mark.parametrize("bad", [None, nan, inf, -inf])
def test_a_bad_reading_holds_and_changes_nothing(bad):
    loop = replace(LOOP, filter=EMA(decay=0.5), reference=InitialAnchored(fraction=0.5, num_readings=3))
    state, before = loop.step(loop.init(), {"entropy": 0.4}, 0)
    held_state, held = loop.step(state, {} if bad is None else {"entropy": bad}, 1)
    assert held_state[:4] == state[:4]
    assert held.held
    assert isnan(held.y)
    assert (held.u, held.v, held.terms, held.saturated) == (before.u, before.u, {}, False)


def test_before_the_first_good_reading_the_neutral_command_stands():
    loop = replace(LOOP, neutral=0.7)
    assert commands(loop, [None, nan]) == [0.7, 0.7]


def test_a_gap_is_not_integrated():
    # e = 0.2 was read once, so it counts once, however long nothing was read: i = 0.1·0.2
    for gap in (1, 2, 10, 1000):
        traces = run(LOOP, [0.3, *[None] * gap, 0.5, 0.5])
        assert traces[-2].terms["i"] == traces[-1].terms["i"] == pytest.approx(0.02)


def test_a_hold_keeps_the_mean_of_the_last_ten_commands():
    loop = replace(LOOP, law=PID(kp=1.0, ki=0.0))
    # twelve readings with noise around 0.3: commands 0.2 ± 0.1, ending with the largest
    noise = [0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.08, -0.08, 0.04, -0.04, -0.1, 0.1]
    traces = run(loop, [*(0.3 - n for n in noise), *[None] * 5, 0.3])
    assert traces[11].u == pytest.approx(0.3)
    mean = 0.2 + sum(noise[2:]) / 10
    assert [trace.u for trace in traces[12:17]] == pytest.approx([mean] * 5)
    assert all(trace.held and trace.v == trace.u and not trace.saturated for trace in traces[12:17])
    assert traces[17].u == pytest.approx(0.2)


def test_a_hold_after_three_commands_keeps_their_mean_and_goes_there_no_faster_than_the_slew():
    loop = replace(LOOP, law=PID(kp=1.0, ki=0.0))
    assert commands(loop, [0.4, 0.3, 0.1, None, None]) == pytest.approx([0.1, 0.2, 0.4, 0.7 / 3, 0.7 / 3])
    slow = replace(loop, slew=0.1)
    assert commands(slow, [0.4, 0.3, 0.1, None, nan]) == pytest.approx([0.1, 0.2, 0.3, 0.2, 0.2])


def test_a_hold_before_an_instant_changes_no_command():
    loop = replace(LOOP, law=PID(kp=1.0, ki=0.0), period=3)
    traces = run(loop, [0.4, 0.3, None, 0.1, None, 0.3, None, 0.3])
    # the instant at t = 6 is missed: the mean of 0.1, 0.1, 0.4 and 0.4 is kept until the next reading
    assert [trace.u for trace in traces] == pytest.approx([0.1, 0.1, 0.1, 0.4, 0.4, 0.4, 0.25, 0.2])
    assert [trace.held for trace in traces] == [False, False, True, False, True, False, True, False]


def test_after_a_long_hold_a_pi_goes_on_where_it_was():
    # An integrator that drift pulls down by 0.01 an iteration: the command that holds it is 0.2.  Readings
    # have noise, and the last one before the gap has much of it.
    loop = replace(LOOP, law=PID(kp=2.0, ki=0.05))
    rng, z, state, us = random.Random(0), 0.5, loop.init(), []
    for t in range(160):
        noise = -0.15 if t == 139 else rng.gauss(0, 0.02)
        state, trace = loop.step(state, {} if 140 <= t < 150 else {"entropy": z + noise}, t)
        z += 0.05 * trace.u - 0.01
        us.append(trace.u)
    settled = sum(us[100:139]) / 39
    assert settled == pytest.approx(0.2, abs=0.02)
    assert us[139] > 0.45
    assert us[140:150] == pytest.approx([us[140]] * 10)
    assert us[145] == pytest.approx(0.2, abs=0.06)  # a tenth of the outlier's 0.3, and noise
    assert us[150] == pytest.approx(0.2, abs=0.12)  # one error over the whole gap made it 0.3 more


@pytest.mark.parametrize("law", [PID(kp=1.0, ki=0.1), DualAscent(rate=0.1, space="linear", initial=0.2)])
def test_a_law_is_shown_what_was_lost_and_what_was_applied(law):
    seen = []

    class Spy(type(law)):
        def step(self, state, sample):
            seen.append(sample)
            return super().step(state, sample)

    loop = replace(LOOP, law=Spy(**{field.name: getattr(law, field.name) for field in fields(law)}), period=2)
    traces = run(loop, [0.3, 0.3, None, None, 0.4, 0.4, 0.4])
    assert [(sample.t, sample.dt, sample.lost, sample.seen) for sample in seen] == [
        (0, 2.0, 0.0, 2.0),
        (4, 4.0, 2.0, 2.0),
        (6, 2.0, 0.0, 2.0),
    ]
    us = [trace.u for trace in traces]
    assert [sample.applied for sample in seen] == pytest.approx([0.0, sum(us[:4]) / 4, sum(us[4:6]) / 2])
    assert [sample.u for sample in seen] == pytest.approx([0.0, us[0], us[4]])


@pytest.mark.parametrize("period", [1, 2])
def test_a_law_is_shown_what_others_added(period):
    """In half units: of each command that was in force, what is not the law's 0.3, whatever a hold kept."""
    seen = []

    class Spy(OpenLoop):
        def step(self, state, sample):
            seen.append(sample)
            return super().step(state, sample)

    dither = PRBS(amplitude=0.1, hold=1)
    loop = replace(LOOP, law=Spy(value=0.6), period=period, dither=dither, unit=0.5)
    entropies = [0.5, 0.5, 0.5, 0.5, 0.5, None, None, None, 0.5, 0.5, 0.5]
    traces = run(loop, entropies)
    us = [trace.u for trace in traces]
    assert any(sample.lost for sample in seen)
    for sample in seen[1:]:
        start = sample.t - int(sample.dt)
        mean = sum(us[start : sample.t]) / sample.dt
        assert sample.applied == pytest.approx(mean / 0.5)
        assert sample.applied - sample.added == pytest.approx(0.6)
    assert seen[0].added == 0.0


def test_the_dither_in_force_is_in_every_trace():
    dither = PRBS(amplitude=0.1, hold=1)
    loop = replace(LOOP, law=OpenLoop(value=0.3), period=2, dither=dither)
    traces = run(loop, [0.5, 0.5, 0.5, 0.5, None, 0.5])
    assert [trace.held for trace in traces] == [False] * 4 + [True, False]
    first, second = dither.value(0), dither.value(2)
    expected = [first, first, second, second, (2 * first + 2 * second) / 4, dither.value(5)]
    assert [trace.terms["dither"] for trace in traces] == pytest.approx(expected)
    assert all(sum(trace.terms.values()) == pytest.approx(trace.u) for trace in traces)
    assert [trace.u - trace.terms["dither"] for trace in traces] == pytest.approx([0.3] * 6)


def test_a_command_that_is_not_finite_holds():
    loop = replace(LOOP, law=PID(kp=1e300, ki=0.0), low=-inf, high=inf)
    state, before = loop.step(loop.init(), {"entropy": 0.5}, 0)
    held_state, trace = loop.step(state, {"entropy": 1e10}, 1)
    assert trace.held
    assert (trace.y, trace.r, trace.u) == (1e10, 0.5, before.u)
    assert held_state[:4] == state[:4]
    assert not loop.step(held_state, {"entropy": 0.5}, 2)[1].held


def test_period_keeps_the_command_between_control_instants():
    loop = replace(LOOP, law=PID(kp=1.0, ki=0.1), period=3)
    traces = run(loop, [0.4, 0.1, 0.2, 0.3, 0.3])
    # e = 0.1 at t = 0; at t = 3, e = 0.2 and i = 0.1·0.1·3
    assert [trace.u for trace in traces] == pytest.approx([0.1, 0.1, 0.1, 0.23, 0.23])
    assert [bool(trace.terms) for trace in traces] == [True, False, False, True, False]
    assert not any(trace.held for trace in traces)
    assert [trace.y for trace in traces] == [0.4, 0.1, 0.2, 0.3, 0.3]


def test_the_filter_goes_on_between_control_instants():
    loop = replace(LOOP, filter=EMA(decay=0.5), law=PID(kp=1.0, ki=0.0), period=3)
    traces = run(loop, [0.4, 0.8, 0.6, 0.2])
    # weights of the readings, newest first: 1;  2 1;  4 2 1;  8 4 2 1
    y = [0.4, (2 * 0.8 + 0.4) / 3, (4 * 0.6 + 2 * 0.8 + 0.4) / 7, (8 * 0.2 + 4 * 0.6 + 2 * 0.8 + 0.4) / 15]
    assert [trace.y for trace in traces] == pytest.approx(y)
    assert traces[3].u == pytest.approx(0.5 - y[3])


def test_the_reference_goes_on_between_control_instants():
    anchored = InitialAnchored(fraction=0.5, num_readings=3)
    traces = run(replace(LOOP, reference=anchored, period=3), [0.4, 0.8, 0.6, 0.2, 0.2])
    # half of the reading, until three of them have made the anchor: 0.5·(0.4 + 0.8 + 0.6) / 3
    assert [trace.r for trace in traces] == pytest.approx([0.2, 0.4, 0.3, 0.3, 0.3])
    schedule = Schedule(start_nats=0.5, end_nats=0.1, num_iterations=4)
    traces = run(replace(LOOP, reference=schedule, law=PID(kp=1.0, ki=0.0), period=3), [0.2] * 5)
    assert [trace.r for trace in traces] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])
    assert [trace.u for trace in traces] == pytest.approx([0.3, 0.3, 0.3, 0.0, 0.0])


def test_a_control_instant_without_reading_is_made_up_for():
    loop = replace(LOOP, period=2)
    traces = run(loop, [0.4, 0.4, None, 0.4, 0.4, 0.4])
    assert [bool(trace.terms) for trace in traces] == [True, False, False, True, False, True]
    assert traces[3].terms["i"] == pytest.approx(0.02)  # 0.1·0.1 over the period; the third is lost


def test_bumpless_start_has_no_kick():
    loop = replace(LOOP, neutral=0.3)
    assert commands(loop, [0.1])[0] == pytest.approx(0.4)
    bumpless = replace(loop, law=PID(kp=1.0, ki=0.1, bumpless=True))
    assert commands(bumpless, [0.1])[0] == pytest.approx(0.3)


def test_an_open_loop_needs_no_reference():
    traces = run(replace(LOOP, reference=Free(), law=OpenLoop(value=0.2)), [0.9, 0.1])
    assert [trace.u for trace in traces] == [0.2, 0.2]
    assert [trace.y for trace in traces] == [0.9, 0.1]
    assert not any(trace.held for trace in traces)


def test_a_law_that_looks_for_a_reference_that_is_not_there_holds():
    for error in ("absolute", "relative", "log"):
        loop = replace(LOOP, reference=Free(), law=PID(kp=1.0, ki=0.1, error=error), neutral=0.3)
        assert all(trace.held and trace.u == 0.3 for trace in run(loop, [0.9, 0.1]))


LAWS = [
    PID(kp=3.0, ki=0.3, kd=1.0),
    PID(kp=1.0, ki=0.1, anti_windup=0.0, error="log"),
    Increment(step_size=0.4, low=-2.0, high=2.0, initial=0.0),
    DualAscent(rate=2.0, initial=0.5),
    OpenLoop(value=5.0),
]
readings = st.lists(st.one_of(st.none(), st.floats(0, 5), st.sampled_from([nan, inf])), max_size=25)
loops = st.builds(
    FeedbackLoop,
    sensor=st.just("entropy"),
    actuator=st.just("bonus"),
    reference=st.sampled_from([Constant(value_nats=0.5), InitialAnchored(fraction=0.4, num_readings=2)]),
    law=st.sampled_from(LAWS),
    filter=st.sampled_from([EMA(decay=0.5), Median(window=3)]),
    low=st.floats(-1.0, 0.0),
    high=st.floats(0.1, 1.0),
    neutral=st.floats(0.0, 0.1),
    slew=st.sampled_from([inf, 0.3, 0.01]),
    dead_band_nats=st.sampled_from([0.0, 0.05]),
    period=st.sampled_from([1, 3]),
)


@settings(max_examples=60, deadline=None)
@given(loops, readings)
def test_limits_and_slew_are_never_exceeded(loop, hs):
    last = loop.neutral
    for reading, trace in zip(hs, run(loop, hs), strict=True):
        assert loop.low <= trace.u <= loop.high
        assert abs(trace.u - last) <= loop.slew + 1e-12
        assert trace.held == (reading is None or not isfinite(reading))
        assert trace.saturated == (trace.u != trace.v)
        if trace.terms:
            assert trace.v == sum(trace.terms.values())
        last = trace.u


@settings(max_examples=100, deadline=None)
@given(loops, readings, st.integers(0, 25), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_whatever_the_limits_have_become_every_command_is_inside_them(loop, hs, cut, one, other):
    state, low, high = loop.init(), min(one, other), max(one, other)
    for t, h in enumerate(hs):
        if t == cut:
            state, loop = restore(state), replace(loop, low=low, high=high, neutral=low)
        state, trace = loop.step(state, {} if h is None else {"entropy": h}, t)
        assert loop.low <= trace.u <= loop.high


def test_limits_that_have_become_narrower_hold_at_once():
    loop = replace(LOOP, law=PID(kp=1.0, ki=0.0), period=3)
    state, trace = loop.step(loop.init(), {"entropy": 0.1}, 0)
    assert trace.u == pytest.approx(0.4)
    for narrow in (replace(loop, high=0.1), replace(loop, high=0.1, slew=0.05)):
        between, kept = narrow.step(state, {"entropy": 0.1}, 1)
        assert (kept.u, kept.held) == (0.1, False)
        held, waited = narrow.step(between, {}, 2)
        assert (waited.u, waited.held) == (0.1, True)
        assert narrow.step(held, {}, 3)[1].u == 0.1  # the mean of 0.4 and 0.1, cut
        assert narrow.step(held, {"entropy": 0.1}, 3)[1].u == 0.1  # 0.3 less than before, whatever the slew


def test_a_law_is_shown_the_command_that_acted_and_the_one_that_limits_have_left_of_it():
    class Shown(Law):
        """Its share, the mean command that acted, and the wish of 0.8."""

        kind = "shown"

        def init(self):
            return ()

        def step(self, state, sample):
            return (sample.u, sample.applied), {"wish": 0.8}

    loop = replace(LOOP, law=Shown())
    state, _ = loop.step(loop.init(), {"entropy": 0.1}, 0)
    for high in (1.0, 0.5):
        after, _ = replace(loop, high=high).step(state, {"entropy": 0.1}, 1)
        assert after.law == pytest.approx((min(high, 0.8), 0.8))


@pytest.mark.parametrize(("acted", "applied"), [(True, 0.8), (False, 0.5)])
def test_a_command_that_had_not_acted_when_limits_cut_it_counts_as_what_is_left(acted, applied):
    """Over three iterations it was 0.8 for two, whichever way the third counts."""
    state = LOOP.init()._replace(u=0.8, share=0.7, applied=1.6, elapsed=2.0)
    cut = state.within(-1.0, 0.5, acted=acted)
    assert (cut.u, cut.share, cut.elapsed) == (0.5, pytest.approx(0.4), 2.0)
    assert (cut.applied + cut.u) / 3 == pytest.approx((1.6 + applied) / 3)
    assert cut.within(-1.0, 0.5) == cut
    assert state.within(-1.0, 0.9, acted=acted) is state


@settings(max_examples=60, deadline=None)
@given(loops, readings, st.integers(0, 25))
def test_json_in_mid_run_continues_bit_for_bit(loop, hs, cut):
    state, live = loop.init(), []
    for t, h in enumerate(hs):
        if t == cut:
            state = restore(json.loads(json.dumps(state, allow_nan=False)))
        state, trace = loop.step(state, {} if h is None else {"entropy": h}, t)
        live.append(trace)
    assert repr(live) == repr(run(loop, hs))  # repr: exact, and nan equals nan


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.4, 0.6), min_size=1, max_size=20))
def test_inside_the_dead_band_the_integral_rests(hs):
    loop = replace(LOOP, dead_band_nats=0.11, neutral=0.2, law=PID(kp=1.0, ki=0.5, bumpless=True))
    assert commands(loop, hs) == pytest.approx([0.2] * len(hs))


@settings(max_examples=60, deadline=None)
@given(st.floats(0.0, 2.0), st.floats(0.0, 2.0))
def test_dead_band_is_continuous_and_monotone(a, b):
    loop = replace(LOOP, law=PID(kp=1.0, ki=0.0), dead_band_nats=0.1, low=-inf, high=inf)
    (u_a,), (u_b,) = commands(loop, [a]), commands(loop, [b])
    assert (u_a - u_b) * (b - a) >= -1e-12
    assert abs(u_a - u_b) <= abs(a - b) + 1e-12


def test_a_change_of_unit_changes_nothing_in_log_coordinates():
    law = PID(kp=1.0, ki=0.1, kd=0.2, error="log")
    nats = replace(LOOP, law=law)
    bits = replace(LOOP, law=law, reference=Constant(value_nats=0.5 / 0.69314718056))
    hs = [0.9, 0.3, 0.2, 0.7]
    assert commands(nats, hs) == pytest.approx(commands(bits, [h / 0.69314718056 for h in hs]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sensor": ""}, "sensor must be a name, got ''"),
        ({"actuator": ""}, "actuator must be a name, got ''"),
        ({"low": 2.0}, "low must be <= high = 1.0, got 2.0"),
        ({"high": nan}, "low must be <= high = nan, got -1.0"),
        ({"neutral": 2.0}, "neutral must be in [low, high] = [-1.0, 1.0], got 2.0"),
        ({"neutral": inf, "high": inf}, "neutral must be finite, got inf"),
        ({"slew": 0.0}, "slew must be > 0, got 0.0"),
        ({"dead_band_nats": -0.1}, "dead_band_nats must be >= 0 and finite, got -0.1"),
        ({"period": 0}, "period must be >= 1, got 0"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        replace(LOOP, **fields)
    assert str(refusal.value) == message


def test_restore_gives_nested_tuples_of_floats():
    assert restore([[], [1, 2.5], [[3.0]], True]) == ((), (1.0, 2.5), ((3.0,),), 1.0)
    assert all(type(item) is float for item in restore([1, True]))


def test_a_stored_state_of_another_version_does_not_fit():
    state = restore(LOOP.init())
    assert fits(state, LOOP.init())
    assert not fits(state[:-1], LOOP.init())
    assert not fits((*state[:2], state[2][:-1], *state[3:]), LOOP.init())  # the law has an item less


def test_a_stored_state_of_another_reference_does_not_fit():
    following = replace(LOOP, reference=Coverage())
    assert fits(restore(following.init()), following.init())
    assert not fits(restore(LOOP.init()), following.init())


def test_a_law_whose_state_grows_fits_at_any_time():
    class Window(Law):
        """Proportional to the mean of all errors."""

        kind = "window"

        def init(self):
            return ()

        def step(self, state, sample):
            errors = (*state, sample.e)
            return errors, {"mean": sum(errors) / len(errors)}

    loop = replace(LOOP, law=Window())
    state = loop.init()
    for t, h in enumerate([0.4, 0.6, 0.5]):
        state, _ = loop.step(state, {"entropy": h}, t)
    assert len(state.law) == 3
    assert fits(restore(state), loop.init())
