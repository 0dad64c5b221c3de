from dataclasses import replace
from math import exp, inf, log, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import Changed, Constant, FeedbackLoop, Multisine, Plant, simulate
from controllers.base import Sample
from controllers.laws.pid import PID
from controllers.laws.self_tuning import SelfTuning

LAW = SelfTuning(
    push=0.1,
    push_std=0.1,
    drift_std=0.1,
    noise_std=0.1,
    time_constant=2.0,
    kp_low=0.5,
    kp_high=20.0,
    forgetting=1.0,
)
FROZEN = replace(LAW, push_std=0.0)


def run(law, ys, us, r=0.5, dts=None):
    """Terms and states of the law on a record, shown the commands ``us`` whatever it says."""
    state, terms, states = law.init(), [], []
    for t, (y, u) in enumerate(zip(ys, us, strict=True)):
        state, term = law.step(state, Sample(t=t, dt=dts[t] if dts else 1.0, y=y, r=r, u=u))
        terms.append(term)
        states.append(state)
    return terms, states


def gains(law, push):
    """What the docstring says."""
    horizon = law.time_constant + law.delay - 0.5
    kp = min(max(1 / (push * horizon), law.kp_low), law.kp_high)
    return kp, kp / (4 * horizon)


def test_terms_by_hand():
    # θ = ½, kp = 1 / (0.1·2.5) = 4, ki = 4 / 10 = 0.4; e = ln(0.5/0.4) = 0.2231, ln(0.5/0.45) = 0.1054
    terms, _ = run(replace(FROZEN, bias=0.2), [0.4, 0.45], [0.0, 0.2 + 4 * log(1.25)])
    assert terms[0] == pytest.approx({"bias": 0.2, "p": 4 * log(1.25), "i": 0.0, "d": 0.0})
    assert terms[1]["p"] == pytest.approx(4 * log(0.5 / 0.45))
    assert terms[1]["i"] == pytest.approx(0.4 * log(1.25))
    # delay 3: θ = 2.5, kp = 1 / (0.1·4.5)
    terms, _ = run(replace(FROZEN, delay=3, error="absolute"), [0.4], [0.0])
    assert terms[0]["p"] == pytest.approx(0.1 / 0.45)


def test_without_doubt_about_the_push_it_is_a_pid():
    rng = np.random.default_rng(0)
    ys, us = rng.uniform(0.2, 1.0, 30), rng.uniform(-1, 1, 30)
    ours, _ = run(replace(FROZEN, anti_windup=0.3), ys, us)
    theirs, _ = run(PID(kp=4.0, ki=0.4, anti_windup=0.3, error="log"), ys, us)
    assert [sum(term.values()) for term in ours] == pytest.approx([sum(term.values()) for term in theirs])


def uncut(law, ys, dts=None):
    """A record under the law's own commands."""
    state, us, states = law.init(), [0.0], []
    for t, y in enumerate(ys):
        state, terms = law.step(state, Sample(t=t, dt=dts[t] if dts else 1.0, y=y, r=0.5, u=us[-1]))
        us.append(sum(terms.values()))
        states.append(state)
    return us, states


