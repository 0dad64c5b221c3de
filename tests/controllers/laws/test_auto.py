import json
from math import exp, log, nan

import numpy as np
import pytest

from controllers import PRBS, Auto, Constant, FeedbackLoop, Feedforward, replay, restore
from controllers.base import Law, Sample
from controllers.identification.effect_filters import (
    LAGS,
    LATEST,
    NOTHING,
    NUMBERS,
    VIEWS,
    filtered,
    first_beliefs,
    foreseen,
    given,
    updated,
)
from controllers.laws.auto import AutoState
from controllers.laws.pid import PID
from controllers.parts.covariance_feedforward import CovarianceFeedforward
from controllers.parts.filters import EMA

R = 0.3


def loop_of(**more):
    settings = {
        "sensor": "entropy",
        "reference": Constant(value_nats=R),
        "law": Auto(),
        "actuator": "bonus",
        "low": -1.0,
        "high": 1.0,
        "neutral": 0.0,
    }
    return FeedbackLoop(**settings | more)


def run(loop, num=150, *, gain=0.2, drift=-0.06, noise=0.03, start=0.3, shift=0.0, broken=None, seed=0):
    """Traces, states and true ln(H / r) of a plant that integrates ``gain`` and shifts by ``shift``.

    ``broken`` gives the readings that were not what they are, by iteration.
    """
    rng, state, level, u = np.random.default_rng(seed), loop.init(), start, loop.neutral
    traces, states, zs = [], [], []
    for t in range(num):
        z = level + shift * u
        reading = R * exp(z + noise * rng.standard_normal())
        state, trace = loop.step(state, {"entropy": (broken or {}).get(t, reading)}, t)
        u = trace.u
        level += gain * u + drift + 0.01 * rng.standard_normal()
        traces.append(trace)
        states.append(state)
        zs.append(z)
    return traces, states, np.array(zs)


def belief_of(state):
    """Mean and covariance of a belief, as numpy has them."""
    upper = np.zeros((3, 3))
    upper[np.triu_indices(3)] = state[3:9]
    return np.array(state[:3]), upper + upper.T - np.diag(np.diag(upper))


def test_the_horizon_is_a_sum_over_the_iterations_within_it():
    for view, numbers in zip(VIEWS, NUMBERS, strict=True):
        f = [1 - view.kept**k for k in range(1, round(view.ahead) + 1)]  # of a full command that stays
        assert numbers[3] == pytest.approx(sum(f) if view.pushes else f[-1])


@pytest.mark.parametrize(("dt", "lost"), [(1, 0), (3, 0), (3, 2)])
@pytest.mark.parametrize("known", [0.0, 0.001, 0.03, 1.0])
def test_the_filters_are_kalmans(known, dt, lost):
    """Over ``dt`` iterations the level moves as often; Q is the change of all that were to be read, not of the lost."""
    beliefs, recent, commands = first_beliefs(log(0.4), known), [NOTHING] * LATEST, (NOTHING,) * len(LAGS)
    for u, y in ((0.5, 0.41), (-0.2, 0.43), (0.8, 0.39)):
        before = beliefs
        sample = Sample(t=0, dt=float(dt), y=y, r=R, u=u, lost=float(lost))
        recent += given(sample, 0.0, 1.0)
        f_before = commands
        commands, ways = filtered(f_before, recent, dt)
        beliefs = updated(before, f_before, ways, sample, log(y), known)
        for view, numbers, old, new in zip(VIEWS, NUMBERS, before, beliefs, strict=True):
            mean, cov = belief_of(old)
            f = f_before[numbers[6]][0]
            c0, c1 = old[10], old[11]
            least = 0.4 if view.calm else 0.05
            reading = np.clip(known or -c1, least * c0, c0 if known else 0.5 * c0)
            level = 0.01 * reading if view.calm else max(c0 - 2 * reading, 0.05 * c0)
            for iteration in range(dt):
                whole, _ = recent[len(recent) - dt - view.late + iteration]
                f = view.kept * f + (1 - view.kept) * whole
                pushing = f if view.pushes else 0.0
                move = np.eye(3)
                move[0, 1:] = 1.0, pushing
                mean, cov = move @ mean, move @ cov @ move.T + np.diag([level / (dt - lost), 0, 0])
                walk = [0.005**2 * max(mean[1] ** 2, (mean[2] * pushing) ** 2), (0.01 * mean[2]) ** 2]
                for k, (step, most) in enumerate(
                    zip(walk, (view.drift_std**2, view.effect_std**2), strict=True)
                ):
                    if cov[k + 1, k + 1] < most:
                        cov[k + 1, k + 1] = min(cov[k + 1, k + 1] + step, most)
            row = np.array([1.0, 0.0, 0.0 if view.pushes else f])
            spread = row @ cov @ row + reading
            gain = cov @ row / spread
            innovation = log(y) - row @ mean
            # a likelihood loses 1 % of itself at each reading
            assert new[15] == pytest.approx(0.99 * old[15] - 0.5 * (log(spread) + innovation**2 / spread))
            assert commands[numbers[6]] == pytest.approx((f, f))
            got_mean, got_cov = belief_of(new)
            np.testing.assert_allclose(got_mean, mean + gain * innovation, rtol=1e-9)
            np.testing.assert_allclose(got_cov, cov - np.outer(gain, gain) * spread, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    "plant",
    [
        {"gain": 0.2, "drift": -0.06},
        {"gain": 0.02, "drift": -0.006, "start": 0.1},
        {"gain": 0.0, "drift": -0.003, "shift": 1.0},
    ],
    ids=["fast", "slow", "instant"],
)
@pytest.mark.parametrize("unit", [0.005, 1.0, 40.0])
def test_it_holds_plants_of_any_speed_in_any_unit(plant, unit):
    scaled = plant | {"gain": plant["gain"] / unit, "shift": plant.get("shift", 0.0) / unit}
    _, _, z = run(loop_of(low=-unit, high=unit), 200, **scaled)
    assert np.sqrt((z[130:] ** 2).mean()) < 0.07
    assert abs(z[130:].mean()) < 0.03  # no offset, though the plant drifts


