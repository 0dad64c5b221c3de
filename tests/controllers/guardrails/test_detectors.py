"""Each detector on numbers worked out by hand."""

import math
import random
from math import inf, nan

import numpy as np
import pytest
from scipy import stats

from controllers.guardrails.base import Reading
from controllers.guardrails.collapse import Collapse
from controllers.guardrails.decline import Decline
from controllers.guardrails.explosion import Explosion
from controllers.guardrails.plateau import Plateau
from controllers.guardrails.stagnation import Stagnation
from controllers.guardrails.starvation import Starvation
from controllers.guardrails.truncation import Truncation
from controllers.guardrails.watch import Post, Watch


def play(detector, telemetries):
    state, readings = detector.init(), []
    for telemetry in telemetries:
        state, reading = detector.step(state, telemetry)
        readings.append(reading)
    return readings


def entropies(*values, setpoint=None):
    return [{"entropy": y} | ({} if setpoint is None else {"setpoint": setpoint}) for y in values]


def test_sustained_is_the_least_of_as_many_excesses_as_the_patience():
    assert Reading(value=1, limit=0, excesses=(0.3, 0.1), patience=2).sustained == 0.1
    assert Reading(value=1, limit=0, excesses=(0.3,), patience=2).sustained == -inf
    assert not Reading(
        value=1, limit=0, excesses=(0.3, 0.0), patience=2
    ).tripped  # at the limit is not beyond
    assert Reading(value=1, limit=0, excesses=(-1.0, 0.1), patience=2).beyond
    assert not Reading(value=nan, limit=nan, excesses=(), patience=1).beyond


def test_collapse_below_a_share_of_the_first_entropy():
    readings = play(Collapse(threshold=0.25, patience=2), entropies(0.8, 0.3, 0.15, 0.19, 0.21, 0.1))
    assert [each.limit for each in readings] == [0.2] * 6  # a quarter of 0.8
    assert [each.beyond for each in readings] == [False, False, True, True, False, True]
    assert [each.tripped for each in readings] == [False, False, False, True, False, False]
    assert readings[3].sustained == pytest.approx(0.01)  # 0.2 - 0.19, the smaller of the two


def test_collapse_below_a_share_of_the_setpoint_which_may_move():
    telemetry = [{"entropy": 0.8, "setpoint": 0.4}, {"entropy": 0.15, "setpoint": 0.4}]
    telemetry += [{"entropy": 0.15, "setpoint": 0.2}]
    readings = play(Collapse(threshold=0.5, patience=1), telemetry)
    assert [each.limit for each in readings] == [0.2, 0.2, 0.1]
    assert [each.tripped for each in readings] == [False, True, False]


def test_collapse_of_a_run_that_starts_below_its_setpoint_is_measured_from_where_it_starts():
    readings = play(Collapse(threshold=0.5, patience=1), entropies(0.1, 0.08, 0.04, setpoint=1.0))
    assert [each.tripped for each in readings] == [False, False, True]


def test_explosion_above_a_multiple_of_setpoint_or_start():
    low = play(Explosion(threshold=2.0, patience=1), entropies(0.1, 0.7, 0.9, setpoint=0.4))
    assert [each.limit for each in low] == [0.8] * 3
    assert [each.tripped for each in low] == [False, False, True]
    high = play(Explosion(threshold=2.0, patience=1), entropies(1.0, 1.9, 2.1, setpoint=0.4))
    assert [each.tripped for each in high] == [False, False, True]  # twice the 1.0 that it starts with


def test_a_start_beyond_the_setpoint_counts_for_as_long_as_entropy_has_not_come_nearer():
    explosion = Explosion(threshold=2.0, patience=1)
    readings = play(explosion, entropies(0.35, 0.3, 0.32, 0.15, 0.25, 0.45, setpoint=0.2))
    assert [each.limit for each in readings] == [
        0.7,
        0.6,
        0.6,
        0.4,
        0.4,
        0.4,
    ]  # never below twice the setpoint
    assert [each.tripped for each in readings] == [False] * 5 + [True]
    collapse = Collapse(threshold=0.5, patience=1)
    readings = play(collapse, entropies(0.1, 0.3, 0.2, 0.6, 0.15, setpoint=0.4))
    assert [each.limit for each in readings] == [0.05, 0.15, 0.15, 0.2, 0.2]
    assert [each.tripped for each in readings] == [False] * 4 + [True]


def test_a_setpoint_that_falls_away_from_entropy_is_no_explosion():
    telemetry = entropies(0.5, 0.52, setpoint=0.5) + entropies(0.51, 0.45, 0.3, setpoint=0.1)
    readings = play(Explosion(threshold=2.0, patience=1), telemetry)
    assert [each.limit for each in readings] == [1.0, 1.0, 1.0, 0.9, 0.6]
    assert not any(each.tripped for each in readings)