@pytest.mark.parametrize("delay", [1, 3])
@pytest.mark.parametrize("dts", [[1.0] * 25, [1.0, 2.0, 1.0, 5.0, 1.0] * 5], ids=["regular", "with gaps"])
@pytest.mark.parametrize("error", ["absolute", "log"])
def test_the_estimate_is_least_squares_with_the_prior_as_further_rows(delay, dts, error):
    law = replace(LAW, delay=delay, error=error)
    ys = np.random.default_rng(1).uniform(0.4, 0.6, 25)
    us, states = uncut(law, ys, dts)
    # commands of each iteration, from the first instant on: us[k + 1] was in force for dts[k + 1]
    applied = np.repeat(us[1:-1], np.array(dts[1:], dtype=int))
    ends = np.cumsum(np.array(dts[1:], dtype=int))
    z = np.log(ys) if error == "log" else ys
    rows, targets = [(1 / law.push_std, 0.0), (0.0, 1 / law.drift_std)], [law.push / law.push_std, 0.0]
    for k, (end, dt) in enumerate(zip(ends, np.array(dts[1:], dtype=int), strict=True)):
        first = end - dt - (delay - 1)  # u that acted on the first of the dt changes
        if first >= 0:
            rows.append(np.array([applied[first : first + dt].mean(), 1.0]) / law.noise_std)
            targets.append((z[k + 1] - z[k]) / dt / law.noise_std)
    expected = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
    assert law.push_estimate(states[-1]) == pytest.approx(expected[0], rel=1e-9)
    assert abs(expected[0] - law.push) > 1e-3


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.0, 5.0), min_size=2, max_size=30), st.floats(0.5, 1.0))
def test_gains_stay_within_their_bounds_and_follow_the_estimate(ys, forgetting):
    law = replace(LAW, forgetting=forgetting)
    _, states = uncut(law, ys)
    for state, y in zip(states, ys, strict=True):
        push, kp = law.push_estimate(state), state.kp
        assert law.kp_low <= kp <= law.kp_high
        if push > 0:
            assert kp == pytest.approx(gains(law, push)[0])
        _, terms = law.step(state, Sample(t=99, dt=1.0, y=y, r=0.5, u=state.pi.v))
        assert all(abs(term) < inf for term in terms.values())


def test_an_estimate_that_is_not_positive_leaves_the_gains():
    """Entropy that falls where the command goes up."""
    law = replace(LAW, push_std=1.0)
    state, y, u, states = law.init(), 0.45, 0.0, []
    for t in range(15):
        state, terms = law.step(state, Sample(t=t, dt=1.0, y=y, r=0.5, u=u))
        u = sum(terms.values())
        y *= exp(-0.1 * u)
        states.append(state)
    wrong = [state.kp for state in states if law.push_estimate(state) <= 0]
    assert len(wrong) > 10
    assert len(set(wrong)) == 1
    assert wrong[0] < law.kp_high


def test_nothing_is_learnt_from_a_command_that_was_cut():
    ys = list(np.random.default_rng(2).uniform(0.3, 0.8, 20))
    _, states = run(LAW, ys, [0.1] * 20)  # never what the law said
    assert {LAW.push_estimate(state) for state in states} == {0.1}
    _, states = uncut(LAW, ys)
    assert LAW.push_estimate(states[-1]) != pytest.approx(0.1, abs=1e-3)


def test_nothing_is_learnt_without_excitation():
    ys = list(0.5 * np.exp(0.02 * np.random.default_rng(3).normal(size=60)))
    us, states = uncut(replace(LAW, excitation=10.0), ys)
    assert {LAW.push_estimate(state) for state in states} == {0.1}
    spread = np.std(us)
    _, some = uncut(replace(LAW, excitation=2 * spread), ys)
    _, all_rows = uncut(LAW, ys)
    learnt = [len({LAW.push_estimate(state) for state in states}) for states in (some, all_rows)]
    assert 1 < learnt[0] < 0.4 * learnt[1]


def loop(law, **more):
    return FeedbackLoop(
        sensor="entropy",
        reference=Constant(value_nats=0.5),
        law=law,
        actuator="bonus",
        low=-5.0,
        high=5.0,
        neutral=0.0,
        **more,
    )


def plant(push, noise_std=0.05):
    return Plant(
        coordinates="log", a=(1.0,), b=(push,), delay=1, drift=-0.03, noise_std=noise_std, level_nats=0.5
    )


def final_push(law, plant, num_iterations, seed, **more):
    whole = loop(law, **more)
    traces = simulate(whole, plant, num_iterations, seed=seed)
    state = whole.init()
    for trace in traces:
        state, again = whole.step(state, {"entropy": trace.y}, trace.t)
    assert again == traces[-1]
    return law.push_estimate(state.law)


FOLLOWING = replace(LAW, noise_std=0.05, push_std=0.5, drift_std=0.1)