def test_gains_range_changes_nothing():
    plain, _, _ = run(loop_of())
    scaled, _, _ = run(loop_of(unit=0.25, origin=0.0))
    assert [trace.u for trace in scaled] == pytest.approx([trace.u for trace in plain], abs=1e-9)


def test_it_finds_what_the_command_does():
    traces, _, _ = run(loop_of(dither=PRBS(amplitude=0.1)), 300)
    found = traces[-1].estimates
    assert abs(found["push"] - 0.2) < 3 * found["push_std"] < 0.2
    assert abs(found["drift"] + 0.06) < 3 * found["drift_std"]


def test_a_feedforward_that_stays_leaves_no_offset():
    class Always(Feedforward):
        kind = "always"

        def init(self):
            return ()

        def step(self, state, telemetry):
            return state, 0.3

    _, _, z = run(loop_of(feedforward=Always()), 200)
    assert abs(z[130:].mean()) < 0.03


@pytest.mark.parametrize("constant", [0.4, -0.2])
def test_after_a_hold_a_feedforward_counts_once(constant):
    class Always(Feedforward):
        kind = "always"

        def init(self):
            return ()

        def step(self, state, telemetry):
            return state, constant

    broken = dict.fromkeys(range(80, 90), nan)
    traces, _, _ = run(loop_of(feedforward=Always()), 120, noise=0.01, broken=broken)
    without, _, _ = run(loop_of(), 120, noise=0.01, broken=broken)
    before = np.mean([trace.u for trace in traces[70:80]])  # drift 0.06 at a gain of 0.2: 0.3
    assert before == pytest.approx(0.3, abs=0.05)
    # the law takes back what the feedforward adds, so all of the command is as without it
    assert [trace.u for trace in traces[90:95]] == pytest.approx(
        [trace.u for trace in without[90:95]], abs=0.04
    )


@pytest.mark.parametrize("broken", [{80: nan}, dict.fromkeys(range(80, 90), nan), {80: 0.0}], ids=str)
def test_bad_readings_are_held_without_windup_or_jump(broken):
    traces, _, z = run(loop_of(), 150, noise=0.02, broken=broken)
    clean, _, _ = run(loop_of(), 150, noise=0.02)
    usual = np.std([trace.u for trace in clean[60:120]])
    before = np.mean([trace.u for trace in traces[70:80]])
    after = [trace.u for trace in traces[80 : 80 + len(broken) + 5]]
    assert np.abs(np.array(after) - before).max() < 6 * usual < 0.5
    assert np.abs(z[80:]).max() < 0.25
    first, last = traces[79].estimates["push"], traces[95].estimates["push"]
    assert last == pytest.approx(first, rel=0.25)