def test_limits_in_nats():
    explosion = Explosion(threshold=0.5, unit="nats", patience=1)
    assert [v.tripped for v in play(explosion, entropies(0.1, 0.4, 0.6, setpoint=0.1))] == [
        False,
        False,
        True,
    ]
    assert play(explosion, entropies(0.8, 0.79))[-1].limit == 0.8  # starts above, and falls
    collapse = Collapse(threshold=0.05, unit="nats", patience=1)
    assert [v.tripped for v in play(collapse, entropies(0.5, 0.06, 0.04))] == [False, False, True]
    assert play(collapse, entropies(0.01, 0.02))[-1].limit == 0.01


def test_the_last_setpoint_counts_while_loops_hold():
    telemetry = [{"entropy": 0.8, "setpoint": 0.4}, {"entropy": 0.1}, {"entropy": 0.1, "setpoint": nan}]
    readings = play(Collapse(threshold=0.5, patience=1), telemetry)
    assert [each.limit for each in readings] == [0.2] * 3


def test_ceilings():
    shares = [{"rollout/truncated": value} for value in (0.6, 0.6, 0.5, 0.6)]
    assert [v.tripped for v in play(Truncation(patience=2), shares)] == [False, True, False, False]
    starved = play(Starvation(threshold=0.8, patience=1), [{"rollout/starved_groups": 0.9}])
    assert starved[0].sustained == pytest.approx(0.1)


def test_stagnation_is_no_gain_of_the_best_average():
    detector = Stagnation(threshold=0.05, patience=2, decay=0.0)  # no averaging
    rewards = [0.1, 0.2, 0.3, 0.25, 0.32, 0.33, 0.5]
    #          gain of the best over two iterations: 0.2, 0.1, 0.02, 0.03, 0.18
    readings = play(detector, [{"reward": reward} for reward in rewards])
    assert [v.value for v in readings[2:]] == pytest.approx([0.2, 0.1, 0.02, 0.03, 0.18])
    assert [v.tripped for v in readings] == [False, False, False, False, True, True, False]


def test_a_solved_task_does_not_stagnate():
    detector = Stagnation(threshold=0.05, patience=2, decay=0.0, solved=0.9)
    assert not any(v.tripped for v in play(detector, [{"reward": 0.95}] * 9))
    assert play(detector, [{"reward": 0.85}] * 9)[-1].tripped


def test_stagnation_averages_without_bias():
    # decay 0.5: averages 1.0, then (0.5·1 + 0)/(0.5 + 1)·... = (0.25·1)/(0.75) = 1/3
    detector = Stagnation(threshold=0.05, patience=1, decay=0.5)
    state, _ = detector.step(detector.init(), {"reward": 1.0})
    state, reading = detector.step(state, {"reward": 0.0})
    assert state.total / state.weight == pytest.approx(1 / 3)
    assert reading.value == 0.0  # the best is still the first


def test_decline_is_a_mean_below_the_first_by_so_many_standard_errors():
    # first window 0.5, 0.7, 0.6: mean 0.6, variance 0.01; last 0.3, 0.4, 0.2: mean 0.3, variance 0.01
    # standard error √((0.01 + 0.01)/3) = 0.081650; limit 0.6 − 2 · 0.081650 = 0.436701
    rewards = [0.5, 0.7, 0.6, 0.3, 0.4, 0.2]
    readings = play(Decline(threshold=2.0, patience=3), [{"reward": reward} for reward in rewards])
    assert [v.tripped for v in readings] == [False] * 5 + [True]
    assert (readings[-1].value, readings[-1].limit) == pytest.approx((0.3, 0.436701), abs=1e-6)
    assert not play(Decline(threshold=4.0, patience=3), [{"reward": r} for r in rewards])[-1].tripped  # 3.67
    t = stats.ttest_ind([0.5, 0.7, 0.6], [0.3, 0.4, 0.2], equal_var=False).statistic
    assert t == pytest.approx((0.6 - readings[-1].value) / 0.081650, abs=1e-4)


def test_decline_is_over_when_the_reward_is_back_and_never_comes_of_learning():
    detector = Decline(threshold=2.0, patience=3)
    rewards = [0.5, 0.6, 0.5, 0.1, 0.1, 0.1, 0.6, 0.6, 0.6]
    assert [v.tripped for v in play(detector, [{"reward": r} for r in rewards])][5:] == [
        True,
        False,
        False,
        False,
    ]
    rising = [{"reward": t / 200} for t in range(200)]
    assert not any(v.tripped for v in play(Decline(), rising))
    assert not any(v.tripped for v in play(Decline(), [{"reward": 0.3}] * 60))  # no noise, and no fall