def test_in_its_own_loop_it_finds_the_push():
    """No dither: noise comes round through the law and is excitation enough."""
    pushes = [final_push(FOLLOWING, plant(0.3), 400, seed) for seed in range(6)]
    assert np.mean(pushes) == pytest.approx(0.3, rel=0.15)
    assert np.std(pushes) < 0.06


def test_it_follows_a_push_that_changes():
    law = replace(FOLLOWING, forgetting=0.97)
    changed = Changed(plants=((0, plant(0.1)), (300, plant(0.4))))
    early = [final_push(law, changed, 300, seed) for seed in range(5)]
    late = [final_push(law, changed, 600, seed) for seed in range(5)]
    assert np.mean(early) == pytest.approx(0.1, rel=0.35)
    assert np.mean(late) == pytest.approx(0.4, rel=0.35)


def test_it_rescues_gains_that_would_be_unstable():
    """A prior of a tenth of the push: kp·b = 4, twice what is stable without integral action."""
    strong = plant(1.0)
    fixed = [simulate(loop(replace(FOLLOWING, push_std=0.0)), strong, 200, seed=s) for s in range(5)]
    tuned = [simulate(loop(FOLLOWING), strong, 200, seed=s) for s in range(5)]
    spread = [np.std([np.log(t.y) for run in runs for t in run[100:]]) for runs in (fixed, tuned)]
    assert spread[0] > 1.0
    assert spread[1] < 0.1  # minimum variance is 0.05


def test_gains_that_change_give_no_bump_at_zero_error():
    state = LAW.init()
    u, kps = 0.0, []
    for t, y in enumerate([0.4, 0.6, 0.45, 0.55, 0.5, 0.5, 0.5]):
        state, terms = LAW.step(state, Sample(t=t, dt=1.0, y=y, r=0.5, u=u))
        u, before = sum(terms.values()), u
        kps.append(state.kp)
    assert kps[-1] != kps[-2]
    assert u == pytest.approx(before, abs=1e-12)


def test_a_dither_of_the_loop_counts_as_noise():
    """Documented: the law is not shown it, and takes some of the push away from its own command."""
    dither = Multisine(amplitude=0.3)
    pushes = [final_push(FOLLOWING, plant(0.3), 400, seed, dither=dither) for seed in range(3)]
    assert 0.5 * 0.3 < np.mean(pushes) < 0.9 * 0.3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"push": 0.0}, "push must be > 0 and finite, got 0.0"),
        ({"push_std": -1.0}, "push_std must be >= 0 and finite, got -1.0"),
        ({"drift_std": nan}, "drift_std must be >= 0 and finite, got nan"),
        ({"noise_std": 0.0}, "noise_std must be > 0 and finite, got 0.0"),
        ({"time_constant": 0.0}, "time_constant must be > 0 and finite, got 0.0"),
        ({"kp_low": 0.0}, "kp_low must be > 0 and finite, got 0.0"),
        ({"kp_high": 0.1}, "kp_high must be >= kp_low = 0.5 and finite, got 0.1"),
        ({"delay": 0}, "delay must be >= 1, got 0"),
        ({"forgetting": 0.0}, "forgetting must be in (0, 1], got 0.0"),
        ({"excitation": -1.0}, "excitation must be >= 0 and finite, got -1.0"),
        ({"bias": inf}, "bias must be finite, got inf"),
        ({"anti_windup": 2.0}, "anti_windup must be in [0, 1], got 2.0"),
        ({"error": "relative"}, "error must be 'absolute' or 'log', got 'relative'"),
    ],
)
def test_refusals_name_field_rule_and_value(fields, message):
    with pytest.raises(ValueError) as refusal:
        replace(LAW, **fields)
    assert str(refusal.value) == message


def test_a_collapsed_policy_is_a_large_error_and_not_an_infinite_one():
    terms, _ = run(LAW, [0.5, 0.0, 0.5 * exp(1)], [0.0, 0.0, 0.0])
    assert all(abs(term) < inf for each in terms for term in each.values())