def test_a_collapse_that_is_real_is_believed_at_its_second_reading():
    broken = dict.fromkeys((80, 81), 0.01)
    traces, _, _ = run(loop_of(), 100, broken=broken)
    assert traces[80].u < 0.9
    assert traces[81].u == 1.0


def test_a_limit_winds_nothing_up():
    # 1.5 nats above, 0.02 an iteration at most, so some 60 iterations at the lower limit
    traces, _, z = run(loop_of(), 250, gain=0.02, drift=-0.004, start=1.5, noise=0.02)
    assert sum(trace.u == -1.0 for trace in traces) > 20
    assert z.min() > -0.25


def test_a_command_that_acts_backwards_goes_neutral_and_says_so():
    loop = loop_of()
    traces, states, _ = run(loop, 120, gain=-0.2, drift=0.0, start=0.2)
    told = [t for t, trace in enumerate(traces) if trace.estimates["backwards"]]
    assert told
    assert traces[told[0]].u == 0.0
    complaint = loop.law.complaint(states[told[0]].law)
    assert complaint.kind == "backwards"
    assert "acts backwards" in complaint.sentence
    _, fine, _ = run(loop, 120)
    assert loop.law.complaint(fine[-1].law) is None


def test_a_limit_that_cannot_hold_the_reference_says_what_it_leads_to():
    loop = loop_of(low=0.0, high=0.5)
    traces, states, _ = run(loop, 60, gain=0.0, drift=0.0, shift=0.4, start=-1.0)  # at most r e^−0.8 = 0.135
    assert traces[-1].u == 0.5
    assert traces[-1].estimates["unable"] == 1.0
    assert traces[-1].estimates["ahead_nats"] == pytest.approx(R * exp(-0.8), rel=0.15)
    complaint = loop.law.complaint(states[-1].law)
    assert complaint.kind == "authority"
    assert complaint.sentence.startswith(
        "no authority: the command is at its limit, which leads to a reading of 0.1"
    )
    # after ten readings in a row, not at the first
    first = next(t for t, state in enumerate(states) if loop.law.complaint(state.law))
    assert [state.law.unable for state in states[first - 9 : first + 1]] == [*range(1, 11)]
    assert loop.law.complaint(loop.law.init()) is None


def test_a_limit_at_neutral_is_no_want_of_authority():
    """A loop that only raises entropy waits at its neutral command while entropy is above the setpoint."""
    loop = loop_of(low=0.0, high=1.0)
    traces, states, z = run(loop, 60, gain=0.1, drift=0.0, start=1.5)
    assert traces[-1].u == 0.0
    assert z[-1] > 1.0
    assert not any(trace.estimates["unable"] for trace in traces)
    assert loop.law.complaint(states[-1].law) is None


def test_a_limit_that_only_takes_long_is_no_want_of_authority():
    """At its limit the command moves a slow plant for sixty iterations, and then holds it."""
    loop = loop_of()
    traces, states, z = run(loop, 150, gain=0.012, drift=0.0, start=0.9)
    at_limit = [trace.u == -1.0 for trace in traces]
    assert sum(at_limit[:75]) > 40
    assert not any(loop.law.complaint(state.law) for state in states)
    assert abs(z[-20:].mean()) < 0.1


def run_settling(loop, *, level, gain, kept, noise, seed, num=80):
    """First iteration with the complaint ``authority`` and the true ln(H / r) of a plant that goes to level + u · gain."""
    rng, state, z, u, first, zs = np.random.default_rng(seed), loop.init(), level, loop.neutral, num, []
    for t in range(num):
        state, trace = loop.step(state, told(R * exp(z + noise * rng.standard_normal()), noise), t)
        u = trace.u
        complaint = loop.law.complaint(state.law)
        if complaint is not None and complaint.kind == "authority":
            first = min(first, t)
        z = kept * z + (1 - kept) * (level + gain * u) + 0.01 * rng.standard_normal()
        zs.append(z)
    return first, np.array(zs)