@pytest.mark.parametrize(("correlation", "share"), [(0.0, 0.001), (0.3, 0.028)])
def test_decline_does_not_cry_wolf_at_noise(correlation, share):
    """The windows of every iteration at once, as sums of numpy; ten runs also by the detector itself."""
    rng = np.random.default_rng(1)
    num, length, n = 2000, 500, 20
    noise = rng.normal(size=(num, length))
    rewards = noise.copy()
    for t in range(1, length):
        rewards[:, t] = correlation * rewards[:, t - 1] + (1 - correlation**2) ** 0.5 * noise[:, t]
    windows = np.lib.stride_tricks.sliding_window_view(rewards, n, axis=1)
    first, last = windows[:, 0], windows[:, n:]
    error = np.sqrt((first.var(axis=1, ddof=1)[:, None] + last.var(axis=2, ddof=1)) / n)
    tripped = first.mean(axis=1)[:, None] - last.mean(axis=2) > Decline().threshold * error
    assert np.mean(tripped.any(axis=1)) == pytest.approx(share, abs=0.01)
    for row in [*np.flatnonzero(tripped.any(axis=1))[:5], *range(5)]:
        readings = play(Decline(), [{"reward": reward} for reward in rewards[row]])
        assert [v.tripped for v in readings[2 * n - 1 :]] == tripped[row].tolist()


def test_decline_finds_a_fall_of_two_standard_deviations_soon():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(100):
        rewards = 0.5 + 0.05 * rng.normal(size=120)
        rewards[60:] -= 0.1
        tripped = [v.tripped for v in play(Decline(), [{"reward": reward} for reward in rewards])]
        found.append(tripped.index(True) - 60 if True in tripped else math.inf)
    assert np.mean(np.isfinite(found)) >= 0.97
    assert 10 <= np.median(found) <= 20


def test_levels_have_bounds_of_their_own():
    for make, settings, message in (
        (Collapse, {"threshold": 1.0}, "threshold must be > 0 and < 1, got 1"),
        (Explosion, {"threshold": 1.0}, "threshold must be > 1, got 1"),
        (Collapse, {"unit": "bits"}, "unit must be one of share, nats, got 'bits'"),
        (Stagnation, {"decay": 1.0}, r"decay must be in \[0, 1\), got 1"),
        (Decline, {"patience": 1}, "patience must be >= 2, so that its rewards have a spread, got 1"),
        (Stagnation, {"solved": 0.0}, r"solved must be in \(0, 1\], got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**settings)
    assert Collapse(threshold=1.5, unit="nats").threshold == 1.5


def test_a_post_shows_the_readings_of_its_loop_and_no_others():
    readings = {"entropy": "entropy/domain/add", "setpoint": "loop/add/r"}
    watch = Watch(
        posts=(Post(detector=Collapse(threshold=0.5, patience=1), readings=readings, subject="add"),)
    )
    telemetry = {"entropy": 0.0, "setpoint": 9.0, "entropy/domain/add": 1.0, "loop/add/r": 0.5}
    state, ((post, reading),) = watch.step(watch.init(), telemetry)
    assert (post.subject, reading.value, reading.limit) == ("add", 1.0, 0.25)
    _, ((_, reading),) = watch.step(state, {"entropy": 0.0, "setpoint": 9.0})
    assert not reading.tripped
    assert reading.limit == 0.25


@pytest.mark.parametrize("make", [Collapse, Explosion])
@pytest.mark.parametrize("unit", ["share", "nats"])
def test_a_record_at_once_is_as_one_iteration_after_another(make, unit):
    rng = random.Random(3)
    for _ in range(50):
        num = rng.randrange(1, 20)
        y, r = ([rng.choice([rng.random(), rng.random(), nan]) for _ in range(num)] for _ in range(2))
        threshold = {Collapse: 0.6, Explosion: 1.2}[make] if unit == "share" else 0.5
        detector = make(threshold=threshold, patience=rng.randrange(1, 4), unit=unit)
        telemetry = [{"entropy": a, "setpoint": b} for a, b in zip(y, r, strict=True)]
        expected = max(reading.sustained for reading in play(detector, telemetry))
        assert detector.worst(np.array(y), np.array(r)) == pytest.approx(expected)


def test_plateau_of_evaluations_that_hardly_rise():
    """Gains of the best over two evaluations: 0.3, 0.1 and then 0.005, of which iterations between count nothing."""
    passed = [0.4, 0.6, 0.7, 0.65, 0.705]
    telemetries = [each for value in passed for each in ({"eval/pass_at_1": value}, {"reward": 0.1})]
    readings = play(Plateau(threshold=0.01, patience=2), telemetries)[::2]
    assert [each.value for each in readings[2:]] == pytest.approx([0.3, 0.1, 0.005])
    assert [each.tripped for each in readings] == [False, False, False, False, True]


def test_plateau_of_another_metric():
    plateau = Plateau(patience=1, metric="eval/set/hard/pass_rate")
    readings = play(plateau, [{"eval/set/hard/pass_rate": 0.5, "eval/pass_at_1": y} for y in (0.1, 0.9)])
    assert [each.tripped for each in readings] == [False, True]