@pytest.mark.parametrize(
    ("level", "gain", "kept", "noise", "least"),
    [
        (-1.0, 0.7, 0.9, 0.03, 12),
        (-1.0, 0.7, 0.9, 0.15, 9),
        (0.8, 0.4, 0.9, 0.15, 12),
        (-1.0, 0.6, 0.97, 0.1, 8),
    ],
)
def test_a_limit_that_moved_the_reading_and_then_sticks_short_is_said(level, gain, kept, noise, least):
    """The drift that the filters believe stays above zero long after the level stands still."""
    firsts = []
    for seed in range(12):
        first, zs = run_settling(loop_of(), level=level, gain=gain, kept=kept, noise=noise, seed=seed)
        assert abs(zs[-20:].mean()) > 0.2
        firsts.append(first)
    assert sum(first < 80 for first in firsts) >= least


@pytest.mark.parametrize(("gain", "start"), [(0.012, 0.9), (0.009, 0.56)])
def test_a_slow_integrator_at_its_limit_is_seldom_taken_for_one_that_sticks(gain, start):
    """With 10 % noise, which makes the pace of twenty readings uncertain by a third of what it is."""
    said = 0
    for seed in range(12):
        rng, loop, z = np.random.default_rng(seed), loop_of(), start
        state = loop.init()
        complaints = []
        for t in range(80):
            state, trace = loop.step(state, told(R * exp(z + 0.1 * rng.standard_normal()), 0.1), t)
            complaints.append(loop.law.complaint(state.law))
            z += gain * trace.u + 0.01 * rng.standard_normal()
        said += any(each is not None and each.kind == "authority" for each in complaints)
    assert said <= 2


def test_the_readings_at_a_limit_are_kept_while_the_law_is_there():
    loop = loop_of()
    _, states, _ = run(loop, 40, gain=0.03, drift=-0.1, start=-0.5)
    at_limit = [len(state.law.limited) for state in states]
    assert max(at_limit) == at_limit[-1] == 20
    assert at_limit[0] == 0 or states[0].u in (-1.0, 1.0)
    _, states, _ = run(loop, 40, gain=0.2, drift=0.0, start=0.0)
    assert states[-1].law.limited == ()


def test_a_limit_that_holds_the_reference_but_for_five_percent_is_not_complained_of():
    loop, rng = loop_of(low=0.0, high=0.5), np.random.default_rng(0)
    state, ahead, u = loop.init(), [], 0.0
    for t in range(80):
        y = R * 0.95 * exp(0.4 * (u - 0.5) + 0.01 * rng.standard_normal())  # 0.95 r at the upper limit
        state, trace = loop.step(state, {"entropy": y}, t)
        u = trace.u
        assert loop.law.complaint(state.law) is None
        ahead.append(trace.estimates["ahead_nats"])
        assert t < 40 or u == 0.5
    assert max(ahead[40:]) < R  # the limit is in its way all the time
    assert ahead[-1] == pytest.approx(0.95 * R, rel=0.02)


@pytest.mark.parametrize("cut", [18, 21, 22, 24])
def test_replay_equals_live_and_a_resumed_loop_goes_on_bit_for_bit(cut):
    """Before, in the middle of and after a hold, with what others add to the command."""
    feedforward = CovarianceFeedforward(limit=0.2, effect=None, effect_per_unit=1.0, change="entropy")
    loop = loop_of(dither=PRBS(amplitude=0.05), feedforward=feedforward, period=2)
    rng = np.random.default_rng(1)
    telemetries = [told(float(y), 0.1) for y in rng.uniform(0.1, 0.6, 40)]
    telemetries[20:23] = [{}, {}, {}]
    live, states, state = [], [], loop.init()
    for t, telemetry in enumerate(telemetries):
        state, trace = loop.step(state, telemetry, t)
        live.append(trace)
        states.append(state)
    assert [trace.u for trace in replay(loop, telemetries)] == [trace.u for trace in live]
    resumed = restore(json.loads(json.dumps(states[cut])))
    for t in range(cut + 1, 40):
        resumed, trace = loop.step(resumed, telemetries[t], t)
        assert repr(trace) == repr(live[t])


def test_limits_without_an_end_are_finite_to_it():
    for low, high in ((-float("inf"), 2.0), (0.0, 0.0), (-float("inf"), float("inf"))):
        state, trace = loop_of(low=low, high=high).step(
            loop_of(low=low, high=high).init(), {"entropy": 0.1}, 0
        )
        assert np.isfinite(trace.v)
        assert "Infinity" not in json.dumps(state)


def test_a_law_that_learns_nothing_estimates_nothing():
    law = PID(kp=1.0, ki=0.1)
    assert law.estimates(law.init()) == {}


def test_the_loop_tells_a_law_its_limits_in_the_laws_unit():
    told = []

    class Listening(Law):
        kind = "listening"

        def init(self):
            return ()

        def step(self, state, sample):
            told.append((sample.low, sample.high, sample.neutral))
            return state, {"p": 0.0}

    loop = loop_of(law=Listening(), low=0.5, high=3.0, neutral=1.0, unit=0.5, origin=1.0)
    loop.step(loop.init(), {"entropy": 0.4}, 0)
    assert told == [(-1.0, 4.0, 0.0)]


def told(y, relative):
    return {"entropy": y, "entropy/standard_error": relative * y}


def test_the_noise_that_batches_tell_is_averaged():
    loop = loop_of()
    state = loop.init()
    for t, relative in enumerate((0.1, 0.3, nan, 0.2)):
        state, _ = loop.step(state, told(0.3, relative), t)
    assert state.law.known == pytest.approx((0.01 + 0.09 + 0.04) / 3)
    assert state.law.told == 3
    for t in range(4, 64):
        state, _ = loop.step(state, told(0.3, 0.2), t)
    told_so_far = state.law.known, state.law.told
    state, _ = loop.step(state, {"entropy": 0.0, "entropy/standard_error": 0.06}, 64)
    assert (state.law.known, state.law.told) == told_so_far
    # 17 with a weight of 1/4 to 1/20, 43 of 1/20: of the first three, a share of 3/20 · 0.95^43
    assert state.law.known == pytest.approx(0.04 + 0.15 * 0.95**43 * (0.14 / 3 - 0.04))


def test_a_law_is_told_the_noise_of_an_unfiltered_reading_that_has_one():
    seen = []

    class Listening(Auto):
        kind = "listening"

        def step(self, state, sample):
            seen.append(sample.noise)
            return Auto.step(self, state, sample)

    for settings in ({}, {"filter": EMA(decay=0.5)}, {"sensor": "entropy/domain/add"}):
        loop = loop_of(law=Listening(), **settings)
        readings = told(0.4, 0.25) | {"entropy/domain/add": 0.2}
        loop.step(loop.init(), readings, 0)
        loop.step(loop.init(), readings | {"entropy/standard_error": nan}, 0)
    assert seen == [0.1, None, None, None, None, None]


def test_knowing_the_noise_calms_the_command():
    """With 30 % noise and a plant that hardly moves by itself the told law moves its command less."""
    moved = {}
    for known in (True, False):
        loop, changes = loop_of(), []
        for seed in range(4):
            rng, state, level, last = np.random.default_rng(seed), loop.init(), 0.0, 0.0
            for t in range(60):
                y = R * exp(level + 0.3 * rng.standard_normal())
                state, trace = loop.step(state, told(y, 0.3) if known else {"entropy": y}, t)
                level += 0.03 * trace.u - 0.003
                changes.append(abs(trace.u - last))
                last = trace.u
        moved[known] = np.mean(changes)
    assert moved[True] < 0.9 * moved[False]


def belief_with(c0):
    """A belief whose unpredicted changes have the variance ``c0`` and no memory."""
    return (*first_beliefs(0.0)[0][:10], c0, 0.0, *first_beliefs(0.0)[0][12:])


def shares_of(some):
    """The shares of all views, 0 but for some."""
    return tuple(some.get(k, 0.0) for k in range(len(VIEWS)))


def test_how_many_more_tokens_it_takes():
    state = AutoState(
        neutral=0.0,
        unit=1.0,
        num=20.0,
        backwards=0.0,
        ahead=0.0,
        unable=0.0,
        known=0.09,
        told=20.0,
        shares=shares_of({0: 0.5, 4: 0.5}),
        beliefs=(belief_with(0.2),) * len(VIEWS),
    )
    # lively, R = 0.09, Q = 0.2 − 0.18 = 0.02: (0.5 (0.09 / 3 + 0.02) + 0.5 (0.09 / 12 + 0.02)) / ln² 1.1
    assert Auto().estimates(state)["more_tokens"] == pytest.approx(0.03875 / 0.0090840, rel=1e-4)
    assert Auto().complaint(state).kind == "noise"
    assert "about 4.3 times as many tokens" in Auto().complaint(state).sentence
    assert Auto().complaint(state._replace(num=19.0)) is None
    # calm and fast: ten readings are averaged, and Q is 0.01 R
    calm = state._replace(shares=shares_of({1: 1.0}))
    assert Auto().estimates(calm)["more_tokens"] == pytest.approx((0.009 + 0.0009) / 0.0090840, rel=1e-4)
    # calm and slow: as many as the law looks ahead
    slow = state._replace(shares=shares_of({5: 1.0}))
    assert Auto().estimates(slow)["more_tokens"] == pytest.approx((0.0075 + 0.0009) / 0.0090840, rel=1e-4)
    assert Auto().complaint(slow) is None
    # untold: R = clip(0, 0.05 · 0.2, 0.1) = 0.01 where entropy is lively, Q = 0.18
    untold = Auto().estimates(state._replace(known=0.0))["more_tokens"]
    assert untold == pytest.approx((0.5 * 0.01 / 3 + 0.5 * 0.01 / 12 + 0.18) / log(1.1) ** 2)


@pytest.mark.parametrize(("noise", "complains"), [(0.1, False), (0.6, True)])
def test_readings_too_noisy_to_hold_ten_percent_are_said(noise, complains):
    loop, off, said = loop_of(), [], 0
    for seed in range(4):
        rng, state, level = np.random.default_rng(seed), loop.init(), 0.0
        for t in range(120):
            state, trace = loop.step(state, told(R * exp(level + noise * rng.standard_normal()), noise), t)
            level += 0.03 * trace.u - 0.01
            off.append(level)
        complaint = loop.law.complaint(state.law)
        said += complaint is not None and complaint.kind == "noise"
    assert (np.sqrt(np.mean(np.square(off))) > 0.1) == complains
    assert said == (4 if complains else 0)


def test_the_correction_downwards_grows_over_ten_readings():
    low, high = (
        Auto().step(Auto().init(), Sample(t=0, dt=1.0, y=y, r=R, u=0.0))[1]["correction"]
        for y in (R / 2, 2 * R)
    )
    assert low > 0 > high
    # the level is as far off either way; the expected drift, downward, is what the rest of the difference is from
    grown, state = [], Auto().init()
    for t in range(12):
        state, terms = Auto().step(state, Sample(t=t, dt=1.0, y=2 * R, r=R, u=0.0))
        full = 0.0
        for p, (x, d, g, *_, gg, _, _, _, _, _, _, _), view in zip(
            state.shares, state.beliefs, VIEWS, strict=True
        ):
            within = NUMBERS[VIEWS.index(view)][3]
            ahead = x + (view.late + view.ahead) * d - log(R)  # the command stays neutral
            full += p * ahead / (within * (max(g, 0.0) + 1.2 * gg**0.5))
        grown.append(-terms["correction"] / full)
    assert grown == pytest.approx([min((t + 1) / 10, 1.0) for t in range(12)])


def test_each_lag_foresees_the_commands_that_have_not_acted_on_it():
    """Those of the dead time, and as many more as it lets a command wait; one that acts at once has none more."""
    dead_time = 2
    waiting = [(0.1 * k, 0.05 * k) for k in range(1, LATEST + dead_time + 1)]
    seen = foreseen([(0.5, 0.25)] * len(LAGS), waiting, dead_time)
    for (kept, late), (f, share, until, num) in zip(LAGS, seen, strict=True):
        acted = [whole for whole, _ in waiting][-(late + dead_time) :]
        f_s = [
            kept**k * 0.5 + sum((1 - kept) * kept ** (k - 1 - j) * acted[j] for j in range(k))
            for k in range(1, len(acted) + 1)
        ]
        assert num == len(acted) == late + dead_time
        assert (f, share, until) == pytest.approx((f_s[-1], f_s[-1] / 2, sum(f_s)))
    assert foreseen([(0.5, 0.25)] * len(LAGS), waiting[dead_time:], 0)[0] == (0.5, 0.25, 0.0, 0)


@pytest.mark.parametrize("steepness", [0.5, 2.0, 4.0])
def test_it_holds_a_temperature_whose_range_moves_entropy_by_orders_of_magnitude(steepness):
    """ln H goes by ln T: nearly all of the range from 0.2 to 5 leads far beyond the setpoint."""
    for seed in range(4):
        loop = loop_of(low=0.2, high=5.0, neutral=1.0)
        rng, state, u, zs = np.random.default_rng(seed), loop.init(), 1.0, []
        for t in range(100):
            z = 0.5 - 0.8 * min(t / 80, 1.0) + min(steepness * log(u), 2.0)
            state, trace = loop.step(state, told(R * exp(z + 0.03 * rng.standard_normal()), 0.03), t)
            u = trace.u
            zs.append(z)
        assert np.sqrt(np.mean(np.square(zs[50:]))) < 0.1
        assert max(zs[5:]) < log(2)


@pytest.mark.parametrize(
    ("low", "high", "neutral", "unit"),
    [
        (-1.0, 1.0, 0.0, 1.0),
        (0.2, 5.0, 1.0, 0.8),
        (0.0, 0.3, 0.0, 0.3),
        (-0.01, 1.0, 0.0, 0.1),
        (-float("inf"), 2.0, 0.0, 2.0),
        (-float("inf"), float("inf"), 0.0, 1.0),
    ],
)
def test_the_unit_is_the_smaller_side_but_a_tenth_of_the_larger(low, high, neutral, unit):
    state, _ = Auto().step(
        Auto().init(), Sample(t=0, dt=1.0, y=R, r=R, u=neutral, low=low, high=high, neutral=neutral)
    )
    assert state.unit == pytest.approx(unit)


def run_late(loop, dead_time, *, seed, num=150):
    """True ln(H / r) under a temperature that ``dead_time`` iterations late shifts entropy, which drifts."""
    rng, state, level, waiting, zs = np.random.default_rng(seed), loop.init(), 0.3, [1.0] * dead_time, []
    for t in range(num):
        state, trace = loop.step(state, {"entropy": R * exp(level + 0.03 * rng.standard_normal())}, t)
        waiting.append(trace.u)
        shift = 2.0 * log(waiting.pop(0))
        drift = 0.4 * np.sin(t / 25)
        level = 0.3 + shift + drift + 0.02 * rng.standard_normal()
        zs.append(level)
    return np.array(zs)


def test_commands_that_still_wait_are_counted_in():
    """Blind to a dead time of 4 the law answers what is answered already, and swings by e^1.7."""
    settings = {"actuator": "temperature", "low": 0.2, "high": 5.0, "neutral": 1.0}
    told, blind = (
        np.array([run_late(loop_of(dead_time=known, **settings), 4, seed=seed)[50:] for seed in range(4)])
        for known in (4, 0)
    )
    assert np.sqrt(np.mean(told**2)) < 0.15
    assert np.sqrt(np.mean(blind**2)) > 1.0


@pytest.mark.parametrize("seed", range(6))
def test_a_correction_is_spread_over_the_dead_time(seed):
    """In full it would be up to e^1.4 off: the policy collapses while nothing is known of what a command does."""
    rng = np.random.default_rng(seed)
    loop = loop_of(dead_time=4, actuator="temperature", low=0.2, high=5.0, neutral=1.0)
    state, base, level, waiting, zs = loop.init(), 0.63, 0.63, [1.0] * 4, []
    for t in range(80):
        reading = R * exp(level + 0.08 * rng.standard_normal())
        state, trace = loop.step(state, {"entropy": reading, "entropy/standard_error": 0.08 * reading}, t)
        waiting.append(trace.u)
        base += -0.05 * exp(-t / 40) + 0.02 * rng.standard_normal()
        level = base + 3.0 * log(waiting.pop(0))
        zs.append(level)
    assert np.sqrt(np.mean(np.square(zs[30:]))) < 0.4


def test_a_command_moves_the_beliefs_once_it_can_act():
    """What the law believes under dead time 2 is what it believes without, shown the same commands 2 later."""
    law, rng = Auto(), np.random.default_rng(0)
    us, ys = rng.uniform(-1, 1, 12), R * np.exp(0.1 * rng.standard_normal(12))
    late, prompt = law.init(), law.init()
    for t, y in enumerate(ys):
        sample = {"t": t, "dt": 1.0, "y": float(y), "r": R}
        late, _ = law.step(late, Sample(u=float(us[t]), dead_time=2, **sample))
        # The first sample's command is that before the first step, and not used.
        shown = float(us[t - 2]) if t > 2 else 0.0
        prompt, _ = law.step(prompt, Sample(u=shown, **sample))
        assert late.beliefs == prompt.beliefs
        assert len(late.waiting) == 2 + LATEST
        assert late.waiting[:-2] == prompt.waiting
    assert late.waiting[-2:] == tuple((float(u), float(u)) for u in us[-2:])
